"""The arithmetic of times to a threshold, who is told what, and that all of it runs with tiny sizes."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_bench import FakeClock

from bench import evaluator, own_run, sb3_run, solve, solve_sb3, solve_show, solve_task, solve_worker
from fastsac.cli.train import train_config
from fastsac.runtime.device import num_cpus

ROOT = Path(__file__).resolve().parents[1]


def make_task(system: str = "fastsac", env: str = "Pendulum-v1", **changes: Any) -> solve_task.Task:
    values: dict[str, Any] = {
        "seed": 1, "goal": -180.0, "eval_every": 500, "eval_episodes": 2, "max_steps": 20_000, "max_wall_s": 300.0,
        "threads": 1, "device": "cpu", "quick": False,
    }  # fmt: skip
    return solve_task.Task(**{"system": system, "env": env, **values, **changes})


def make_run(system: str, seed: int, returns: list[float], second: float = 10.0) -> dict[str, Any]:
    """A run with an evaluation every `second` seconds and 500 steps."""
    evaluations = [
        {"env_steps": 500 * i, "wall_s": second * i, "return_mean": r, "return_std": 1.0, "episodes": 2}
        for i, r in enumerate(returns, 1)
    ]
    about = {"compile_s": 0.0, "process_cpu_s": 1.0, "mode": "eager", "hyper": {"gamma": 0.99}}
    return {"system": system, "env": "Pendulum-v1", "seed": seed, "evaluations": evaluations, **about}


# When a run is over ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env_steps", "now", "returned", "why"),
    [(20_000, 1.0, -180.0, "goal"), (20_000, 1.0, -180.1, "steps"), (500, 300.0, -181.0, "seconds")],
)
def test_a_run_ends(env_steps: int, now: float, returned: float, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    time = FakeClock()
    monkeypatch.setattr(evaluator, "time", time)
    monkeypatch.setattr(evaluator, "evaluate", lambda *_: [returned - 1, returned + 1])
    watch = solve_task.Watch(make_task(), began=time.now)
    watch.envs = []
    time.now += now
    with pytest.raises(solve_task.Over, match=why):
        watch.add(np.asarray, env_steps)


def test_the_clock_starts_with_the_process_and_stands_still_for_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    time = FakeClock()
    monkeypatch.setattr(evaluator, "time", time)

    def evaluate(*_: Any) -> list[float]:
        time.now += 50
        return [-1000.0, -500.0]

    monkeypatch.setattr(evaluator, "evaluate", evaluate)
    watch = solve_task.Watch(make_task(), began=time.now - 3)  # three seconds before this line
    watch.envs = []
    watch.add(np.asarray, 500)
    time.now += 2
    watch.add(np.asarray, 1_000)
    assert [row["wall_s"] for row in watch.rows] == [3, 5]
    assert [row["return_mean"] for row in watch.rows] == [-750, -750]


def test_seeds_of_episodes_depend_on_the_run_and_the_evaluation() -> None:
    found = [evaluator.episode_seeds(seed, count, 3) for seed in (1, 2) for count in (0, 1)]
    assert found[0] == evaluator.episode_seeds(1, 0, 3)
    assert len({value for seeds in found for value in seeds}) == 12
    assert all(0 <= value < 2**31 for seeds in found for value in seeds)


# Figures --------------------------------------------------------------------------------------------------------------


def test_survival_counts_who_was_given_up_only_until_then() -> None:
    """Five runs: solved at 10, 20, 20 and 40, given up at 30: 1/5, 3/5, then the one that is left."""
    times, shares = solve_show.survival([10, 20, None, 20, 40], [10, 20, 30, 20, 40])
    assert times.tolist() == [0, 10, 20, 40]
    assert shares == pytest.approx([0, 0.2, 0.6, 1.0])
    # Given up at 15: 1 - 4/5 * (1 - 2/3) * ..., where the plain share at 20 would be 0.6.
    times, shares = solve_show.survival([10, 20, None, 20, 40], [10, 20, 15, 20, 40])
    assert shares == pytest.approx([0, 0.2, 1 - 0.8 / 3, 1.0])
    # Given up at the very time of another's success: it was still there.
    assert solve_show.survival([10, None], [10, 10])[1].tolist() == [0, 0.5]
    assert solve_show.survival([None], [10])[1].tolist() == [0]


def test_iqm_of_five_leaves_the_best_and_the_worst_out() -> None:
    found = solve.spread([10.0, 20.0, 30.0, 40.0, 90.0])
    assert (found["iqm"], found["median"], found["min"], found["max"]) == (30, 30, 10, 90)
    assert found["low"] < 30 < found["high"]


def test_one_seed_of_five_that_never_gets_there_is_the_worst_two_are_too_many() -> None:
    one = solve.spread([10.0, 20.0, None, 30.0, 40.0])
    assert (one["iqm"], one["median"], one["min"], one["max"]) == (30, 30, 10, None)
    assert one["low"] is not None
    assert one["high"] is None  # a draw with two of it has no end
    two = solve.spread([10.0, 20.0, None, None, 40.0])
    assert (two["iqm"], two["median"], two["min"]) == (None, 40, 10)
    assert solve.spread([None])["iqm"] is None
    assert not solve.spread([1.0, 2.0])["has_interval"]


def test_summary_and_table() -> None:
    runs = [make_run("fastsac", 1, [-900, -170]), make_run("fastsac", 2, [-900, -800, -179])]
    runs += [make_run("sb3", 1, [-900, -170], 40.0), make_run("sb3", 2, [-900, -800, -700], 40.0)]
    runs += [{"system": "sbx", "env": "Pendulum-v1", "seed": 1, "error": "no\nmemory"}]
    ours, sb3, sbx = (solve.summarise("Pendulum-v1", system, -180.0, runs) for system in ("fastsac", "sb3", "sbx"))
    assert (ours["solved"], ours["wall_s"]["iqm"], ours["env_steps"]["iqm"]) == (2, 25, 1250)
    assert (sb3["solved"], sb3["wall_s"]["values"], sb3["wall_s"]["iqm"]) == (1, [80, None], None)
    figures = solve_show.table(solve.SYSTEMS, "Pendulum-v1", -180.0, [ours, sb3, sbx])
    assert figures.title == "Pendulum-v1: to -180"
    assert figures.rows[0][:3] == ["fastsac", "2 of 2", "25.0"]
    assert figures.rows[1][:4] == ["Stable-Baselines3", "1 of 2", "never", "-"]
    assert figures.rows[2][-1] == "error: seed 1: no"
    lines = solve_show.headline({"rows": [ours, sb3, sbx], "names": solve.SYSTEMS})
    assert [(line.ours, line.other, line.ratio) for line in lines] == [
        ("fastsac: 25.0", "Stable-Baselines3: never", ""),
    ]
    assert solve_show.outcome(runs[1], [-180.0]).startswith("Pendulum-v1, fastsac, seed 2: -180 after 30.0 s, 1,500")


# What is told to whom -------------------------------------------------------------------------------------------------


def test_this_program_gets_what_its_command_line_gives() -> None:
    config = train_config(solve_worker.flags(make_task()))
    plain = train_config(["--env", "Pendulum-v1", "--seed", "1", "--cpu-threads", "1", "--device", "cpu"])
    assert own_run.hyper_parameters(config) == own_run.hyper_parameters(plain)
    assert (config.tensorboard, config.checkpoint_every) == (plain.tensorboard, plain.checkpoint_every)
    assert train_config(solve_worker.flags(make_task("fastsac-eager"))).compile == "off"


def test_one_run_per_environment_fills_the_cache() -> None:
    settings = solve.Settings(envs=("Pendulum-v1", "Ant-v5"), seeds=(4, 2))
    fills = solve.make_fills(solve.make_tasks(settings))
    assert [(t.env, t.system, t.max_steps) for t in fills] == [
        ("Pendulum-v1", "fastsac-warm", 500),
        ("Ant-v5", "fastsac-warm", 10_000),
    ]


def test_order_and_limits() -> None:
    settings = solve.Settings(envs=("Pendulum-v1", "HalfCheetah-v5"), seeds=(4, 2), systems=("sb3", "fastsac"))
    tasks = solve.make_tasks(settings)
    assert [(t.seed, t.system) for t in tasks[:4]] == [(4, "sb3"), (4, "fastsac"), (2, "sb3"), (2, "fastsac")]
    assert (tasks[0].goal, tasks[0].max_steps, tasks[-1].goal) == (-180, 20_000, 10_000)
    assert solve.Settings(max_steps=7).goal("Pendulum-v1").max_steps == 7
    assert solve.SETS["small"] == ("Pendulum-v1", "InvertedDoublePendulum-v5")


def test_peers_need_nothing_of_this_program() -> None:
    """Their interpreters have neither this program nor, some of them, torch."""
    code = "import sys, bench.solve_sb3; print([m for m in sys.modules if m.split('.')[0] in ('fastsac', 'torch')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_peers_get_what_the_zoo_says_or_nothing() -> None:
    assert set(solve_sb3.TUNED) == set(solve.GOALS)
    assert solve_sb3.hyper_parameters(make_task("sbx")) == {"learning_rate": 1e-3}
    assert solve_sb3.hyper_parameters(make_task("sb3", "Ant-v5")) == {"learning_starts": 10_000}
    assert solve_sb3.hyper_parameters(make_task("sb3-defaults", "Ant-v5")) == {}
    assert set(solve_show.STYLES) == set(solve.SYSTEMS)


class FakeModel:
    """Counts what is asked of it."""

    num_timesteps = 0

    def predict(self, obs: Any, deterministic: bool) -> tuple[Any, None]:
        assert deterministic
        return np.zeros((len(obs), 1), np.float32), None


def test_the_callback_evaluates_when_steps_are_passed_and_ends_at_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluator, "evaluate", lambda *_: [0.0])
    evaluations = evaluator.Evaluations("Pendulum-v1", 1, 1)
    evaluations.envs = []
    model = FakeModel()
    after_step = sb3_run.make_callback(model, evaluations, every=10, total=25)
    went_on = []
    for model.num_timesteps in range(4, 29, 4):  # type: ignore[misc]
        went_on.append(after_step())
    assert [row["env_steps"] for row in evaluations.rows] == [12, 20, 28]
    assert went_on == [True] * 6 + [False]


# The whole ------------------------------------------------------------------------------------------------------------


def test_the_whole_runs_with_tiny_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("stable_baselines3")
    path = tmp_path / "new" / "s.json"
    args = ["--envs", "Pendulum-v1", "--systems", "fastsac", "sb3", "--seeds", "1", "--eval-episodes", "1"]
    report = solve.main([*args, "--quick", "--jobs", str(min(2, num_cpus())), "--json", str(path)])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    assert report["complete"]
    with path.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == solve_show.COLUMNS
    assert [(r["system"], r["env_steps"]) for r in rows] == [
        (system, steps) for system in ("fastsac", "sb3") for steps in ("20", "40")
    ]
    for run in report["runs"]:
        assert run["ended"] == "steps", run
        seconds = [e["wall_s"] for e in run["evaluations"]]
        assert 0 < seconds[0] < seconds[1] < run["process_s"] - run["evaluating_s"]
    mine, theirs = report["rows"]
    assert mine["hyper"]["hidden_dims"] == [8, 8]
    assert theirs["hyper"]["learning_rate"] == solve_sb3.TUNED["Pendulum-v1"]["learning_rate"]
    assert (tmp_path / "new" / "s-Pendulum-v1.png").stat().st_size > 10_000
    assert "Pendulum-v1: to -180" in capsys.readouterr().out


def test_a_run_that_fails_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def train(*_: Any) -> None:
        raise RuntimeError("no luck")

    solve_task.work(train, json.dumps(vars(make_task())), str(tmp_path / "out.json"), "0.0")
    assert json.loads((tmp_path / "out.json").read_text())["error"] == "RuntimeError: no luck"
    assert "no luck" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("envs", ("CartPole-v1",), "envs must be of Pendulum-v1, .*, got CartPole-v1"),
        ("systems", ("cleanrl",), "systems must be of fastsac, .*, got cleanrl"),
        ("seeds", (1, 1), "seeds must be one or more different ones"),
        ("jobs", 0, "jobs must be at least 1, got 0"),
        ("max_wall_s", 0.0, "max_wall_s must be above 0"),
    ],
)
def test_settings_out_of_range(name: str, value: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        solve.Settings(**{name: value})
