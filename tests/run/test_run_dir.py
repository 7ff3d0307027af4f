"""The run directory: one owner, nobody else's files, and what happens when it disappears in the middle of a run."""

import ctypes
import errno
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import fastsac
from fastsac import checkpoint
from fastsac.acting.errors import EnvFailedError
from fastsac.checkpoint.writer import Writer
from fastsac.cli.main import main
from fastsac.config.settings import Config
from fastsac.run import run_dir
from fastsac.run.plan import make_plan
from fastsac.run.run_dir import RunDir
from fastsac.run.trainer import train
from tests.support import paired_runs
from tests.support.forked import Forked
from tests.support.runs import BASE, TINY, complaints, contents, num_rows, rows, run, run_with, wait_for

PAIRS = int(os.environ.get("FASTSAC_PAIRS", "3"))
LOSSES = int(os.environ.get("FASTSAC_LOSSES", "6"))


# One owner ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_second_process_ends_at_once_and_a_third_one_waits(start, tmp_path, capsys):
    folder = tmp_path / "run"
    args = ("--checkpoint-every", "200", "--resume", "auto")
    first = start(folder, *args)
    wait_for(first, lambda: len(checkpoint.checkpoint_dirs(folder)) == 2)
    for own in (["--run-dir", str(folder), "--resume", "auto"], ["--resume", str(folder)]):
        flags = TINY if "auto" in own else []
        assert main(["train", "--env", "tests.support.scripted_env:5c", *flags, *own]) == 2
        err = capsys.readouterr().err
        owner = rf"process {first.pid} on {socket.gethostname()} since 2"
        assert err.startswith(f"fastsac train: run_dir {folder} is in use by {owner}")
        assert "wait for it with --wait-for-lock SECONDS." in err
        assert err.count("\n") == 1
    assert fastsac.load(folder).obs_dim == 5  # who reads needs no lock
    assert main(["eval", str(folder), "--episodes", "1"]) == 0
    third = start(folder, *args, "--wait-for-lock", "60")
    wait_for(third, lambda: f"waiting up to 60 s for process {first.pid} on" in third.printed()[0])
    first.send_signal(signal.SIGKILL)
    first.communicate()
    reached = checkpoint.load_meta(folder)["env_steps"][0]
    wait_for(third, lambda: checkpoint.load_meta(folder)["env_steps"][0] > reached)
    third.terminate()
    out, err = third.communicate(timeout=20)
    assert (third.returncode, err) == (143, ""), out


def test_waiting_has_an_end(tmp_path):
    place = RunDir(tmp_path / "run")
    place.acquire()
    began = time.monotonic()
    with pytest.raises(ValueError, match="is in use by process"):
        run(tmp_path, wait_for_lock=1.0)
    assert 0.9 < time.monotonic() - began < 10
    place.release()
    assert run(tmp_path).env_steps >= 60


@pytest.mark.slow
def test_pairs_of_processes_lose_no_checkpoint(tmp_path):
    """FASTSAC_PAIRS=40 for more of them."""
    process = Forked(tmp_path / "printed", paired_runs.main, tmp_path / "run", PAIRS, 1)
    out, err = process.communicate()
    assert process.returncode == 0, err
    told = json.loads(out)
    print(told)
    assert err.count("is in use by") == PAIRS
    assert (told["both_alive"], told["none_alive"], told["damaged"], told["lost"]) == (0, 0, 0, 0)
    assert told["saved"] > 0


def test_a_child_that_outlives_its_parent_does_not_keep_the_lock(tmp_path):
    """An environment may fork processes of its own."""
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        RunDir(tmp_path / "run").acquire()
        child = os.fork()
        if child == 0:
            time.sleep(30)
        os.write(write, str(child).encode())
        os._exit(0)
    child = int(os.read(read, 100))
    os.waitpid(parent, 0)
    place = RunDir(tmp_path / "run")
    try:
        place.acquire()
        assert place.is_held
    finally:
        os.kill(child, signal.SIGKILL)
        place.release()


