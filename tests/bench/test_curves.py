"""The arithmetic of times to a threshold, who is told what, and that all of it runs with tiny sizes."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from bench import curves as curves_door
from bench import solve
from bench.lib import curve_charts, curve_worker, curves, evaluator, program
from bench.peers import learn
from fastsac.acting.evaluation import rollout
from fastsac.cli.train import train_config
from fastsac.config.settings import Config
from fastsac.env import make_env
from fastsac.runtime.device import num_cpus
from tests.support.fake_clock import FakeClock
from tests.support.figures import x_of, y_of

ROOT = Path(__file__).resolve().parents[2]


def make_task(system: str = "fastsac", env: str = "Pendulum-v1", **changes: Any) -> evaluator.Task:
    values: dict[str, Any] = {
        "seed": 1, "goal": -180.0, "eval_every": 500, "eval_episodes": 2, "max_steps": 20_000, "max_wall_s": 300.0,
        "threads": 1, "device": "cpu",
    }  # fmt: skip
    return evaluator.Task(**{"system": system, "env": env, **values, **changes})


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
    watch = evaluator.Watch(make_task(), began=time.now)
    watch.envs = []
    time.now += now
    with pytest.raises(evaluator.Over, match=why):
        watch.add(np.asarray, env_steps)


def test_the_clock_starts_with_the_process_and_stands_still_for_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    time = FakeClock()
    monkeypatch.setattr(evaluator, "time", time)

    def evaluate(*_: Any) -> list[float]:
        time.now += 50
        return [-1000.0, -500.0]

    monkeypatch.setattr(evaluator, "evaluate", evaluate)
    watch = evaluator.Watch(make_task(), began=time.now - 3)  # three seconds before this line
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
    times, shares = curve_charts.survival([10, 20, None, 20, 40], [10, 20, 30, 20, 40])
    assert times.tolist() == [0, 10, 20, 40]
    assert shares == pytest.approx([0, 0.2, 0.6, 1.0])
    # Given up at 15: 1 - 4/5 * (1 - 2/3) * ..., where the plain share at 20 would be 0.6.
    times, shares = curve_charts.survival([10, 20, None, 20, 40], [10, 20, 15, 20, 40])
    assert shares == pytest.approx([0, 0.2, 1 - 0.8 / 3, 1.0])
    # Given up at the very time of another's success: it was still there.
    assert curve_charts.survival([10, None], [10, 10])[1].tolist() == [0, 0.5]
    assert curve_charts.survival([None], [10])[1].tolist() == [0]


def test_iqm_of_five_leaves_the_best_and_the_worst_out() -> None:
    assert curves.spread([10.0, 20.0, 30.0, 40.0, 90.0]) == {
        "iqm": 30, "min": 10, "max": 90, "values": [10.0, 20.0, 30.0, 40.0, 90.0]
    }  # fmt: skip


def test_one_seed_of_five_that_never_gets_there_is_the_worst_two_are_too_many() -> None:
    one = curves.spread([10.0, 20.0, None, 30.0, 40.0])
    assert (one["iqm"], one["min"], one["max"]) == (30, 10, None)
    two = curves.spread([10.0, 20.0, None, None, 40.0])
    assert (two["iqm"], two["min"]) == (None, 10)
    assert curves.spread([None])["iqm"] is None


def make_report(runs: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    """What the runner writes of runs in Pendulum-v1."""
    systems = list(dict.fromkeys(run["system"] for run in runs))
    goals = {"Pendulum-v1": {"thresholds": [-180.0]}}
    told = {"systems": systems, "seeds": [1, 2], "eval_episodes": 2, "threads": 1, **settings}
    machine = {"cpu": "A CPU", "cores": 4, "gpu": None}
    about = {"settings": told, "goals": goals, "names": curves.SYSTEMS, "machine": machine, "commit": "fdb69191892"}
    rows = curves.summarise_all(goals, systems, runs)
    return {**about, "versions": {"torch": "2.13.0"}, "rows": rows, "runs": runs}


def test_summary_and_table() -> None:
    runs = [make_run("fastsac", 1, [-900, -170]), make_run("fastsac", 2, [-900, -800, -179])]
    runs += [make_run("sb3", 1, [-900, -170], 40.0), make_run("sb3", 2, [-900, -800, -700], 40.0)]
    runs += [{"system": "sbx", "env": "Pendulum-v1", "seed": 1, "error": "no\nmemory"}]
    report = make_report(runs)
    ours, sb3, _ = report["rows"]
    assert (ours["solved"], ours["wall_s"]["iqm"], ours["env_steps"]["iqm"]) == (2, 25, 1250)
    assert (sb3["solved"], sb3["wall_s"]["values"], sb3["wall_s"]["iqm"]) == (1, [80, None], None)
    assert sb3["final_return"]["values"] == [-170, -700]
    (figures,) = curve_charts.figures(report, "Seconds to solve")
    assert figures.rows[0] == ["Pendulum-v1 to -180", "fastsac", "2 of 2", "25.0", "20.0", "30.0", "1,250", "-174", ""]
    assert figures.rows[1][2:5] == ["1 of 2", "never", "80.0"]
    assert figures.rows[2] == ["Pendulum-v1 to -180", "SBX", *[""] * 6, "error: seed 1: no"]
    told = curve_charts.outcome(runs[1], {"thresholds": [-180.0]})
    assert told.startswith("Pendulum-v1, fastsac, seed 2: -180 after 30.0 s, 1,500")


# Charts ---------------------------------------------------------------------------------------------------------------


def test_a_chart_of_returns_shows_the_mean_of_each_system_and_the_threshold() -> None:
    runs = [
        make_run("fastsac", 1, [-300, -100]),
        make_run("fastsac", 2, [-500, -200]),
        make_run("sb3", 1, [-900, -800]),
    ]
    (figure,) = curve_charts.draw(make_report(runs, to_the_end=True)).values()
    seconds, steps = figure.axes
    assert seconds.get_xlabel() == "wall seconds since the process was started"
    assert steps.get_xlabel() == "environment steps"
    means = [y_of(line) for line in steps.lines if len(x_of(line)) == 2]
    assert means == [[-400, -150], [-900, -800], [-180.0, -180.0]]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["fastsac", "Stable-Baselines3"]


def test_a_chart_of_times_shows_the_share_of_seeds() -> None:
    runs = [make_run("fastsac", 1, [-300, -100]), make_run("fastsac", 2, [-500, -400]), make_run("sb3", 1, [-300])]
    (figure,) = curve_charts.draw(make_report(runs)).values()
    curve = next(line for line in figure.axes[1].lines if len(x_of(line)) == 3)
    assert x_of(curve) == [0, 1000, 1000]
    assert y_of(curve) == pytest.approx([0, 0.5, 0.5], abs=0.01)  # moved a little, so that none hides another


# What is told to whom -------------------------------------------------------------------------------------------------


def test_this_program_gets_what_its_command_line_gives() -> None:
    config = train_config(curve_worker.flags(make_task()))
    plain = train_config(["--env", "Pendulum-v1", "--seed", "1", "--cpu-threads", "1", "--device", "cpu"])
    assert program.hyper_parameters(config) == program.hyper_parameters(plain)
    assert (config.tensorboard, config.checkpoint_every) == (plain.tensorboard, plain.checkpoint_every)
    assert train_config(curve_worker.flags(make_task("fastsac-eager"))).compile == "off"
    assert train_config(curve_worker.flags(make_task("fastsac-sql"))).algo == "sql"


def test_one_run_per_environment_fills_the_cache() -> None:
    settings = solve.Settings(envs=("Pendulum-v1", "Ant-v5"), seeds=(4, 2))
    fills = curves.make_fills(curves.make_tasks(settings))
    assert [(t.env, t.system, t.max_steps) for t in fills] == [
        ("Pendulum-v1", "fastsac-warm", 500),
        ("Ant-v5", "fastsac-warm", 10_000),
    ]


def test_order_and_limits() -> None:
    settings = solve.Settings(envs=("Pendulum-v1", "HalfCheetah-v5"), seeds=(4, 2), systems=("sb3", "fastsac"))
    tasks = curves.make_tasks(settings)
    assert [(t.seed, t.system) for t in tasks[:4]] == [(4, "sb3"), (4, "fastsac"), (2, "sb3"), (2, "fastsac")]
    assert (tasks[0].goal, tasks[0].max_steps, tasks[-1].goal) == (-180, 20_000, 10_000)
    assert solve.Settings(max_steps=7).goal("Pendulum-v1").max_steps == 7


def test_a_grid_is_every_combination_on_top_of_the_preset() -> None:
    settings = solve.Settings(envs=("Pendulum-v1",), seeds=(1, 2), grid=("num_envs=64,256", "utd_ratio=0.25"))
    names = ["fastsac-warm num-envs=64 utd-ratio=0.25", "fastsac-warm num-envs=256 utd-ratio=0.25"]
    tasks = curves.make_tasks(settings)
    assert [(task.system, task.seed) for task in tasks] == [(name, seed) for seed in (1, 2) for name in names]
    assert [task.system for task in curves.make_fills(tasks)] == names  # each compiles a graph of its own
    flags = curve_worker.flags(tasks[1])
    assert {"--num-envs=256", "--utd-ratio=0.25", "--compile=on", "--stop-at-return=-180.0"} <= {*flags}
    assert settings.names[names[0]] == "num-envs=64 utd-ratio=0.25"
    assert train_config(flags).num_envs == 256


def test_peers_need_nothing_of_this_program() -> None:
    """Their interpreters have neither this program nor, some of them, torch."""
    code = "import sys, bench.peers.learn; print([m for m in sys.modules if m.split('.')[0] in ('fastsac', 'torch')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_peers_get_what_the_zoo_says_or_nothing() -> None:
    assert learn.hyper_parameters(make_task("sbx")) == {"learning_rate": 1e-3}
    assert learn.hyper_parameters(make_task("sb3", "Ant-v5")) == {"learning_starts": 10_000}
    assert set(curve_charts.COLOURS) == set(curves.SYSTEMS)


def test_other_algorithms_get_what_is_to_be_equal() -> None:
    config = Config(env="Pendulum-v1")
    for system in ("sb3-ours", "sb3-ddpg", "sb3-td3"):
        hyper = learn.hyper_parameters(make_task(system, hyper=curves.shared(system, config)))
        assert hyper["policy_kwargs"] == {"net_arch": {"pi": [64, 64], "qf": [64, 64]}}
        assert hyper["gradient_steps"] == hyper["num_envs"] == config.num_envs  # one update per environment step
        assert (hyper["learning_rate"], hyper["learning_starts"]) == (config.actor_lr, config.learning_starts)
        for name in ("gamma", "tau", "batch_size", "buffer_size"):
            assert hyper[name] == getattr(config, name)
    ppo = learn.hyper_parameters(make_task("sb3-ppo", hyper=curves.shared("sb3-ppo", config)))
    assert (ppo["n_steps"], ppo["num_envs"], ppo["gamma"]) == (1024, 4, 0.9)
    assert curves.shared("sb3", config) == curves.shared("sbx", config) == {}
    assert curves.shared("sbx-ours", config)["qf_learning_rate"] == config.critic_lr != config.actor_lr


def test_what_is_for_continuous_actions_is_left_out_elsewhere() -> None:
    settings = curves_door.Settings(
        envs=("CartPole-v1",), systems=("fastsac", "sb3", "fastsac-sql", "sb3-td3"), seeds=(1,)
    )
    tasks = curves.make_tasks(settings)
    assert [(task.system, task.goal) for task in tasks] == [("fastsac", None), ("fastsac-sql", None)]  # to the end


class FakeModel:
    """Counts what is asked of it."""

    num_timesteps = 0

    def predict(self, obs: Any, deterministic: bool) -> tuple[Any, None]:
        assert deterministic
        return np.zeros((len(obs), 1), np.float32), None


def test_the_callback_evaluates_when_steps_are_passed_and_ends_at_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluator, "evaluate", lambda *_: [0.0])
    evaluations = evaluator.Watch(make_task(goal=None, max_wall_s=1e12), began=0.0)
    evaluations.envs = []
    model = FakeModel()
    after_step = learn.make_callback(model, evaluations, every=10, total=25)
    went_on = []
    for model.num_timesteps in range(4, 29, 4):
        went_on.append(after_step())
    assert [row["env_steps"] for row in evaluations.rows] == [12, 20, 28]
    assert went_on == [True] * 6 + [False]


# Evaluations ----------------------------------------------------------------------------------------------------------


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


def test_actions_are_in_the_units_of_the_space() -> None:
    box = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32))
    scaled = program.in_units(np.array([[-1.0, 0.0], [1.5, 1.0]], np.float32), box)
    assert scaled.tolist() == [[-2.0, 0.5], [2.0, 1.0]]
    one_hot = np.array([[0, 0, 1], [1, 0, 0]], np.float32)
    assert program.in_units(one_hot, spaces.Discrete(3, start=5)).tolist() == [7, 5]


def test_gymnasium_gives_the_returns_that_our_own_rollout_gives() -> None:
    """Both sides of the door: the same seeds and the same actions, by Gymnasium's own environments."""
    action = np.full((2, 1), 0.25, np.float32)
    envs = [evaluator.make_gym_env("Pendulum-v1") for _ in range(2)]
    theirs = evaluator.evaluate(lambda _: program.in_units(action, envs[0].action_space), envs, [3, 4])
    ours = rollout(make_env("gymnasium:Pendulum-v1", [3, 4]), lambda _: action)
    assert theirs == pytest.approx(ours.returns.tolist(), rel=1e-5)


