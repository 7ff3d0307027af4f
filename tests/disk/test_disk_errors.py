"""Disks that are full: the run goes on; the memory that is asked for; folders that cannot be written to."""

import errno
import json
import re
import resource
import sys
from pathlib import Path

import pytest
import torch
from torch.utils import _pytree as pytree

from fastsac import checkpoint
from fastsac.acting.collector import Collector
from fastsac.checkpoint import thread
from fastsac.checkpoint.thread import CheckpointThread
from fastsac.checkpoint.writer import Writer
from fastsac.cli.main import main
from fastsac.config.settings import Config
from fastsac.disk.errors import DiskErrorTolerance, disk_error
from fastsac.env import make_env
from fastsac.learning.learner import make_parts
from fastsac.report import loggers
from fastsac.report.csv_sink import CsvSink
from fastsac.run.memory import member_bytes
from fastsac.run.nan_guard import NanGuard
from fastsac.run.run_dir import RunDir
from fastsac.run.trainer import train
from fastsac.runtime import device
from tests.support.forked import Forked
from tests.support.runs import BASE, TINY, file_size_limit, rows, run, run_with

FULL = OSError(errno.ENOSPC, "No space left on device")


# TensorBoard's thread raises what it met.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("tensorboard", [False, True])
def test_a_run_outlives_a_full_disk(tmp_path, capsys, monkeypatch, tensorboard):
    monkeypatch.setattr(loggers, "REOPEN_AFTER_S", 0.0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    during = []

    def hook(training):
        env_steps = training.collector.env_steps[0]
        if env_steps < 100:  # the checkpoint at 90 is whole before the disk is full
            training.checkpointer.thread.wait()
        full = 100 <= env_steps < 300
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]) if full else before)
        if 280 <= env_steps < 300:
            thread = training.checkpointer.thread
            thread.close()  # waits for it; comes to nothing
            training.checkpointer.thread = CheckpointThread(thread._writer, thread._sync, training.plan.device)
            during.append([p.name for p in (tmp_path / "run" / "checkpoints").glob("*step_*")])

    try:
        settings = {"total_steps": 400, "buffer_size": 1000, "checkpoint_every": 90, "tensorboard": tensorboard}
        result = run_with(tmp_path, hook, **settings, log_every=20, eval_every=60)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result.env_steps >= 400
    assert during
    assert all(len(names) == 1 and int(names[0][-3:]) < 100 for names in during)  # the old one, and no half ones
    said = [line for line in capsys.readouterr().out.splitlines() if "could not be written" in line]
    rest = "could not be written (File too large): the run goes on and tries again."
    assert len(said) == len(set(said)) > 0  # of each once a minute
    assert set(said) <= {f"{what} {rest}" for what in ("a checkpoint", "metrics.csv", "eval.csv")}
    steps = [int(row["env_steps"]) // 20 * 20 for row in rows(result.run_dir / "metrics.csv")]
    assert steps == list(range(20, 401, 20))  # none is missing
    assert len(rows(result.run_dir / "eval.csv")) == 7
    assert checkpoint.load(result.run_dir)[1]["env_steps"] == [result.env_steps]
    assert not tensorboard or len(list((result.run_dir / "tensorboard").glob("events.*"))) > 1


def test_a_checkpoint_that_failed_is_tried_again_at_a_log_point(tmp_path, monkeypatch):
    monkeypatch.setattr(thread, "RETRY_S", 0.0)
    write, steps = Writer.write, []

    def fail_once(self, env_steps, *rest):
        steps.append(env_steps)
        if len(steps) == 1:
            raise FULL
        return write(self, env_steps, *rest)

    monkeypatch.setattr(Writer, "write", fail_once)
    result = run(tmp_path, total_steps=400, buffer_size=1000, checkpoint_every=300, log_every=20)
    first, again, last = steps
    assert 300 <= first < again < last == result.env_steps


def test_a_last_checkpoint_that_cannot_be_written_is_one_line_and_status_1(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [
        "train", "--env", "tests.support.scripted_env:5c", "--preset", "none", "--num-envs", "2", "--total-steps", "40",
        "--learning-starts", "16", "--batch-size", "8", "--buffer-size", "100", "--hidden-dims", "8", "--device", "cpu",
        "--no-tensorboard", "--eval-every", "0", "--run-dir", "run",
    ]  # fmt: skip
    with file_size_limit(1500):
        assert main(command) == 1
    err = capsys.readouterr().err
    assert err.startswith("fastsac train: cannot write to run: File too large. Make room and start again.")
    assert "are kept" not in err
    assert err.count("\n") == 1


def test_rows_are_written_whole_or_later(tmp_path):
    path = tmp_path / "a.csv"
    sink = CsvSink(path, ("name", "value"))
    sink.write({"name": "x", "value": 1})
    with file_size_limit(path.stat().st_size + 3):
        for value in (2, 3):
            with pytest.raises(OSError, match="File too large"):
                sink.write({"name": "x", "value": value})
        assert path.read_text() == "name,value\nx,1\n"
    sink.write({"name": "x", "value": 4})
    assert path.read_text() == "name,value\nx,1\nx,2\nx,3\nx,4\n"
    sink.close()


def test_disk_errors_are_reported_once_a_minute_and_others_raised():
    said: list[str] = []
    times = [0.0, 1.0, 59.0, 60.5, 100.0]
    tolerance = DiskErrorTolerance(said.append, iter([*times, 200.0]).__next__)

    def fail(error):
        with tolerance.allow("a checkpoint"):
            raise error

    for _ in times:
        fail(FULL)
    assert len(said) == 2
    assert said[0] == "a checkpoint could not be written (No space left on device): the run goes on and tries again."
    with pytest.raises(RuntimeError, match="something else"):
        fail(RuntimeError("something else"))
    assert disk_error(BrokenPipeError()) is None
    wrapped = RuntimeError("unexpected pos")  # what torch.save makes of it
    wrapped.__context__ = FULL
    assert disk_error(wrapped) is FULL


def test_a_folder_that_allows_nothing_is_refused_whoever_asks(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"run_dir /proc/run cannot be written to: /proc does not allow it \("):
        RunDir(Path("/proc/run")).acquire()
    place = RunDir(tmp_path / "new" / "folder")
    place.acquire()
    place.release()
    assert list(tmp_path.iterdir()) == []
    folder = run(tmp_path).run_dir

    def read_only(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    for resume, run_dir in ((str(folder), None), ("auto", str(folder)), (None, str(folder / "new"))):
        with pytest.raises(ValueError, match=r"does not allow it \(Read-only file system\)"):
            train(BASE.replace(resume=resume, run_dir=run_dir, total_steps=120))


VECTOR, IMAGES = "tests.support.scripted_env:9t", "tests.support.image_env:Side"
ENV_KWARGS = {VECTOR: {"action_dim": 14}, IMAGES: {}}  # 17 numbers as observations
CONFIG = Config(env="test:test", buffer_size=20_000, num_envs=16)


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        (VECTOR, {}),
        (VECTOR, {"seeds": 3, "num_critics": 5, "obs_norm": True}),
        (VECTOR, {"algo": "sql", "hidden_dims": (64, 64)}),
        (VECTOR, {"algo": "sac-v1"}),
        (VECTOR, {"buffer_size": 1_000, "on_nan": "rollback"}),
        (IMAGES, {"algo": "sac-discrete", "buffer_size": 2_000}),
    ],
    ids=["sac", "members", "sql", "sac-v1", "rollback", "images"],
)
def test_the_estimate_of_memory_is_near_the_truth(tmp_path, task, changes):
    config, cpu = CONFIG.replace(**{"algo": "sac", **changes}), torch.device("cpu")
    env = make_env(task, range(config.num_members * config.num_envs), env_kwargs=ENV_KWARGS[task])
    parts = make_parts(config, env.spec, cpu, "eager")
    collector = Collector(config, env, *parts)
    guard = NanGuard(parts, collector, tmp_path, print)
    guard.hold()
    owned = [
        parts.learner.buffers, parts.normalizers(), parts.replay.rows, parts.replay.row_count, collector.actor.slots,
        guard._held or [],
    ]  # fmt: skip
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in pytree.tree_leaves(owned)}
    truth = sum(storages.values())
    estimate = config.num_members * sum(member_bytes(config, env.spec, fuse_for_gpu=False))
    assert estimate == pytest.approx(truth, rel=0.1), json.dumps({"estimate": estimate, "truth": truth})


