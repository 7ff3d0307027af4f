"""Success: from a simulator's info to the step, the statistics, the tables and the closing figures."""

import json
import math
from typing import Any

import numpy as np
import pytest

from fastsac.acting.episodes import EpisodeStats
from fastsac.acting.evaluation import rollout
from fastsac.cli.main import main
from fastsac.env import make_env, success_of
from fastsac.run.result import Result
from fastsac.run.run_state import RunState
from tests.support.runs import rows, run

REACH = "gymnasium:tests.support.success_env:Reach-v0"
LENGTH = 4


def steps_of(told, num_envs=2, count=3 * (LENGTH + 1)):
    """Steps of `count` vector steps of environments that tell as `told` says."""
    env = make_env(REACH, list(range(num_envs)), env_kwargs={"told": told})
    env.reset()
    steps = []
    for _ in range(count):
        env.send(np.zeros((num_envs, 1), np.float32))
        steps.append(env.recv())
    env.close()
    return [step for step in steps if (step.terminated | step.truncated).any()]


@pytest.mark.parametrize("key", ["is_success", "success"])
@pytest.mark.parametrize("kind", ["bool", "numpy", "float"])
def test_gymnasium_tells_by_the_info_of_the_last_step(key, kind):
    """Episodes of environment i are numbered from i on; the odd ones succeed."""
    ends = steps_of([key, kind])
    assert [step.success.tolist() for step in ends] == [[False, True], [True, False], [False, True]]
    assert all(step.success.dtype == np.bool_ for step in ends)


def test_episodes_that_tell_of_success_alone_failed_otherwise():
    """But for those before the first one that told: nothing is known of them."""
    ends = steps_of(["is_success", "only"], num_envs=1)
    assert [None if step.success is None else step.success.tolist() for step in ends] == [None, [True], [False]]


@pytest.mark.parametrize("told", [["is_success", "array"], ["is_success", "dict"], ["other", "bool"]])
def test_what_is_no_truth_tells_nothing(told):
    assert all(step.success is None for step in steps_of(told))


def test_envpool_tells_where_the_task_does():
    for name, tells in (("FetchReach-v4", True), ("Pendulum-v1", False)):
        env = make_env(name, [1, 2], 1, {"max_episode_steps": 2})
        env.reset()
        env.send(np.zeros((2, env.spec.action_dim), np.float32))
        success = env.recv().success
        env.close()
        assert (success is not None) == tells
        assert success is None or (success.shape == (2,) and success.dtype == np.bool_)


def test_true_and_one_are_success():
    for values in (
        [True, False, True],
        [1.0, 0.0, 1.0],
        np.array([np.True_, None, 1], object),
        np.array([[1], [0], [1]], np.int32),
    ):
        assert success_of(np.asarray(values)).tolist() == [True, False, True]


def test_rate_counts_the_episodes_that_told_since_the_last_row():
    stats, every = EpisodeStats(1, 2), np.ones((1, 2), bool)
    for success in ([True, False], [True, True], None):
        stats.add(np.ones((1, 2), np.float32), every, every, None if success is None else np.array([success]))
    (row,) = stats.take()
    assert row == {"episode_return": 1.0, "episode_length": 1.0, "success_rate": 0.75}
    stats.add(np.ones((1, 2), np.float32), every, every)
    assert "success_rate" not in stats.take()[0]


def test_an_evaluation_takes_the_first_episode_of_each():
    env = make_env(REACH, [0, 1, 2], env_kwargs={"told": ["is_success", "bool"]})
    assert rollout(env, lambda obs: np.zeros((3, 1), np.float32)).success.tolist() == [0.0, 1.0, 0.0]
    silent = make_env("gymnasium:Pendulum-v1", [0, 1], env_kwargs={"max_episode_steps": 2})
    assert np.isnan(rollout(silent, lambda obs: np.zeros((2, 1), np.float32)).success).all()


def test_a_run_has_the_rates_in_tables_and_summary(tmp_path, capsys):
    result = run(tmp_path, env=REACH, env_kwargs={"told": ["is_success", "bool"]}, eval_every=20, seeds=2)
    metrics, evals = (rows(result.run_dir / name) for name in ("metrics.csv", "eval.csv"))
    assert all(0 < float(row["success_rate"]) < 1 for row in metrics)
    assert all(float(row["success_rate"]) in (0, 1 / 3, 2 / 3, 1) for row in evals)
    last = [float(row["success_rate"]) for row in evals[-2:]]
    assert result.eval_success_rate == pytest.approx(sum(last) / 2)
    assert [member["eval_success_rate"] for member in result.members] == last
    assert f"success rate       {result.eval_success_rate:.0%}" in capsys.readouterr().out
    again = Result.read(result.run_dir)
    assert again.eval_success_rate == result.eval_success_rate
    assert main(["eval", str(result.run_dir), "--episodes", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["success_rate"] in (0, 0.25, 0.5, 0.75, 1)
    assert main(["eval", str(result.run_dir), "--episodes", "4"]) == 0
    assert ", 4 episodes, success rate " in capsys.readouterr().out


def test_an_environment_that_does_not_tell_leaves_the_cells_empty(tmp_path, capsys):
    result = run(tmp_path, eval_every=20)
    for name in ("metrics.csv", "eval.csv"):
        assert {row["success_rate"] for row in rows(result.run_dir / name)} == {""}
    assert math.isnan(result.eval_success_rate)
    assert json.loads((result.run_dir / "summary.json").read_text())["eval_success_rate"] is None
    assert "success" not in capsys.readouterr().out


def test_a_checkpoint_keeps_the_episodes_since_the_last_row(tmp_path):
    settings: dict[str, Any] = {
        "env": REACH,
        "env_kwargs": {"told": ["is_success", "bool"]},
        "log_every": 1_000,
        "checkpoint_every": 20,
    }
    result = run(tmp_path, **settings)
    first, last = (json.loads(path.read_text()) for path in sorted(result.run_dir.glob("checkpoints/*/meta.json")))
    assert len(first["episodes"]["successes"][0]) == len(first["episodes"]["returns"][0]) > 4
    assert last["episodes"]["successes"] == [[]]  # the closing row has taken them
    resumed = RunState.from_json(first)
    stats = EpisodeStats(1, 4)
    stats.load_finished(resumed.episodes)
    assert stats.finished() == resumed.episodes
    assert 0 < stats.take()[0]["success_rate"] < 1


def test_runs_of_versions_that_did_not_count_successes_go_on(tmp_path):
    result = run(tmp_path)
    meta = json.loads(next(result.run_dir.glob("checkpoints/*/meta.json")).read_text())
    older = {**meta, "episodes": {k: v for k, v in meta["episodes"].items() if k != "successes"}}
    assert RunState.from_json(older) == RunState.from_json(meta)
    summary = json.loads((result.run_dir / "summary.json").read_text())
    (result.run_dir / "summary.json").write_text(json.dumps({k: v for k, v in summary.items() if "success" not in k}))
    assert math.isnan(Result.read(result.run_dir).eval_success_rate)
