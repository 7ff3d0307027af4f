"""The comparison's arithmetic, order and files, and that all of it runs with tiny sizes."""

import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from test_bench import FakeClock

from bench import (
    compare,
    compare_measure,
    compare_peers,
    compare_show,
    compare_worker,
    evaluator,
    own_run,
    side_by_side,
)
from fastsac.acting.evaluation import rollout
from fastsac.env import make_env
from fastsac.runtime.device import num_cpus

QUICK = ["--env", "Pendulum-v1", "--quick", "--seeds", "1", "--total-steps", "60", "--eval-every", "20"]
QUICK += ["--eval-episodes", "2", "--jobs", str(min(2, num_cpus()))]


def make_task(algo: str = "sac", **changes: Any) -> compare_measure.Task:
    values: dict[str, Any] = {
        "env": "Pendulum-v1", "discrete": False, "seed": 1, "total_steps": 100, "eval_every": 50, "eval_episodes": 2,
        "threads": 1, "device": "cpu", "compile": "off", "quick": False,
    }  # fmt: skip
    return compare_measure.Task(**{"algo": algo, **values, **changes})


def make_run(key: str, seed: int, wall_s: list[float], returns: list[float]) -> dict[str, Any]:
    """A run with an evaluation every 10 environment steps."""
    evaluations = [
        {"env_steps": 10 * (i + 1), "wall_s": s, "return_mean": r, "return_std": 1.0, "episodes": 2}
        for i, (s, r) in enumerate(zip(wall_s, returns, strict=True))
    ]
    names = {"key": key, "name": key, "system": "fastsac", "algo": key, "seed": seed}
    return {**names, "evaluations": evaluations, "compile_s": 0.0, "hyper": {}}


# Clock and evaluation -------------------------------------------------------------------------------------------------


def test_the_clock_stands_still_for_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    time = FakeClock()
    monkeypatch.setattr(evaluator, "time", time)
    clock = evaluator.Clock()
    time.now += 5  # before the start
    clock.start()
    time.now += 2
    with clock.stopped():
        time.now += 10
    time.now += 1
    assert (clock.seconds(), clock.stopped_s) == (3.0, 10.0)


class CountDown(gymnasium.Env[np.ndarray, np.ndarray]):
    """Ends after as many steps as its seed says, with a reward of 1 for each."""

    observation_space = spaces.Box(0, 100, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        assert seed is not None
        self.left = seed
        return np.full(1, seed, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert self.left > 0, "stepped after its end"
        self.left -= 1
        return np.full(1, self.left, np.float32), 1.0, self.left == 0, False, {}


def test_evaluate_counts_one_episode_of_each() -> None:
    seen = []

    def act(obs: np.ndarray) -> np.ndarray:
        seen.append(obs[:, 0].tolist())
        return np.zeros((len(obs), 1), np.float32)

    assert evaluator.evaluate(act, [CountDown(), CountDown()], [1, 3]) == [1.0, 3.0]
    assert seen == [[1, 3], [0, 2], [0, 1]]


def test_evaluations_have_seeds_of_their_own_and_the_same_for_all() -> None:
    def first_obs(seed: int) -> list[float]:
        obs: list[float] = []

        def act(batch: np.ndarray) -> np.ndarray:
            if act_calls[0] % 200 == 0:
                obs.extend(batch[:, 0].tolist())
            act_calls[0] += 1
            return np.zeros((len(batch), 1), np.float32)

        act_calls = [0]
        evaluations = evaluator.Evaluations("Pendulum-v1", seed, 2)
        evaluations.add(act, 50)
        evaluations.add(act, 100)
        assert [row["env_steps"] for row in evaluations.rows] == [50, 100]
        return obs

    assert first_obs(1) == first_obs(1)
    assert len({*first_obs(1), *first_obs(2)}) == 8  # two evaluations of two episodes, for two seeds


def test_actions_are_in_the_units_of_the_space() -> None:
    box = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32))
    scaled = own_run.in_units(np.array([[-1.0, 0.0], [1.5, 1.0]], np.float32), box)
    assert scaled.tolist() == [[-2.0, 0.5], [2.0, 1.0]]
    one_hot = np.array([[0, 0, 1], [1, 0, 0]], np.float32)
    assert own_run.in_units(one_hot, spaces.Discrete(3, start=5)).tolist() == [7, 5]