@pytest.mark.filterwarnings("ignore:.*oft")
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_lock_gets_a_lock_file(tmp_path, monkeypatch, code):
    def no_flock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", no_flock)
    place = RunDir(tmp_path / "run")
    place.acquire()
    with pytest.raises(ValueError, match=r"is in use by process .* If it is dead, remove .*lock-file\."):
        run(tmp_path)
    place.release()
    assert run(tmp_path).env_steps >= 60


def test_a_process_that_ends_while_its_thread_writes_keeps_the_lock(tmp_path, monkeypatch):
    go = threading.Event()
    write = Writer.write
    monkeypatch.setattr(Writer, "write", lambda *args: go.wait(30) and write(*args))

    def interrupt(training):
        if training.checkpointer.thread.is_writing:
            raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            run_with(tmp_path, interrupt, checkpoint_every=20)
        with pytest.raises(ValueError, match="is in use by process"):
            run(tmp_path, resume="auto")
    finally:
        go.set()
        run_dir._KEPT.pop()._unlock()


@pytest.mark.slow
def test_a_second_process_waits_also_for_a_run_without_checkpoints(start, tmp_path):
    folder = tmp_path / "run"
    first = start(folder, "--checkpoint-every", "0")
    wait_for(first, lambda: num_rows(folder / "metrics.csv") > 3)
    second = start(folder, "--checkpoint-every", "0", "--resume", "auto", "--wait-for-lock", "60")
    wait_for(second, lambda: f"waiting up to 60 s for process {first.pid} on" in second.printed()[0])
    first.terminate()  # with a checkpoint
    first.communicate(timeout=20)
    reached = checkpoint.load_meta(folder)["env_steps"][0]
    wait_for(second, lambda: num_rows(folder / "metrics.csv") > reached / 50 + 1)
    assert Config.load(folder).wait_for_lock == 0


def test_a_folder_that_cannot_be_looked_at_is_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"cannot be looked at \(File name too long\)"):
        run(tmp_path, "x" * 300)


def test_a_start_that_comes_to_nothing_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastsac.run.trainer.Run._compile", interrupt)
    for args in ([], ["--run-dir", "deep/run"]):
        assert main(["train", "--env", "tests.support.scripted_env:5c", *TINY, *args]) == 130
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    assert main(["train", "--env", "tests.support.scripted_env:5c", *TINY, "--run-dir", "mine"]) == 130
    assert [p.name for p in tmp_path.rglob("*")] == ["mine"]


def test_a_run_of_a_version_without_marks_is_gone_on_with(tmp_path):
    folder = run(tmp_path).run_dir
    shutil.rmtree(folder / run_dir.MARK)
    with pytest.raises(ValueError, match="exists and is not empty"):
        run(tmp_path)
    assert run(tmp_path, resume="auto", total_steps=100).env_steps >= 100
    assert (folder / run_dir.MARK).is_dir()


# Nobody else's files ------------------------------------------------------------------------------------------------


def foreign_folders():
    """Thirty folders that this program did not write, though some look like it."""
    config = BASE.to_json()
    table = "env_steps,loss\n900000,0.1\n"
    parts = {
        "config.json": ['{"name": "theirs"}', "{'not': strict}", config, ""],
        "metrics.csv": [table, "member,env_steps\n0,900000\n"],
        "tensorboard/events.out.tfevents.1": ["events"],
        "checkpoints/model.pt": ["weights"],
        "checkpoints/000001_step_000000000012/meta.json": ["{}"],
        "summary.json": ["[]", '{"interrupted": true}'],
        "eval.csv": ["a,b\n"],
        "notes.txt": ["years"],
        ".fastsac": ["a file"],
    }
    single = [{name: text} for name, texts in parts.items() for text in texts]
    rng = random.Random(3)
    mixed = [
        {name: rng.choice(parts[name]) for name in rng.sample(sorted(parts), rng.randint(2, 5))}
        for _ in range(30 - len(single))
    ]
    return single + mixed


