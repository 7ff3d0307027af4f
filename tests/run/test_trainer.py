"""Whole runs on scripted environments: budget, determinism, evaluation, stops, faults, resume, the files."""

import json
import math

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

import fastsac
from fastsac import checkpoint
from fastsac.acting.errors import NotFiniteError
from fastsac.config.budget import update_budget
from fastsac.config.settings import Config
from fastsac.report.sinks import EVAL_COLUMNS, METRIC_COLUMNS
from fastsac.run import plan
from fastsac.run.trainer import train
from tests.support.runs import BASE, TIME_COLUMNS, parameters, rows, run


def test_run_directory_holds_what_it_should(tmp_path):
    result = run(tmp_path, tensorboard=True, eval_every=25)
    folder = result.run_dir
    assert {p.name for p in folder.iterdir()} >= {
        "config.json", "metrics.csv", "eval.csv", "summary.json", "checkpoints", "tensorboard",
    }  # fmt: skip
    assert tuple(rows(folder / "metrics.csv")[0]) == (*METRIC_COLUMNS, "seed")
    assert tuple(rows(folder / "eval.csv")[0]) == (*EVAL_COLUMNS, "seed")
    assert list((folder / "tensorboard").glob("events.*"))
    summary = json.loads((folder / "summary.json").read_text())
    assert set(summary) >= {
        "env_id", "env_kwargs", "algo", "members", "env_steps", "grad_steps", "wall_s", "compile_s", "eval_return_mean",
        "eval_return_std", "eval_success_rate", "eval_episodes", "device", "versions", "git_commit",
    }  # fmt: skip
    assert summary["env_id"] == BASE.env
    assert summary["env_steps"] == result.env_steps
    expected = BASE.replace(run_dir=str(folder), tensorboard=True, eval_every=25, algo="sac")
    assert Config.load(folder) == expected


@pytest.mark.parametrize("utd_ratio", [1.0, 0.29, 2.5])
def test_any_number_of_environments_does_the_same_updates(tmp_path, utd_ratio):
    settings = {"total_steps": 150, "learning_starts": 100, "utd_ratio": utd_ratio, "buffer_size": 1000}
    results = [run(tmp_path, f"n{n}", num_envs=n, log_every=1000, **settings) for n in (1, 16, 64)]
    assert {r.grad_steps for r in results} == {math.floor(round(utd_ratio * 50, 6))}
    state = checkpoint.load(results[2].run_dir)[0]["state"]
    assert state["grad_steps"].tolist() == [results[2].grad_steps]


def test_budget_is_exact_for_decimal_ratios():
    assert 0.29 * 100 < 29  # what a float product would floor to 28
    assert update_budget(1100, 1000, 0.29) == 29
    assert update_budget(999, 1000, 1.0) == 0
    assert update_budget(1_000_000_007, 7, 0.1) == 100_000_000


def test_env_steps_count_transitions_only(tmp_path):
    # One environment that plays 3t, 5c, 2b, 9c: 19 transitions and 4 dummies a cycle, from entry seed % 4.
    result = run(tmp_path, num_envs=1, total_steps=57)
    assert result.env_steps == 57
    meta = checkpoint.load_meta(result.run_dir)
    state = checkpoint.load(result.run_dir)[0]
    assert meta["env_steps"] == [57]
    assert state["replay"]["count"].tolist() == [57]
    assert int(state["actor"]["vec_steps"]) in range(57 + 11, 57 + 13)


def test_a_run_stops_when_its_last_100_episodes_reach_the_goal(tmp_path):
    settings = {"num_envs": 4, "total_steps": 2_000, "learning_starts": 1_900, "buffer_size": 2_000}
    whole = run(tmp_path, "whole", **settings)
    stopped = run(tmp_path, "stopped", **settings, stop_at_episode_return=-1e6)
    assert whole.env_steps >= 2_000
    assert 300 < stopped.env_steps < 700  # 100 episodes of 3, 5, 2 and 9 steps
    assert run(tmp_path, "never", **settings, stop_at_episode_return=1e6).env_steps == whole.env_steps


def test_same_seed_same_metrics_and_another_seed_others(tmp_path):
    results = [run(tmp_path, f"r{i}", seed=seed, obs_norm=True) for i, seed in enumerate((3, 3, 4))]
    first, second, other = (rows(r.run_dir / "metrics.csv", TIME_COLUMNS) for r in results)
    assert first == second
    assert first != other
    assert len(first) >= 3


