"""`--resume auto`: the same command line starts a run, continues it, and ends at once when it is complete."""

import json
import shutil
import signal

import pytest

from fastsac import checkpoint
from fastsac.cli.main import main
from fastsac.run.trainer import train
from tests.support.runs import BASE, contents, num_rows, rows, run, wait_for

TINY = [
    "train", "--env", "tests.support.scripted_env:5c", "--preset", "none", "--num-envs", "2", "--total-steps", "40",
    "--learning-starts", "16", "--batch-size", "8", "--buffer-size", "100", "--hidden-dims", "8", "--eval-every", "0",
    "--eval-episodes", "2", "--log-every", "20", "--device", "cpu", "--no-tensorboard",
]  # fmt: skip


def auto(tmp_path, **changes):
    return run(tmp_path, resume="auto", **changes)


def test_one_command_line_starts_continues_and_ends(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [*TINY, "--run-dir", "run", "--resume", "auto"]
    assert main([*command, "--max-wall-time", "1s"]) == 75
    assert checkpoint.load_meta(tmp_path / "run")["env_steps"] == [0]
    assert main(command) == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["env_steps"] == 40
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out == "run is complete: nothing to do. A larger --total-steps continues it.\n"
    assert main([*command, "--total-steps", "60"]) == 0
    assert checkpoint.load_meta(tmp_path / "run")["env_steps"] == [60]
    for args, message in (
        (TINY, "resume auto needs run_dir, the folder that every start of the run uses. Give --run-dir."),
        ([*TINY, "--run-dir", "run", "--hidden-dims", "9"], "has hidden_dims [8], got [9]"),
        (
            [*TINY, "--run-dir", "run", "--env", "tests.support.scripted_env:4t"],
            "is of tests.support.scripted_env:5c, ",
        ),
    ):
        assert main([*args, "--resume", "auto"]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1


def test_python_gets_the_figures_of_a_complete_run(tmp_path):
    first = auto(tmp_path)
    (tmp_path / "run" / "thesis.txt").write_text("years")
    again = auto(tmp_path)
    assert again == first
    goal = {"total_steps": 1000, "buffer_size": 1000, "eval_every": 40, "stop_at_return": -1e9}
    assert auto(tmp_path, name="goal", **goal) == auto(tmp_path, name="goal", **goal)


def test_a_run_that_ended_before_its_last_evaluation_makes_it(tmp_path):
    first = auto(tmp_path)
    path = first.run_dir / "summary.json"
    path.unlink()  # killed just before it was written
    again = auto(tmp_path)
    assert (again.env_steps, again.grad_steps) == (first.env_steps, first.grad_steps)
    assert json.loads(path.read_text())["interrupted"] is False


@pytest.mark.parametrize("left", ["a few rows", "no row", "the mark"])
def test_a_start_that_never_got_to_a_checkpoint_is_made_afresh(tmp_path, capsys, left):
    folder = tmp_path / "run"
    run(tmp_path, seeds=2, checkpoint_every=50)  # another number of members, whose rows must not be kept
    table = (folder / "metrics.csv").read_text()
    for path in checkpoint.checkpoint_dirs(folder):
        path.rename(path.with_suffix(".tmp"))
    (folder / "summary.json").unlink()
    (folder / "slurm-17.out").write_text("kept")
    if left != "a few rows":
        (folder / "metrics.csv").write_text(table.splitlines()[0] + "\n")
        (folder / "eval.csv").unlink()
    if left == "the mark":
        for path in folder.iterdir():
            if path.name != ".fastsac":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert auto(tmp_path).env_steps >= 60
    assert {row["member"] for row in rows(folder / "metrics.csv")} == {"0"}
    assert left == "the mark" or (folder / "slurm-17.out").read_text() == "kept"
    assert (folder / "aborted-1").exists() == (left == "a few rows")
    if left == "a few rows":  # and none of them is lost
        assert (folder / "aborted-1" / "metrics.csv").read_text() == table
        assert "an earlier start left no checkpoint: its tables are in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("every", "config", "what"),
    [
        (20, None, "a run that ended at 62 steps"),
        (20, "whole", "a run that came to 62 steps"),
        (0, "whole", "a run that came to 62 steps"),
        (50, '{"env"', "a run that came to 62 steps, with a config.json that cannot be read"),
        (50, '{"name": "of another program"}', "a run that came to 62 steps, with a config.json that cannot be read"),
    ],
)
def test_a_run_whose_checkpoints_are_gone_is_not_written_over(tmp_path, every, config, what):
    folder = run(tmp_path, checkpoint_every=every).run_dir
    (folder / "checkpoints").rename(tmp_path / "elsewhere")
    if config:
        (folder / "summary.json").unlink()  # killed
    if config not in (None, "whole"):
        (folder / "config.json").write_text(config)
    shown = {p: it for p, it in contents(folder).items() if ".fastsac" not in p}  # all but who it was that looked
    with pytest.raises(ValueError, match=f"holds {what}, and no checkpoint of it"):
        auto(tmp_path)
    assert {p: it for p, it in contents(folder).items() if ".fastsac" not in p} == shown


def test_a_folder_of_something_else_is_refused(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years")
    with pytest.raises(ValueError, match="exists and is not empty"):
        auto(tmp_path)
    with pytest.raises(ValueError, match="exists and is not empty"):
        train(BASE.replace(run_dir=str(folder / "thesis.txt"), resume="auto"))


@pytest.mark.slow
def test_requeue_after_sigterm_and_after_sigkill(start, tmp_path):
    folder = tmp_path / "run"
    args = ("--resume", "auto", "--checkpoint-every", "200", "--total-steps", "1000000")
    process = start(folder, *args)
    wait_for(process, lambda: num_rows(folder / "metrics.csv") > 1)
    process.terminate()
    assert "SIGTERM: writing a checkpoint" in process.communicate(timeout=10)[0]
    assert process.returncode == 143
    stopped_at = checkpoint.load_meta(folder)["env_steps"][0]
    process = start(folder, *args)
    wait_for(process, lambda: checkpoint.load_meta(folder)["env_steps"][0] > stopped_at + 200)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    killed_at = checkpoint.load_meta(folder)["env_steps"][0]
    process = start(folder, *args, "--total-steps", str(killed_at + 100))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
    steps = [int(row["env_steps"]) for row in rows(folder / "metrics.csv")]
    assert steps == sorted(set(steps))
    assert steps[-1] >= killed_at + 100
