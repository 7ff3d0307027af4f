"""Runs that end before their time: signals to real processes, limits on time, and the clocks behind them."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from fastsac import checkpoint
from fastsac.cli.main import main
from fastsac.config.durations import parse_duration
from fastsac.run.trainer import train
from fastsac.runtime.signals import Deadline, Stopped, StopSignals, exit_status
from tests.support.runs import BASE, TINY, num_rows, run, wait_for

HANGING = """
import sys
import time
from pathlib import Path
from fastsac.checkpoint.writer import Writer
from fastsac.cli.main import main

def hang(*_):
    Path(sys.argv[1]).touch()
    time.sleep(60)

Writer.write = hang
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 143)])
def test_a_signal_leaves_a_checkpoint_and_its_status(start, tmp_path, name, status):
    folder = tmp_path / "run"
    process = start(folder)
    wait_for(process, lambda: num_rows(folder / "metrics.csv") > 1)
    began = time.monotonic()
    process.send_signal(getattr(signal, name))
    process.send_signal(getattr(signal, name))  # torchrun and terminals send it twice: it counts once
    out, err = process.communicate(timeout=10)
    assert time.monotonic() - began < 10
    assert process.returncode == status, (out, err)
    assert f"{name}: writing a checkpoint" in out
    assert f"--resume {folder}" in out
    assert not err
    meta = checkpoint.load(folder)[1]
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["interrupted"], summary["stopped_by"]) == (True, name)
    assert summary["env_steps"] == meta["env_steps"][0] > 16