# The whole ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_whole_runs_with_tiny_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    systems = ["fastsac-eager", *(["sb3-td3"] if find_spec("stable_baselines3") else [])]
    path = tmp_path / "new" / "s.json"
    args = ["--envs", "Pendulum-v1", "--systems", *systems, "--seeds", "1", "--eval-episodes", "1"]
    args += ["--max-steps", "40", "--eval-every", "20"]
    report = curves_door.main([*args, "--jobs", str(min(2, num_cpus())), "--json", str(path)])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    assert report["complete"]
    assert [run["system"] for run in report["runs"]] == systems
    for run in report["runs"]:
        assert run["ended"] == "steps", run
        seconds = [e["wall_s"] for e in run["evaluations"]]
        assert [e["env_steps"] for e in run["evaluations"]] == [20, 40]
        assert 0 < seconds[0] < seconds[1] < run["process_s"] - run["evaluating_s"]
    assert report["rows"][0]["hyper"]["hidden_dims"] == [64, 64]
    assert "Pendulum-v1 to -180" in capsys.readouterr().out


def test_a_run_that_fails_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def train(*_: Any) -> None:
        raise RuntimeError("no luck")

    evaluator.work(train, json.dumps(vars(make_task())), str(tmp_path / "out.json"), "0.0")
    assert json.loads((tmp_path / "out.json").read_text())["error"] == "RuntimeError: no luck"
    assert "no luck" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("envs", ("Walker-v0",), "envs must be of Pendulum-v1, .*, got Walker-v0"),
        ("grid", ("seed=1,2",), "grid must be NAME=VALUE,VALUE,... of settings that affect learning, got 'seed=1,2'"),
        ("systems", ("cleanrl",), "systems must be of fastsac, .*, got cleanrl"),
        ("seeds", (1, 1), "seeds must be one or more different ones"),
        ("jobs", 0, "jobs must be at least 1, got 0"),
        ("max_wall_s", 0.0, "max_wall_s must be above 0"),
    ],
)
def test_settings_out_of_range(name: str, value: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        solve.Settings(**{name: value})