@pytest.mark.parametrize("files", foreign_folders(), ids=lambda files: "+".join(files))
def test_a_folder_of_somebody_else_is_refused_and_not_touched(tmp_path, capsys, files):
    folder = tmp_path / "theirs"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    before = contents(folder)
    command = ["train", "--env", "tests.support.scripted_env:5c", *TINY, "--run-dir", str(folder)]
    for args in ([*command, "--resume", "auto"], command, ["train", "--resume", str(folder)]):
        assert main(args) == 2
        assert complaints(capsys.readouterr().err).count("\n") == 1
        assert contents(folder) == before


def test_copies_that_a_user_keeps_among_the_checkpoints_stay(tmp_path):
    folder = run(tmp_path, checkpoint_every=20).run_dir / "checkpoints"
    newest = checkpoint.checkpoint_dirs(folder.parent)[-1]
    shutil.copytree(newest, folder / f"{newest.name}.good")
    (folder / "replay" / "rows_of_mine.txt").write_text("kept")
    train(Config.load(folder.parent).replace(resume=str(folder.parent), run_dir=None, total_steps=200))
    assert (folder / f"{newest.name}.good" / "learner.pt").exists()
    assert (folder / "replay" / "rows_of_mine.txt").exists()


# Disappearing in the middle ------------------------------------------------------------------------------------------

LONG = {
    "total_steps": 400, "buffer_size": 1000, "checkpoint_every": 90, "log_every": 20, "eval_every": 60,
    "utd_ratio": 0.25,
}  # fmt: skip


def once_at(env_steps, act):
    """For `run_with`: do something at a vector step."""
    done: list[bool] = []

    def hook(training):
        if not done and training.collector.env_steps[0] >= env_steps:
            done.append(True)
            if training.checkpointer.thread._pending:
                training.checkpointer.thread._pending.result()
            act()

    return hook