@pytest.mark.parametrize(
    ("env", "num_envs", "name", "status"),
    [
        ("Pendulum-v1", 1, "SIGTERM", 143), ("Pendulum-v1", 64, "SIGINT", 130),
        ("HalfCheetah-v5", 64, "SIGTERM", 143), ("gymnasium:Pendulum-v1", 8, "SIGINT", 130),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_real_environments_are_left_in_time_and_gone_on_with(start, tmp_path, env, num_envs, name, status):
    folder = tmp_path / "run"
    args = ("--num-envs", str(num_envs), "--buffer-size", "10000", "--checkpoint-every", "1000", "--utd-ratio", "0.5")
    process = start(folder, *args, env=env)
    wait_for(process, lambda: num_rows(folder / "metrics.csv") > 1)
    time.sleep(random.Random(f"{env}{num_envs}").random())  # in the middle of whatever it is doing
    began = time.monotonic()
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 10
    assert (process.returncode, err) == (status, ""), out
    reached = checkpoint.load(folder)[1]["env_steps"][0]
    assert reached == json.loads((folder / "summary.json").read_text())["env_steps"]
    assert main(["train", "--resume", str(folder), "--total-steps", str(reached + 200)]) == 0
    assert checkpoint.load(folder)[1]["env_steps"][0] >= reached + 200


@pytest.mark.slow
def test_a_second_signal_ends_at_once_and_the_checkpoint_before_stays(start, tmp_path):
    folder, asleep = tmp_path / "run", tmp_path / "asleep"
    kwargs = json.dumps({"sleep": [40, 100, str(asleep)]})
    process = start(folder, "--checkpoint-every", "100", "--env-kwargs", kwargs)
    wait_for(process, lambda: asleep.exists() and checkpoint.checkpoint_dirs(folder))  # in the middle of a vector step
    process.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.7)
    began = time.monotonic()
    process.terminate()
    out, err = process.communicate(timeout=10)
    assert time.monotonic() - began < 10
    assert process.returncode == 143, (out, err)
    assert err == "fastsac train: SIGTERM: stopped at once; files written before are kept.\n"
    assert checkpoint.load(folder)[1]["env_steps"] == [100]
    assert not (folder / "summary.json").exists()


def test_a_second_signal_does_not_wait_for_a_disk_that_hangs(tmp_path):
    script = tmp_path / "hang.py"
    script.write_text(HANGING)
    folder, hangs = tmp_path / "run", tmp_path / "hangs"
    args = ["train", "--env", "tests.support.scripted_env:5c", "--run-dir", str(folder), *TINY]
    command = [sys.executable, str(script), str(hangs), *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for(process, lambda: num_rows(folder / "metrics.csv") > 1)
            process.terminate()
            wait_for(process, hangs.exists)
            time.sleep(0.7)  # what comes sooner is the same signal
            began = time.monotonic()
            process.terminate()
            out, err = process.communicate(timeout=20)
            assert time.monotonic() - began < 5
            assert process.returncode == 143, (out, err)
            assert err == "fastsac train: SIGTERM: stopped at once; files written before are kept.\n"
        finally:
            process.kill()


def test_a_signal_does_not_wait_for_an_evaluation(start, tmp_path):
    folder = tmp_path / "run"
    args = ("--eval-every", "60", "--num-envs", "10", "--buffer-size", "2000")
    process = start(folder, *args, env="tests.support.scripted_env:9999999c")
    wait_for(process, lambda: num_rows(folder / "metrics.csv") == 1)
    time.sleep(1)
    process.terminate()
    out, err = process.communicate(timeout=10)
    assert process.returncode == 143, (out, err)
    meta = checkpoint.load(folder)[1]
    assert meta["evaluation_due"] is True
    assert meta["env_steps"] == [60]
    assert num_rows(folder / "eval.csv") == 0


def test_a_run_stops_before_its_time_is_up(tmp_path, capsys, monkeypatch):
    began = time.monotonic()
    args = ["--env", "tests.support.scripted_env:5c", "--run-dir", f"{tmp_path}/run", *TINY, "--max-wall-time", "3s"]
    assert main(["train", *args]) == 75
    assert time.monotonic() - began < 3
    assert "max_wall_time: writing a checkpoint" in capsys.readouterr().out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["interrupted"], summary["stopped_by"]) == (True, "max_wall_time")
    assert checkpoint.load(tmp_path / "run")[1]["env_steps"][0] > 16


def test_no_time_at_all_still_leaves_a_checkpoint(tmp_path):
    result = run(tmp_path, max_wall_time="1s")
    assert (result.stopped_by, result.env_steps) == ("max_wall_time", 0)
    assert checkpoint.load(result.run_dir)[1]["env_steps"] == [0]


def test_a_run_that_is_not_stopped_says_so(tmp_path):
    result = run(tmp_path, max_wall_time="2d")
    assert (result.stopped_by, result.interrupted) == ("total_steps", False)
    goal = run(tmp_path, "goal", total_steps=1000, buffer_size=1000, eval_every=40, stop_at_return=-1e9)
    assert (goal.stopped_by, goal.interrupted) == ("goal", False)


def test_a_run_that_has_reached_its_goal_goes_on_with_another_one_or_none(tmp_path):
    goal: dict[str, Any] = {"total_steps": 1000, "buffer_size": 1000, "eval_every": 40, "stop_at_return": -1e9}
    first = run(tmp_path, **goal)
    again = {**goal, "resume": str(first.run_dir), "run_dir": None}
    with pytest.raises(
        ValueError, match=r"has reached its goal\. Give --stop-at-return none, or another goal, to go on"
    ):
        train(BASE.replace(**{**again, "total_steps": 2000}))
    higher = train(BASE.replace(**{**again, "stop_at_return": -1e8}))
    assert (higher.stopped_by, higher.env_steps > first.env_steps) == ("goal", True)
    without = train(BASE.replace(**{**again, "stop_at_return": None, "total_steps": 120}))
    assert (without.stopped_by, without.env_steps >= 120) == ("total_steps", True)


def test_signals_are_put_back_and_raise_until_armed():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals(clock=lambda: now) as signals:
        now = 0.0
        with pytest.raises(Stopped, match="SIGTERM"):
            os.kill(os.getpid(), signal.SIGTERM)
        signals.armed = True
        os.kill(os.getpid(), signal.SIGUSR1)
        now = 0.1
        os.kill(os.getpid(), signal.SIGTERM)  # the same one, passed on
        assert signals.received == "SIGUSR1"
        now = 2.0
        with pytest.raises(KeyboardInterrupt, match="SIGINT"):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == before
    assert [exit_status(name) for name in ("SIGINT", "SIGTERM", "SIGUSR1")] == [130, 143, 143]


def test_a_deadline_leaves_time_for_checkpoints_as_long_as_they_take():
    now = 100.0
    deadline = Deadline("100s", lambda: now)
    assert not Deadline(None, lambda: now).is_near(lambda: 1e18, 1e9)
    assert not deadline.is_near(lambda: 1e9, 0.0)  # 1 + 2 * 5 s
    now = 190.0
    assert deadline.is_near(lambda: 1e9, 0.0)
    assert not deadline.is_near(lambda: 0, 0.0)
    assert deadline.is_near(lambda: 0, 5.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("30m", 1800), ("3h55m", 14100), ("2d", 172800), ("1d2h3m4s", 93784), ("03:55:00", 14100),
        ("100:00:01", 360001), ("1-12:00:00", 129600),
    ],
)  # fmt: skip
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "90", "3h 55m", "1:30", "-5m", "5m3h", "1.5h", "00:61:00", "00:00:00"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="must be a time above 0 such as 90s, 30m"):
        parse_duration(text)