@pytest.mark.parametrize("seeds", [1, 2])
def test_overlap_changes_no_number(tmp_path, seeds):
    results = [run(tmp_path, f"o{o}", overlap=o, seeds=seeds, obs_norm=True, actor_delay=2) for o in ("on", "off")]
    first, second = (rows(r.run_dir / "metrics.csv", TIME_COLUMNS) for r in results)
    assert first == second
    assert len(first) >= 3 * seeds


def test_a_recorded_run_equals_an_eager_one(tmp_path, recorder, monkeypatch):
    """CUDA graphs without a GPU: the whole run, from the environments to metrics.csv."""
    settings = {"obs_norm": True, "n_step": 2, "updates_per_launch": 4, "utd_ratio": 2.0}
    eager = run(tmp_path, "eager", **settings)
    monkeypatch.setattr(plan, "choose_mode", lambda *_: ("captured", "recorded"))
    captured = run(tmp_path, "captured", **settings)
    assert recorder.replayed > 30
    first, second = (rows(r.run_dir / "metrics.csv", TIME_COLUMNS) for r in (eager, captured))
    assert first == second
    assert eager.eval_return_mean == captured.eval_return_mean


def test_metrics_say_where_the_time_goes(tmp_path):
    for row in rows(run(tmp_path, obs_norm=True).run_dir / "metrics.csv", set()):
        parts = [float(row[name]) for name in ("env_wait_s", "device_wait_s", "host_s")]
        assert min(parts) >= 0
        assert 0 < sum(parts) <= float(row["wall_s"]) + 1e-5
        assert float(row["device_wait_s"]) > 0


def test_a_compiled_run_repeats_itself_in_one_graph_each_for_update_and_actor(tmp_path):
    torch._dynamo.reset()
    tables = []
    for name in ("a", "b"):
        counters.clear()
        result = run(tmp_path, name, compile="on", total_steps=120)
        assert counters["stats"]["unique_graphs"] in ((2,) if name == "a" else (0, 2))  # b may find them compiled
        assert not counters["graph_break"]
        tables.append(rows(result.run_dir / "metrics.csv", TIME_COLUMNS))
        assert result.compile_s > 0
    assert tables[0] == tables[1]


def test_evaluation_leaves_training_untouched(tmp_path):
    without, often = run(tmp_path, "a"), run(tmp_path, "b", eval_every=7)
    assert rows(without.run_dir / "metrics.csv", TIME_COLUMNS) == rows(often.run_dir / "metrics.csv", TIME_COLUMNS)
    assert len(rows(often.run_dir / "eval.csv")) >= 8
    for name, value in parameters(without).items():
        assert torch.equal(parameters(often)[name], value)


def test_floats_in_csv_read_back_exactly_and_have_no_digit_too_many(tmp_path):
    """Losses are float32: the figures that bound them, and no more.  Times are to the microsecond."""
    result = run(tmp_path)
    for row in rows(result.run_dir / "metrics.csv"):
        for name, text in row.items():
            if name not in ("member", "env_steps", "grad_steps", "seed", "success_rate"):
                assert repr(float(text)) == text
            if name in ("critic_loss", "actor_loss", "alpha", "entropy", "q_mean", "env_steps_per_s"):
                assert float(str(np.float32(text))) == float(text)
            if name.endswith("_s") and "per" not in name:
                assert len(text.partition(".")[2]) <= 6 or "e-" in text


def test_members_write_a_row_each_and_stay_independent(tmp_path):
    both = run(tmp_path, "both", seeds=2, seed=3)
    alone = run(tmp_path, "alone", seed=4)
    members = {r["member"] for r in rows(both.run_dir / "metrics.csv")}
    assert members == {"0", "1"}
    assert [m["seed"] for m in both.members] == [3, 4]
    assert both.members[1]["grad_steps"] == alone.grad_steps
    torch.testing.assert_close(
        parameters(both)["critic"][1], parameters(alone)["critic"][0], rtol=1e-3, atol=1e-3
    )  # fmt: skip


def test_stop_at_return(tmp_path):
    result = run(tmp_path, total_steps=10_000, buffer_size=2000, eval_every=40, stop_at_return=-1e9)
    assert 40 <= result.env_steps < 50
    evals = rows(result.run_dir / "eval.csv")
    assert len(evals) == 1  # the policy that reached the goal is the one that is kept
    assert float(evals[0]["return_mean"]) == result.eval_return_mean
    assert int(evals[0]["grad_steps"]) == result.grad_steps == checkpoint.load_meta(result.run_dir)["grad_steps"][0]