def check_whole(folder):
    """All rows are there, and a checkpoint with all of its replay."""
    steps = [int(row["env_steps"]) // 20 * 20 for row in rows(folder / "metrics.csv")]
    assert steps == list(range(20, 401, 20))
    assert len(rows(folder / "eval.csv")) == 7
    assert Config.load(folder).total_steps == 400
    assert checkpoint.load(folder)[1]["env_steps"][0] >= 400
    assert "replay" in checkpoint.load(folder)[0]
    assert json.loads((folder / "summary.json").read_text())["interrupted"] is False


@pytest.mark.parametrize("tensorboard", [False, True])
@pytest.mark.parametrize("how", ["removed", "emptied", "moved", "tables", "mark", "lock"])
def test_a_run_directory_that_disappears_is_written_again(tmp_path, capsys, how, tensorboard):
    folder = tmp_path / "run"

    def lose():
        if how == "removed":
            shutil.rmtree(folder)
        elif how == "moved":
            folder.rename(tmp_path / "elsewhere")
        elif how == "mark":
            shutil.rmtree(folder / run_dir.MARK)
        elif how == "lock":
            (folder / run_dir.MARK / run_dir.LOCK).unlink()
        for path in folder.glob("*") if how == "emptied" else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name in ("metrics.csv", "config.json") if how == "tables" else ():
            (folder / name).unlink()

    run_with(tmp_path, once_at(210, lose), **LONG, tensorboard=tensorboard)
    check_whole(folder)
    out = " ".join(capsys.readouterr().out.split())
    told = {"tables": "config.json, metrics.csv", "mark": None, "lock": None}.get(
        how, "config.json, metrics.csv, eval.csv"
    )
    assert told is None or f"{told} of {folder} had disappeared: written again" in out
    assert ("gone or damaged on the disk" in out) == (how in ("removed", "emptied", "moved"))
    assert RunDir(folder).is_marked
    assert not tensorboard or list((folder / "tensorboard").glob("events.*"))
    assert main(["train", "--resume", str(folder), "--total-steps", "440"]) == 0


def test_rows_wait_while_the_place_is_taken_and_the_status_tells_if_it_stays_so(tmp_path, capsys):
    folder = tmp_path / "run"

    def take():
        shutil.rmtree(folder)
        folder.write_text("somebody else's")

    hooks = [once_at(210, take), once_at(290, folder.unlink)]
    run_with(tmp_path, lambda training: [hook(training) for hook in hooks], **LONG)
    check_whole(folder)
    assert f"{folder} could not be written (something else is there now)" in " ".join(capsys.readouterr().out.split())
    shutil.rmtree(folder)
    with pytest.raises(OSError, match="something else is there now"):
        run_with(tmp_path, once_at(210, take), **LONG)
    assert folder.read_text() == "somebody else's"


@pytest.mark.parametrize("who", ["a run", "nobody we know"])
def test_a_folder_that_somebody_else_has_by_now_is_not_touched(tmp_path, capsys, who):
    folder, other, before = tmp_path / "run", RunDir(tmp_path / "run"), {}

    def take():
        folder.rename(tmp_path / "elsewhere")
        folder.mkdir()
        if who == "a run":
            other.acquire()
            other.start()
            shutil.copytree(tmp_path / "elsewhere" / "checkpoints", folder / "checkpoints")
        else:
            (folder / "thesis.txt").write_text("years")
        before.update(contents(folder))

    with pytest.raises(OSError, match=r"has it now|something else is there now"):
        run_with(tmp_path, once_at(210, take), **LONG)
    assert contents(folder) == before
    other.release()
    reason = "has it now" if who == "a run" else "something else is there now"
    out = " ".join(capsys.readouterr().out.split())
    assert f"{folder} could not be written (" in out
    assert reason in out


def test_a_table_that_is_cut_short_goes_on_whole_and_the_rest_is_kept(tmp_path):
    folder = tmp_path / "run"
    run_with(tmp_path, once_at(210, lambda: os.truncate(folder / "metrics.csv", 100)), **LONG)
    steps = [int(row["env_steps"]) // 20 * 20 for row in rows(folder / "metrics.csv")]
    assert steps == list(range(220, 401, 20))
    assert (folder / "metrics.csv.damaged").stat().st_size == 100


def test_a_file_of_the_users_is_not_taken_for_ours(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(EnvFailedError):
        run(tmp_path, env_kwargs={"fail": [1, 9]})
    assert (folder / "error.txt").read_bytes().startswith(b"fastsac: ")
    (folder / "error.txt").write_text("of the scheduler")
    settings = Config.load(folder).replace(resume=str(folder), run_dir=None)
    with pytest.raises(EnvFailedError):
        train(settings)
    assert (folder / "error-fastsac.txt").exists()
    train(settings.replace(env_kwargs={}))
    assert not (folder / "error-fastsac.txt").exists()
    assert (folder / "error.txt").read_text() == "of the scheduler"


def without_the_right_to_override():
    """Also root is bound by modes from now on."""
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE


@pytest.mark.parametrize("in_time", [True, False])
def test_a_run_directory_that_becomes_read_only(tmp_path, in_time):
    folder = tmp_path / "run"
    command = [
        sys.executable, "-m", "fastsac", "train", "--env", "tests.support.scripted_env:5c",
        "--run-dir", str(folder), *TINY, "--checkpoint-every", "500",
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=without_the_right_to_override
    ) as process:
        try:
            wait_for(process, lambda: checkpoint.checkpoint_dirs(folder))
            for path in (folder, folder / "checkpoints"):
                path.chmod(0o555)
            logged = num_rows(folder / "metrics.csv")
            wait_for(process, lambda: num_rows(folder / "metrics.csv") > logged + 30)
            if in_time:
                for path in (folder, folder / "checkpoints"):
                    path.chmod(0o755)
                reached = checkpoint.load_meta(folder)["env_steps"][0]
                wait_for(process, lambda: checkpoint.load_meta(folder)["env_steps"][0] > reached)
            process.terminate()
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
            for path in (folder, folder / "checkpoints"):
                path.chmod(0o755)
    assert f"{folder} could not be written (Permission denied): the run goes on and tries again." in out
    assert process.returncode == (143 if in_time else 1), err
    if not in_time:
        assert err.count("\n") == 1
        assert err.startswith(f"fastsac train: cannot write to {folder}: Permission denied.")
        assert f"Make room and continue with --resume {folder}" in err


# Rows of the replay that are gone ---------------------------------------------------------------------------------


def lose_rows(folder, rng):
    """Remove or damage some of the files of rows."""
    for path in sorted(checkpoint.replay_dir(folder).glob("rows_*.pt")):
        how = rng.choice(("spare", "remove", "cut", "flip"))
        data = bytearray(path.read_bytes())
        if how == "remove":
            path.unlink()
        elif how == "cut":
            path.write_bytes(data[: rng.randrange(len(data))])
        elif how == "flip":
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            path.write_bytes(data)


@pytest.mark.parametrize("seed", range(LOSSES))
def test_rows_that_are_lost_in_the_middle_are_written_again(tmp_path, monkeypatch, seed):
    """FASTSAC_LOSSES=40 for more of them."""
    monkeypatch.setattr("fastsac.checkpoint.writer.PIECE", 4000)
    rng = random.Random(seed)
    folder = tmp_path / "run"
    hook = once_at(rng.randrange(130, 300), lambda: lose_rows(folder, rng))
    run_with(tmp_path, hook, **{**LONG, "checkpoint_every": 30}, seed=seed + 1)
    check_whole(folder)
    again = run(tmp_path, "again", **{**LONG, "checkpoint_every": 0}, seed=seed + 1)
    ours, theirs = (checkpoint.load(path)[0]["replay"] for path in (folder, again.run_dir))
    assert all((ours[name] == theirs[name]).all() for name in theirs)
    lose_rows(folder, rng)  # when nobody can write them again
    settings = Config.load(folder).replace(resume=str(folder), run_dir=None, total_steps=440)
    try:
        train(settings)
    except ValueError as error:
        if "--checkpoint-replay none goes on from it, with an empty replay." not in str(error):
            raise
        train(settings.replace(checkpoint_replay="none"))
    assert checkpoint.load_meta(folder)["env_steps"][0] >= 440


def test_damage_that_the_last_checkpoint_finds_is_made_good(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    remove = Writer._remove_others
    done: list[Path] = []

    def damage_then(self):
        remove(self)
        if self._serial == 2 and not done:  # the last one, just before it looks
            done.append(min(checkpoint.replay_dir(folder).glob("rows_*.pt")))
            done[0].write_bytes(b"x" * done[0].stat().st_size)

    monkeypatch.setattr(Writer, "_remove_others", damage_then)
    run(tmp_path, checkpoint_every=40)
    assert done
    assert "replay" in checkpoint.load(folder)[0]


def test_a_replay_that_is_whole_goes_along_also_where_none_is_kept_from_now_on(tmp_path):
    folder = run(tmp_path).run_dir
    plan = make_plan(
        Config.load(folder).replace(resume=str(folder), run_dir=None, total_steps=90, checkpoint_replay="none")
    )
    plan.place.release()
    assert plan.resume is not None
    assert (plan.resume.found.with_replay, plan.resume.found.note) == (True, "")
    for path in checkpoint.replay_dir(folder).glob("rows_*.pt"):
        path.unlink()
    plan = make_plan(plan.config)
    plan.place.release()
    assert plan.resume is not None
    assert not plan.resume.found.with_replay
    assert plan.resume.found.note.endswith("Going on without the replay.")