def test_gymnasium_gives_the_returns_that_our_own_rollout_gives() -> None:
    """Both sides of the door: the same seeds and the same actions, by Gymnasium's own environments."""
    action = np.full((2, 1), 0.25, np.float32)
    envs = [evaluator.make_gym_env("Pendulum-v1") for _ in range(2)]
    theirs = evaluator.evaluate(lambda _: own_run.in_units(action, envs[0].action_space), envs, [3, 4])
    ours, _ = rollout(make_env("gymnasium:Pendulum-v1", [3, 4]), lambda _: action)
    assert theirs == pytest.approx(ours.tolist(), rel=1e-5)


# What is told to whom -------------------------------------------------------------------------------------------------


def test_peers_get_what_is_to_be_equal() -> None:
    config = make_task().config()
    for algo in ("ddpg", "td3"):
        hyper = compare_peers.hyper_parameters(make_task(algo))
        assert hyper["policy_kwargs"] == {"net_arch": list(config.hidden_dims)}
        assert hyper["gradient_steps"] == hyper["num_envs"] == config.num_envs  # one update per environment step
        assert (hyper["learning_rate"], hyper["learning_starts"]) == (config.actor_lr, config.learning_starts)
        for name in ("gamma", "tau", "batch_size", "buffer_size"):
            assert hyper[name] == getattr(config, name)
    ppo = compare_peers.hyper_parameters(make_task("ppo"))
    assert (ppo["n_steps"], ppo["num_envs"], ppo["gamma"]) == (1024, 4, 0.9)
    elsewhere = compare_peers.hyper_parameters(make_task("ppo", env="InvertedPendulum-v5"))
    assert elsewhere == {"num_envs": 1, "gamma": 0.99, "policy_kwargs": {"net_arch": [256, 256]}}


def test_discrete_actions_leave_some_out() -> None:
    cannot = {algo: compare.cannot(make_task(algo, env="CartPole-v1", discrete=True)) for algo in compare.ALGOS}
    assert [cannot[algo] for algo in ("sac-v1", "ddpg", "td3")] == ["is for continuous actions"] * 3
    assert cannot["sac"] is cannot["sql"] is None
    named = [compare.name_of(make_task(algo, env="CartPole-v1", discrete=True))["algo"] for algo in ("sac", "sql")]
    assert named == ["sac-discrete", "sql-discrete"]


def test_a_missing_peer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)  # as if it were not installed
    assert 'sb3_contrib not installed (pip install "fastsac[bench]")' in str(compare.cannot(make_task("trpo")))


def test_seed_by_seed_all_systems_in_turn() -> None:
    settings, tasks = compare.prepare(compare.Settings(seeds=(4, 2), algos=("ppo", "sac")))
    assert [(t.seed, t.algo) for t in tasks] == [(4, "ppo"), (4, "sac"), (2, "ppo"), (2, "sac")]
    assert (settings.total_steps, settings.eval_every, settings.goal) == (20_000, 1_000, -200.0)
    assert settings.json == Path("compare-Pendulum-v1.json")


def test_slots_share_no_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3, 5, 7}, raising=False)
    assert side_by_side.make_slots(jobs=2, threads=2) == [[1, 3], [5, 7]]
    assert side_by_side.make_slots(jobs=1, threads=1) == [[1]]
    with pytest.raises(ValueError, match="at most the 4 cores there are, got 6"):
        side_by_side.make_slots(jobs=3, threads=2)


def test_a_process_that_is_stuck_is_ended(tmp_path: Path) -> None:
    running: side_by_side.Running = set()
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    out = tmp_path / "outcome.json"
    outcome = side_by_side.run_process(lambda _: command, out, dict(os.environ), running, limit_s=0.2)
    assert outcome == {"error": "the process was ended, for it had not come to an end after 0.2 seconds"}
    assert not running


# Figures and charts ---------------------------------------------------------------------------------------------------


