"""Environments that fail in training, in evaluation and as they are made: what is told, saved and gone on with."""

import json
import math
import os
import signal
import threading
import time
from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree

from fastsac import checkpoint
from fastsac.acting.errors import BadStepError, EnvFailedError, NotFiniteError
from fastsac.cli.main import main
from fastsac.config.settings import Config
from fastsac.run.trainer import train
from tests.support.interrupted_runs import resumed
from tests.support.runs import complaints, dumps, rows, run, run_with


@pytest.mark.parametrize("key", ["nan_obs", "nan_reward", "fail"])
def test_the_state_before_an_environment_failed_is_written(tmp_path, capsys, key):
    """It is what a run has that ends there by itself."""
    long: dict[str, Any] = {"env": "tests.support.scripted_env:100c", "total_steps": 40}
    expected = checkpoint.load(run(tmp_path, "expected", **long).run_dir)[0]
    with pytest.raises((BadStepError, NotFiniteError)) as error:
        run(tmp_path, **{**long, "total_steps": 100, "env_kwargs": {key: [2, 11]}, "log_every": 1000})
    assert str(error.value).startswith("environment 2 of member 0 (seed 1) ")
    assert "at env step 40" in str(error.value)
    assert "wrote a checkpoint of the state before, at 40 steps" in capsys.readouterr().out
    found = checkpoint.load(tmp_path / "run")[0]
    for (path, a), (_, b) in zip(*map(pytree.tree_leaves_with_path, (found, expected)), strict=True):
        if path[0].key not in ("sums", "read_at", "best"):  # a run that ends has logged and evaluated
            assert torch.equal(a, b), path
    config = Config.load(tmp_path / "run").replace(resume=str(tmp_path / "run"), run_dir=None, env_kwargs={})
    assert train(config).grad_steps == 100 - 16


@pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt"])
def test_an_environment_that_would_end_the_program_has_failed(tmp_path, capsys, error):
    kwargs = {"fail": [2, 11], "error": error}
    with pytest.raises(
        EnvFailedError, match=rf"step 11 of its episode at env step 40: {error}: the simulator exploded"
    ):
        run(tmp_path, env="tests.support.scripted_env:100c", total_steps=100, env_kwargs=kwargs)
    assert "wrote a checkpoint of the state before, at 40 steps" in capsys.readouterr().out
    assert checkpoint.load_meta(tmp_path / "run")["env_steps"] == [40]


def test_an_environment_that_fails_in_its_reset_or_as_it_is_made(tmp_path):
    kwargs = {"error": "SystemExit"}
    expected = r"environment 1 of member 0 \(seed 1\) failed in reset at env step 0: SystemExit: the simulator exploded"
    with pytest.raises(EnvFailedError, match=expected):
        run(tmp_path, "reset", env_kwargs={**kwargs, "fail": [1, 0]})
    with pytest.raises(ValueError, match="the environments cannot be made: SystemExit: the simulator exploded"):
        run(tmp_path, "make", env_kwargs={**kwargs, "fail": [1, -1]})
    assert not (tmp_path / "make").exists()


TINY = [
    "train", "--env", "tests.support.scripted_env:5c", "--preset", "none", "--num-envs", "2", "--total-steps", "40",
    "--learning-starts", "16", "--batch-size", "8", "--buffer-size", "100", "--hidden-dims", "8", "--device", "cpu",
    "--no-tensorboard", "--eval-every", "0", "--eval-episodes", "2", "--run-dir", "run",
]  # fmt: skip


@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit", "KeyboardInterrupt", "LinAlgError"])
def test_a_dead_environment_is_one_line_and_status_1(tmp_path, capsys, monkeypatch, error):
    monkeypatch.chdir(tmp_path)
    assert main([*TINY, "--env-kwargs", json.dumps({"fail": [1, 9], "error": error})]) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    # Vector step 9: five steps of the first episode, a dummy, and the third step of the next one.
    assert "environment 1 of member 0 (seed 1) failed in step 3 of its episode at env step 14: " in line
    assert f": {error}: " in line
    assert "scripted_env.py, line " in line
    assert line.endswith("Checkpoints written so far are kept. See run/error.txt.\n")
    text = (tmp_path / "run" / "error.txt").read_text()
    assert "The above exception was the direct cause of the following exception" in text
    assert 'scripted_env.py", line ' in text
    assert error != "LinAlgError" or "_linalg.py" in text