@pytest.mark.parametrize(("key", "word"), [("nan_obs", "an observation"), ("nan_reward", "a reward")])
def test_nan_from_an_environment_names_it_and_keeps_the_checkpoint(tmp_path, key, word):
    with pytest.raises(NotFiniteError, match=rf"environment 2 of member 0 \(seed 1\) returned {word} .* env step \d+"):
        run(tmp_path, env_kwargs={key: [2, 10]}, checkpoint_every=20)
    assert checkpoint.load(tmp_path / "run")[1]["env_steps"][0] >= 20


def test_nan_in_a_loss_names_the_step_and_writes_no_checkpoint(tmp_path):
    with pytest.raises(NotFiniteError, match=r"critic_loss.* of member 0 \(seed 1\) .* at gradient step \d+"):
        run(tmp_path, reward_scale=1e38, total_steps=200, checkpoint_every=150)
    assert not checkpoint.checkpoint_dirs(tmp_path / "run")


def test_a_loss_is_blamed_before_the_environment_that_fails_of_it(tmp_path):
    # The scripted environment refuses the NaN actions that come of it, long before the next log point.
    with pytest.raises(NotFiniteError, match=r"critic_loss.* of member 0"):
        run(tmp_path, reward_scale=1e38, total_steps=200, log_every=1000)


def test_resume_continues_counters_and_files(tmp_path):
    first = run(tmp_path, total_steps=60)
    config = Config.load(first.run_dir).replace(resume=str(first.run_dir), total_steps=120)
    second = train(config)
    assert second.env_steps >= 120
    assert second.grad_steps == 120 - BASE.learning_starts
    assert second.wall_s > first.wall_s
    steps = [int(r["env_steps"]) for r in rows(second.run_dir / "metrics.csv")]
    assert steps == sorted(steps)
    assert steps[0] < 60 < steps[-1]
    replay = checkpoint.load(second.run_dir)[0]["replay"]
    assert replay["count"].tolist() == [second.env_steps]


def test_resume_refuses_other_environments_and_sizes(tmp_path):
    folder = run(tmp_path).run_dir
    config = Config.load(folder).replace(resume=str(folder))
    with pytest.raises(ValueError, match=r"the checkpoint in .* is of tests.support.scripted_env:3t"):
        train(config.replace(env="tests.support.scripted_env:4t"))
    with pytest.raises(ValueError, match=r"and a run keeps its task, got env envpool:CartPole-v1\. Leave --env out"):
        train(config.replace(env="CartPole-v1"))  # whatever its algorithm would be
    with pytest.raises(ValueError, match=r"has hidden_dims \[8\], got \[9\]"):
        train(config.replace(hidden_dims=(9,)))
    with pytest.raises(ValueError, match=r"is at its 60 steps already. Give a larger --total-steps"):
        train(config)
    with pytest.raises(ValueError, match="has no checkpoint"):
        train(config.replace(resume=str(tmp_path / "nothing"), run_dir=None))


def test_python_interface(tmp_path):
    result = fastsac.train(BASE.replace(run_dir=str(tmp_path / "run"), env_kwargs={"bound": 3.0}, obs_norm=True))
    policy = fastsac.load(result.run_dir)
    single = policy.act(torch.ones(5))
    assert single.shape == (2,)
    batch = policy.act(torch.ones(7, 5).numpy())
    assert batch.shape == (7, 2)
    torch.testing.assert_close(torch.from_numpy(batch[0]), single)
    normalized = policy.act(torch.ones(5), normalized=True)
    torch.testing.assert_close(single, 3 * normalized)
    torch.manual_seed(0)
    assert not torch.equal(policy.act(torch.ones(5), deterministic=False), single)
    with pytest.raises(ValueError, match=r"obs must be \[5\] or \[B, 5\], got float32 \[4\]"):
        policy.act(torch.ones(4))
    with pytest.raises(ValueError, match="is not a run directory"):
        fastsac.load(tmp_path)


def test_evaluation_can_have_other_keywords(tmp_path):
    pendulum = {"env": "Pendulum-v1", "total_steps": 60, "eval_episodes": 4, "action_limit": None}
    whole, short = (
        run(tmp_path, name, **pendulum, eval_env_kwargs=kwargs).eval_return_mean
        for name, kwargs in (("whole", {}), ("short", {"max_episode_steps": 5}))
    )
    assert whole < -400  # 200 steps
    assert short > -90  # at least -16.3 each
    with pytest.raises(ValueError, match=r"make evaluations differ in action_bounds: \(\) in training, .*Leave out"):
        run(tmp_path, "bound", eval_env_kwargs={"bound": 2.0})
    with pytest.raises(ValueError, match="takes no env_kwargs 'speed'"):
        run(tmp_path, "speed", eval_env_kwargs={"speed": 2.0})