def test_summary_over_seeds() -> None:
    runs = [make_run("sac", 1, [1, 2, 3], [-9, -2, -3]), make_run("sac", 2, [2, 4, 6], [-9, -8, -1])]
    row = compare.summarise("sac", runs, goal=-2.0)
    assert row["final_return"] == {"mean": -2.0, "min": -3, "max": -1, "values": [-3, -1]}
    assert (row["goal_env_steps"], row["goal_wall_s"]) == (25, 4)  # 20 and 30 steps, 2 and 6 seconds
    assert row["wall_s"] == 4.5
    assert compare.summarise("sac", runs, goal=-1.5)["goal_env_steps"] is None  # seed 1 never did
    failed = {"key": "sac", "name": "SAC", "system": "fastsac", "algo": "sac", "seed": 3, "error": "no\nmemory"}
    row = compare.summarise("sac", [*runs, failed], goal=None)
    assert (row["seeds"], compare_show.problem(row)) == ([1, 2], "error: seed 3: no")


def test_curves_over_seconds_are_interpolated_before_they_are_averaged() -> None:
    runs = [make_run("sac", 1, [1, 2, 3], [0, 10, 20]), make_run("sac", 2, [2, 4, 6], [0, 20, 40])]
    x, returns = compare_show.stack(runs, "wall_s")
    assert (x[0], x[-1], len(x)) == (2.0, 3.0, compare_show.GRID)  # where both have begun and neither has ended
    assert returns[:, 0].tolist() == [10.0, 0.0]
    assert returns[:, -1].tolist() == [20.0, 10.0]
    x, returns = compare_show.stack(runs, "env_steps")
    assert (x.tolist(), returns.mean(0).tolist()) == ([10, 20, 30], [0, 15, 30])


# The whole ------------------------------------------------------------------------------------------------------------


def test_the_whole_runs_with_tiny_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("stable_baselines3")
    path = tmp_path / "new" / "c.json"
    report = compare.main([*QUICK, "--algos", "sac", "td3", "--json", str(path)])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    assert {"machine", "versions", "commit", "dirty", "started", "load_before", "load_after"} <= set(report)
    assert report["complete"]
    assert report["settings"]["total_steps"] == 60

    with path.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == compare_show.COLUMNS
    assert [(r["system"], r["algo"], r["seed"], r["env_steps"]) for r in rows] == [
        (system, algo, "1", steps)
        for system, algo in (("fastsac", "sac"), ("Stable-Baselines3", "td3"))
        for steps in ("20", "40", "60")
    ]
    for row in rows:
        assert -2000 < float(row["return_mean"]) < 0
        assert float(row["return_std"]) >= 0
        assert row["episodes"] == "2"
    for run in report["runs"]:
        seconds = [e["wall_s"] for e in run["evaluations"]]
        assert 0 < seconds[0] < seconds[1] < seconds[2] < run["process_s"]
        assert run["evaluating_s"] > 0
        assert run["process_cpu_s"] > 0
    mine, theirs = report["rows"]
    assert mine["hyper"]["hidden_dims"] == [8, 8]
    assert theirs["hyper"]["policy_kwargs"] == {"net_arch": [8, 8]}
    assert theirs["hyper"]["policy_delay"] == 2  # its own default
    assert mine["final_return"]["mean"] == float(rows[2]["return_mean"])
    for name in ("steps", "wall"):
        assert (tmp_path / "new" / f"c-{name}.png").stat().st_size > 10_000
    assert "fastsac SAC" in capsys.readouterr().out


def test_a_run_that_fails_is_a_row_with_its_error(tmp_path: Path) -> None:
    outcome = tmp_path / "outcome.json"
    task = make_task("sac", env="NoSuchTask-v0")
    compare_worker.main(json.dumps(vars(task)), str(outcome))
    assert "NoSuchTask-v0" in json.loads(outcome.read_text())["error"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--env", "Pendulun-v1"], "Pendulum-v1"),
        (["--env", "DmCartpoleSwingup-v1"], "DmCartpoleSwingup-v1"),
        (["--total-steps", "10"], "learning_starts"),
        (["--jobs", "1000"], "jobs times threads must be at most"),
    ],
)
def test_a_wrong_call_is_one_clear_line(args: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as error:
        compare.main([*QUICK, *args, "--json", str(tmp_path / "c.json")])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("algos", ("a2c",), "algos must be of sac, .*, got a2c"),
        ("seeds", (1, 1), "seeds must be one or more different ones"),
        ("jobs", 0, "jobs must be at least 1, got 0"),
        ("total_steps", 0, "total_steps must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range(name: str, value: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        compare.Settings(**{name: value})
