"""Checkpoints written beside training: nothing of the run's future gets in, failures are told, kills lose little."""

import json
import os
import threading

import pytest
import torch

from fastsac import checkpoint
from fastsac.checkpoint import thread
from fastsac.checkpoint.thread import CheckpointError, CheckpointThread
from fastsac.checkpoint.writer import Rows, Writer
from fastsac.cli.main import main
from fastsac.run.trainer import train
from tests.support import killed_run
from tests.support.checkpoints import META, STATE, rows_of
from tests.support.forked import Forked
from tests.support.interrupted_runs import EXACT, assert_same_run
from tests.support.runs import BASE

KILLS = int(os.environ.get("FASTSAC_KILLS", "8"))
CPU = torch.device("cpu")


def no_sync():
    pass


@pytest.fixture
def held(tmp_path, monkeypatch):
    """A background writer that waits to be let go."""
    writer, go = Writer(tmp_path), threading.Event()
    write = writer.write

    def write_later(*args):
        assert go.wait(30)
        return write(*args)

    monkeypatch.setattr(writer, "write", write_later)
    held = CheckpointThread(writer, no_sync, CPU)
    yield held, go
    go.set()
    held.close()


@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_a_checkpoint_holds_what_was_when_it_was_asked_for(tmp_path, held, monkeypatch, limit):
    monkeypatch.setattr(thread, "CLONE", limit)
    waiting, go = held
    ring, value = torch.zeros(1, 8, 1), torch.zeros(3)
    rows = Rows((0, 8), 4, lambda a, b: {"rows.reward": ring[:, a:b].clone()})
    if limit == 0:
        go.set()  # it waits for the thread, since it does not copy
    waiting.submit(1, {"state": {"a": value}, "replay": {"added": torch.tensor(7)}}, META, rows)
    assert bool(checkpoint.checkpoint_dirs(tmp_path)) == (limit == 0)
    ring.fill_(1)
    value.fill_(1)
    go.set()
    waiting.wait()
    state = checkpoint.load(tmp_path)[0]
    assert state["replay"]["rows.reward"].sum() == state["state"]["a"].sum() == 0


def test_the_next_checkpoint_waits_for_the_one_before(tmp_path, held):
    waiting, go = held
    waiting.submit(1, STATE, META, rows_of(0, 9))
    waiting.check()  # does not wait
    timer = threading.Timer(0.2, go.set)
    timer.start()
    waiting.submit(2, STATE, META, rows_of(0, 12))
    assert go.is_set()
    assert len(checkpoint.checkpoint_dirs(tmp_path)) >= 1
    waiting.wait()
    assert checkpoint.load(tmp_path)[0]["replay"]["rows.reward"].flatten().tolist() == list(range(12))


def test_it_knows_how_long_writing_takes(tmp_path, held):
    waiting, go = held
    assert (waiting.longest_s, waiting.written) == (0.0, 0)
    waiting.submit(1, STATE, META, rows_of(0, 9))
    threading.Timer(0.2, go.set).start()
    waiting.wait()
    assert 0.2 <= waiting.longest_s < 20
    assert waiting.written == 1
    assert 0 < waiting.thread_cpu_s < waiting.longest_s


def test_a_failed_checkpoint_is_due_again_after_a_minute(tmp_path, monkeypatch):
    now = 0.0

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Writer, "write", fail)
    broken = CheckpointThread(Writer(tmp_path), no_sync, CPU, clock=lambda: now)
    assert not broken.should_retry()
    broken.submit(1, STATE, META, None)
    with pytest.raises(CheckpointError):
        broken.wait()
    assert not broken.should_retry()
    now = 61.0
    assert broken.should_retry()
    monkeypatch.undo()
    broken.submit(2, STATE, META, None)
    assert not broken.should_retry()  # also while it is being written, however long that takes
    broken.wait()
    assert not broken.should_retry()


def test_what_goes_wrong_in_the_thread_is_told(tmp_path, caplog, capsys, monkeypatch):
    def write(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Writer, "write", write)
    broken = CheckpointThread(Writer(tmp_path), no_sync, CPU)
    broken.submit(1, STATE, META, None)
    with pytest.raises(CheckpointError, match=r"could not be written \(OSError: .*No space left"):
        broken.wait()
    broken.submit(1, STATE, META, None)
    broken.close()
    assert "No space left" in caplog.text
    args = ["--env", BASE.env, "--run-dir", str(tmp_path / "run"), "--total-steps", "400", "--checkpoint-every", "40"]
    sizes = [
        "--learning-starts",
        "16",
        "--batch-size",
        "8",
        "--hidden-dims",
        "8",
        "--compile",
        "off",
        "--log-every",
        "20",
    ]
    assert main(["train", *args, *sizes, "--preset", "none", "--no-tensorboard"]) == 1
    error = capsys.readouterr().err
    assert "No space left" in error
    assert len(error.splitlines()) == 1


def test_a_run_that_never_copies_gives_the_same(tmp_path, monkeypatch):
    results = []
    for limit in (0, 1 << 20):
        monkeypatch.setattr(thread, "CLONE", limit)
        results.append(train(EXACT.replace(run_dir=str(tmp_path / f"{limit}"), checkpoint_every=20)).run_dir)
    assert_same_run(*results)


@pytest.mark.slow
def test_kills_at_random_moments_lose_little(tmp_path):
    """FASTSAC_KILLS=100 for more of them."""
    process = Forked(tmp_path / "printed", killed_run.main, tmp_path / "run", KILLS, 1)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    told = json.loads(out)
    print(told)
    assert told["alive"] == KILLS  # each life ended by the kill, not by itself
    assert told["passed_over"] == 0
    assert told["saved"] == sorted(told["saved"])
    # An interval, and what went on while a checkpoint was being written: another at most, since the next one waits.
    assert max(told["lost"]) <= 2 * 40
