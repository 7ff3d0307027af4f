"""Training and evaluating from Python as users do: names, objects, other processes, wrong calls, the documents."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import gymnasium
import numpy as np
import pytest

import fastsac
from fastsac.cli.main import main
from fastsac.config.fields import docs_of
from tests.support import user_script
from tests.support.forked import command
from tests.support.python_envs import Endless, pendulum, scripted, vector
from tests.support.runs import rows

TINY: dict[str, Any] = {
    "total_steps": 60, "learning_starts": 16, "batch_size": 8, "buffer_size": 400, "hidden_dims": (8,), "log_every": 20,
    "eval_every": 0, "eval_episodes": 2, "checkpoint_every": 0, "device": "cpu", "compile": "off", "tensorboard": False,
}  # fmt: skip


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_settings_beside_a_name_are_those_of_config():
    result = fastsac.train("Pendulum-v1", **TINY, run_dir="run", seed=3)
    expected = fastsac.Config(env="Pendulum-v1", **TINY, run_dir="run", seed=3, algo="sac")
    assert fastsac.Config.load("run") == expected
    assert expected.num_envs == 4, "of the preset"
    assert result == fastsac.train(expected, resume="auto")


def test_the_preset_fastest_is_that_of_the_device_and_is_said(capsys):
    fastsac.train("Pendulum-v1", **TINY, preset="fastest", run_dir="run")
    assert "preset fastest is pendulum here: -180 in 10.1 s" in capsys.readouterr().out
    assert fastsac.Config.load("run").preset == "pendulum"


def test_an_object_trains_evaluates_and_goes_on(capsys):
    result = fastsac.train(Endless, **TINY, num_envs=2, max_episode_steps=5, env_kwargs={"pay": 2.0}, run_dir="run")
    out = capsys.readouterr().out
    assert "python:Endless exists in this process alone (it was made in this script)" in out
    assert "max_episode_steps 5" in out
    policy = fastsac.load("run")
    evaluation = fastsac.evaluate(policy, episodes=3)
    assert evaluation.lengths.tolist() == [5, 5, 5]
    assert set(evaluation.returns) <= {0, 2, 4, 6, 8, 10}
    assert fastsac.evaluate(policy, Endless, 3, env_kwargs={"max_episode_steps": 2}).lengths.tolist() == [2, 2, 2]
    another = fastsac.evaluate(policy, lambda pay=1.0: Endless(pay), 3)
    assert re.fullmatch(r"python:\d+:Endless", another.env_id)
    assert another.lengths.tolist() == [5, 5, 5], "the run's time limit holds in a new object of its kind too"
    again = fastsac.train(Endless, resume=result.run_dir, total_steps=80)
    assert (again.env_steps, again.run_dir) == (80, result.run_dir)
    assert fastsac.train(resume="run", total_steps=90).env_steps == 90


def test_other_objects_train_too(capsys):
    assert fastsac.train(scripted, **TINY, num_envs=2, run_dir="own").env_steps >= 60
    result = fastsac.train(vector(3), **TINY)
    assert fastsac.Config.load(result.run_dir).num_envs == 3
    assert fastsac.Config.load(fastsac.train(vector(3), **TINY, num_envs=2).run_dir).num_envs == 2
    env = gymnasium.make("Pendulum-v1")
    result = fastsac.train(env, **TINY, run_dir="one", resume="auto")
    assert fastsac.Config.load("one").preset == "pendulum"
    assert fastsac.train(pendulum, **TINY, run_dir="one", resume="auto") == result, "there is nothing left to do"
    assert not capsys.readouterr().err


def test_another_process_says_what_to_do(tmp_path, capsys):
    fastsac.train(Endless, **TINY, max_episode_steps=5, run_dir="run")
    for args in (["eval", "run"], ["train", "--resume", "run", "--total-steps", "90"]):
        process = command(tmp_path / "printed", *args)
        err = process.communicate(timeout=120)[1]
        assert process.returncode == 2
        assert re.fullmatch(
            r"fastsac \w+: python:Endless was made in a Python script, and exists only there\. In that script, .*\n",
            err,
        )


def test_an_id_that_only_this_process_has_is_named_as_such(capsys):
    gymnasium.register("Registered-v0", cast("Any", Endless), max_episode_steps=6)
    fastsac.train("gymnasium:Registered-v0", **TINY, run_dir="run")
    out = capsys.readouterr().out
    assert "gymnasium:Registered-v0 exists in this process alone (its id was registered in this process" in out
    fastsac.train("gymnasium:Pendulum-v1", **TINY, run_dir="other")
    assert "in this process alone" not in capsys.readouterr().out


def test_a_task_without_a_time_limit_is_told_and_its_cut_episodes_are_counted(capsys, monkeypatch):
    monkeypatch.setattr("fastsac.acting.evaluation.MAX_STEPS", 30)
    result = fastsac.train(Endless, **TINY, num_envs=2, seeds=2, run_dir="run")
    out = capsys.readouterr().out
    assert "python:Endless tells no time limit: episodes end only when the task ends them" in out
    assert "episodes cut off   4 of 4" in out
    assert [row["episodes_cut"] for row in rows(result.run_dir / "eval.csv")] == ["2", "2"]
    assert [member["eval_episodes_cut"] for member in result.members] == [2, 2]
    evaluation = fastsac.evaluate("run", episodes=1)
    assert evaluation.cut.all()
    assert repr(evaluation).endswith(", 1 cut off after 10,000 steps")


@pytest.mark.parametrize("env", ["Pendulum-v1", "gymnasium:Pendulum-v1"])
def test_the_time_limit_holds_in_training_and_in_evaluation(env):
    result = fastsac.train(env, **TINY, max_episode_steps=7, run_dir="run")
    lengths = [row["episode_length"] for row in rows(result.run_dir / "metrics.csv")]
    assert set(lengths) - {"nan"} == {"7.0"}
    assert fastsac.evaluate("run").lengths.tolist() == [7] * 10


def test_evaluations_are_those_of_the_command(capsys):
    fastsac.train("Pendulum-v1", **TINY, run_dir="run")
    capsys.readouterr()
    assert main(["eval", "run", "--episodes", "3", "--seed", "4"]) == 0
    evaluation = fastsac.evaluate("run", episodes=3, seed=4)
    assert capsys.readouterr().out == f"{evaluation}\n"
    assert (evaluation.mean, evaluation.std) == (evaluation.returns.mean(), evaluation.returns.std())
    sampled = [fastsac.evaluate("run", episodes=3, seed=4, deterministic=False).returns for _ in range(2)]
    assert np.array_equal(sampled[0], sampled[1])
    assert not np.array_equal(sampled[0], evaluation.returns)
    other = fastsac.evaluate("run", lambda: gymnasium.make("Pendulum-v1"), episodes=3)
    assert other.env_id.startswith("python:")


def test_wrong_calls_are_refused_in_one_line():
    fastsac.train("Pendulum-v1", **TINY, run_dir="run")
    three: Any = 3
    own: Any = Endless
    for call, message in (
        (lambda: fastsac.train(), 'env must be given, for example fastsac.train("Pendulum-v1").'),
        (lambda: fastsac.train(three), "env must be a name, a Gymnasium environment or a callable, got int."),
        (lambda: fastsac.train("Pendulum-v1", **{"sed": three}), "'sed' is no setting; did you mean seed?"),
        (
            lambda: fastsac.train("Pendulum-v1", **{"learning_rate": three}),
            "'learning_rate' is three settings here: actor_lr",
        ),
        (lambda: fastsac.train("Pendulum-v1", max_episode_steps=0), "max_episode_steps must be at least 1, got 0."),
        (lambda: fastsac.train("Maze-v0", max_episode_steps=9), "max_episode_steps has no effect on envpool:Maze-v0"),
        (lambda: fastsac.train(resume="nowhere"), "cannot read nowhere"),
        (lambda: fastsac.Config(env=own), "env must be a name, which fastsac.register_env(env) gives"),
        (lambda: fastsac.evaluate("nowhere"), "nowhere is not a run directory"),
        (lambda: fastsac.evaluate("run", episodes=0), "episodes must be at least 1, got 0."),
        (lambda: fastsac.evaluate("run", episodes=cast("Any", 2.5)), "episodes must be a whole number, got 2.5."),
        (lambda: fastsac.evaluate("run", seed=cast("Any", "3")), "seed must be a whole number, got '3'."),
        (lambda: fastsac.evaluate("run", seed=-1), "seed must be in [0, 2^31), got -1."),
        (
            lambda: fastsac.evaluate("run", "CartPole-v1"),
            "does not fit the policy, which was trained in envpool:",
        ),
    ):
        with pytest.raises(ValueError, match=re.escape(message)) as error:
            call()
        assert "\n" not in str(error.value)
    assert [path.name for path in Path.cwd().iterdir()] == ["run"]


def test_a_run_directory_imports_no_module_that_came_with_it(monkeypatch):
    fastsac.train("tests.support.scripted_env:3t", **TINY, num_envs=2, run_dir="run")
    config = Path("run/config.json")
    config.write_text(config.read_text().replace("tests.support.scripted_env:3t", "theirs.module:3t"))
    monkeypatch.chdir("run")
    Path("theirs").mkdir()
    Path("theirs/module.py").write_text("from tests.support.scripted_env import *\n")
    for call in (lambda: fastsac.evaluate("."), lambda: fastsac.train(resume=".", total_steps=90)):
        with pytest.raises(ValueError, match=r"env must not name a module that lies beside .*environment's name in"):
            call()
    assert len(fastsac.evaluate(".", "theirs.module:3t").returns) == 10


def test_public_names_are_shown_without_importing_torch():
    assert set(dir(fastsac)) == {*fastsac.__all__, "__version__"}
    code = "import sys, fastsac; print(dir(fastsac)); assert 'torch' not in sys.modules"
    assert "'register_env'" in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    code = "import fastsac; help(fastsac)"
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120).stdout
    assert all(re.search(rf"^ +(class )?{name}\b", text, re.MULTILINE) for name in fastsac.__all__)
    assert all(f"{name}: " in text for name in docs_of(fastsac.Config))


def test_a_typed_script_runs(tmp_path):
    """`make check` holds it to mypy --strict."""
    evaluations = user_script.main(tmp_path)
    assert [len(evaluation.returns) for evaluation in evaluations] == [2, 2, 2]