def train_within(kind, counter, left, args):
    """In a process of its own, which may have so many bytes more than it has."""
    used = device.proc_bytes("/proc/self/status", counter)
    resource.setrlimit(getattr(resource, kind), (used + left, used + left))
    sys.exit(main(["train", *args]))


SPACE = ("RLIMIT_AS", "VmSize", "address space (ulimit -v)")
DATA = ("RLIMIT_DATA", "VmData", "data (ulimit -d)")


@pytest.mark.parametrize(
    ("limit", "left", "buffer_size", "outcome"),
    [
        (SPACE, 3 << 29, 50_000_000, "Give --buffer-size"),
        (DATA, 3 << 29, 50_000_000, "Give --buffer-size"),
        (SPACE, 3 << 29, 1_000, "ok"),
        (SPACE, 1 << 28, 1_000, "No replay that is large enough fits"),
    ],
)
@pytest.mark.slow
def test_limits_of_the_process_count(tmp_path, limit, left, buffer_size, outcome):
    kind, counter, name = limit
    args = [*TINY, "--env", "tests.support.scripted_env:5c", "--total-steps", "60", "--buffer-size", str(buffer_size)]
    args += ["--run-dir", str(tmp_path / "run")]
    process = Forked(tmp_path / "printed", train_within, kind, counter, left, args)
    err = process.communicate(timeout=60)[1]
    if outcome == "ok":
        assert process.returncode == 0, err
        return
    assert process.returncode == 2
    assert len(err.splitlines()) == 1
    beside = rf"but the limit of the {re.escape(name)} leaves .*\. {outcome}.*, or raise the limit\."
    assert re.search(beside, err)
    assert not (tmp_path / "run").exists()