@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit", "KeyboardInterrupt"])
def test_an_environment_that_dies_in_an_evaluation(tmp_path, error):
    expected = r"environment 1 of member 0 .* failed in step 9 of its episode in an evaluation at env step 20: " + error
    with pytest.raises(BadStepError, match=expected):
        run(tmp_path, env="tests.support.scripted_env:100c", eval_every=20, env_kwargs={"fail": [1, 9], "error": error})
    assert checkpoint.load_meta(tmp_path / "run")["env_steps"] == [20]


def test_an_environment_that_cannot_be_made_for_an_evaluation(tmp_path):
    kwargs = {"fail": [1, -1], "error": "SystemExit"}
    expected = r"the environments failed in make in an evaluation at env step 21: SystemExit: the simulator exploded"
    with pytest.raises(EnvFailedError, match=expected):
        run(tmp_path, eval_every=20, eval_env_kwargs=kwargs)
    assert checkpoint.load_meta(tmp_path / "run")["env_steps"] == [21]


@pytest.mark.parametrize(("key", "word"), [("nan_obs", "an observation"), ("nan_reward", "a reward")])
def test_what_is_not_finite_in_an_evaluation_ends_the_run_as_in_training(tmp_path, key, word):
    settings: dict[str, Any] = {"env": "tests.support.scripted_env:9c", "eval_every": 20, "seeds": 2}
    expected = rf"^environment 1 of member 1 \(seed 2\) returned {word} that is not finite in step 3 of its episode "
    with pytest.raises(NotFiniteError, match=expected + "in an evaluation at env step 20") as error:
        run(tmp_path, **settings, eval_env_kwargs={key: [4, 3]})
    assert "\n" not in str(error.value)
    assert checkpoint.load_meta(tmp_path / "run")["env_steps"] == [20, 20]
    assert rows(tmp_path / "run" / "eval.csv") == []
    config = resumed(tmp_path / "run", eval_env_kwargs={})
    clean = run(tmp_path, "clean", **settings)
    assert train(config).eval_return_mean == clean.eval_return_mean  # the evaluation that was due is made up for
    assert [row["env_steps"] for row in rows(tmp_path / "run" / "eval.csv")][:2] == ["20", "20"]


def test_a_policy_that_is_not_finite_is_blamed_before_the_environments_of_an_evaluation(tmp_path):
    def spoil(training):
        training.learner.policy.params.fill_(math.nan)

    with pytest.raises(NotFiniteError, match=r"^params.actor of member 0 \(seed 1\) was not finite at gradient step 0"):
        run_with(tmp_path, spoil, eval_every=4)
    assert len(dumps(tmp_path / "run")) == 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"nan_reward": [1, 3]}, "environment 1 returned a reward that is not finite in step 3 of its episode."),
        ({"nan_obs": [1, 0]}, "environment 1 returned an observation that is not finite in reset."),
        ({"fail": [1, 3]}, "environment 1 failed in step 3 of its episode: RuntimeError: the simulator exploded ("),
        ({"fail": [1, 3], "error": "SystemExit"}, "environment 1 failed in step 3 of its episode: SystemExit: the s"),
        ({"fail": [0, 0], "error": "KeyboardInterrupt"}, "environment 0 failed in reset: KeyboardInterrupt: the sim"),
    ],
)
def test_eval_tells_of_an_environment_in_one_line(tmp_path, capsys, wrong, told):
    folder = run(tmp_path, env="tests.support.scripted_env:9c").run_dir
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "eval_env_kwargs": wrong}))
    capsys.readouterr()
    assert main(["eval", str(folder), "--episodes", "2"]) == 1
    out, err = capsys.readouterr()
    err = complaints(err)
    assert err.startswith(f"fastsac eval: {told}")
    assert (err.count("\n"), out) == (1, "")


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_eval_and_is_no_failure_of_an_environment(tmp_path, capsys, signum, status):
    folder = run(tmp_path).run_dir
    config, touched = json.loads((folder / "config.json").read_text()), tmp_path / "touched"
    config["eval_env_kwargs"] = {"sleep": [2, 20, str(touched)]}
    (folder / "config.json").write_text(json.dumps(config))

    def send():
        while not touched.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signum)

    threading.Thread(target=send, daemon=True).start()
    assert main(["eval", str(folder)]) == status
    assert f"{signum.name}: stopped at once" in capsys.readouterr().err
