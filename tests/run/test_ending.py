"""How a run that fails ends: its summary, error.txt, and whether it can be resumed."""

import json
import math
from typing import Any

import pytest

from fastsac import checkpoint
from fastsac.acting.errors import EnvFailedError, NotFiniteError
from fastsac.checkpoint.thread import CheckpointError
from fastsac.checkpoint.writer import Writer
from fastsac.cli.main import main
from fastsac.run.plan import make_plan
from fastsac.run.result import Result
from fastsac.run.trainer import Run, train
from tests.support.runs import BASE, TINY, complaints, rows, run, run_with


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"env_kwargs": {"fail": [2, 11]}}, EnvFailedError, "environment 2 of member 0 (seed 1) failed in step 11"),
        ({"env_kwargs": {"nan_obs": [2, 11]}}, NotFiniteError, "environment 2 of member 0 (seed 1) returned an obs"),
        ({"critic_lr": 1e30}, NotFiniteError, "critic_loss"),
    ],
    ids=["exception", "nan", "loss"],
)
@pytest.mark.parametrize("resume", ["auto", "by name"])
def test_a_failed_run_says_so_and_can_be_resumed(tmp_path, changes, kind, told, resume):
    settings: dict[str, Any] = {
        "env": "tests.support.scripted_env:100c", "total_steps": 100, "checkpoint_every": 20, "eval_every": 20,
        "learning_starts": 30, "eval_env_kwargs": {"fail": [-1, -2], "nan_obs": None},
    }  # fmt: skip
    with pytest.raises(kind) as error:
        run(tmp_path, **settings, **changes)
    folder = tmp_path / "run"
    summary, meta = summary_of(folder), checkpoint.load_meta(folder)
    assert (summary["interrupted"], summary["stopped_by"]) == (True, "error")
    assert summary["error"] == str(error.value)
    assert summary["error"].startswith(told)
    assert summary["env_steps"] >= meta["env_steps"][0] >= 20
    assert summary["eval_return_mean"] == float(rows(folder / "eval.csv")[-1]["return_mean"])
    assert summary["versions"]
    assert str(error.value) in (folder / "error.txt").read_text()
    assert error.value.__notes__[-1].endswith(f"See {folder / 'error.txt'}.")
    healed = {**settings, "env_kwargs": {}, "critic_lr": 3e-4}
    if resume == "auto":
        result = run(tmp_path, **healed, resume="auto")
    else:
        result = train(BASE.replace(**healed, resume=str(folder)))
    assert (result.interrupted, result.env_steps) == (False, 100)
    assert not (folder / "error.txt").exists()
    assert summary_of(folder)["stopped_by"] == "total_steps"
    assert "error" not in summary_of(folder)
    assert Result.read(folder) == result


def test_a_run_that_fails_at_its_very_end_is_not_complete(tmp_path):
    with pytest.raises(EnvFailedError, match="in an evaluation at env step 60"):
        run(tmp_path, env="tests.support.scripted_env:9c", eval_env_kwargs={"fail": [1, 3]})
    assert summary_of(tmp_path / "run")["env_steps"] == 60
    for resume, folder in (("auto", tmp_path / "run"), (str(tmp_path / "run"), None)):
        config = BASE.replace(env="tests.support.scripted_env:9c", resume=resume, run_dir=folder and str(folder))
        assert not make_plan(config).is_complete
    assert math.isfinite(train(config).eval_return_mean)


def test_a_run_that_fails_before_its_first_checkpoint_is_made_afresh(tmp_path):
    for at in (0, 2):
        with pytest.raises(EnvFailedError):
            run(tmp_path, resume="auto", env_kwargs={"fail": [1, at]})
        for path in checkpoint.checkpoint_dirs(tmp_path / "run"):
            path.rename(path.with_suffix(".tmp"))
    assert summary_of(tmp_path / "run")["stopped_by"] == "error"
    assert run(tmp_path, resume="auto").env_steps >= 60
    assert not (tmp_path / "run" / "error.txt").exists()


def test_every_way_out_of_a_run_that_failed_before_its_first_checkpoint_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [
        "train", "--env", "tests.support.scripted_env:5c", "--preset", "none", *TINY[2:], "--run-dir", "run",
        "--total-steps", "100",
    ]  # fmt: skip
    assert main([*command, "--env-kwargs", '{"fail": [1, 0]}']) == 1
    failed = capsys.readouterr().err
    assert "are kept" not in failed
    why = failed.removeprefix("fastsac train: ").removesuffix(". See run/error.txt.\n")
    assert why.startswith("environment 1 of member 0 (seed 1) failed in reset at env step 0: RuntimeError: ")
    says = (
        f"has no checkpoint: the run ended before its first one ({why}). --run-dir run --resume auto starts it afresh."
    )
    for args, expected in (
        (command, f"run_dir run {says} Or give another --run-dir.\n"),
        (["train", "--resume", "run"], f"run_dir run {says} Or give another --run-dir.\n"),
        (["eval", "run"], f"run {says}\n"),
        (["plot", "run"], f"run has no returns: an error ended the run before its first evaluation ({why}).\n"),
    ):
        assert main(args) in (1, 2)
        assert complaints(capsys.readouterr().err).endswith(expected)
    assert main([*command, "--resume", "auto"]) == 0


def test_a_run_that_was_killed_before_its_first_checkpoint_can_be_started_again(tmp_path):
    with Run(make_plan(BASE.replace(run_dir=str(tmp_path / "run")))) as killed:
        killed.start()
    told = r"has no checkpoint: the run ended before its first one\. --run-dir .* --resume auto starts it afresh\."
    with pytest.raises(ValueError, match=told):
        run(tmp_path)
    assert run(tmp_path, resume="auto").env_steps >= 60


def test_an_error_that_nobody_thought_of_leaves_word_too(tmp_path):
    def stumble(training):
        if training.collector.env_steps[0] >= 40:
            raise ZeroDivisionError("by nought\nat all")

    with pytest.raises(ZeroDivisionError):
        run_with(tmp_path, stumble)
    summary = summary_of(tmp_path / "run")
    assert (summary["stopped_by"], summary["error"]) == ("error", "ZeroDivisionError: by nought")
    assert "in stumble" in (tmp_path / "run" / "error.txt").read_text()


def test_a_checkpoint_that_cannot_be_written_is_told_in_the_summary(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("the array\nis gone")

    monkeypatch.setattr(Writer, "write", refuse)
    with pytest.raises(CheckpointError) as error:
        run(tmp_path)
    assert summary_of(tmp_path / "run")["error"] == " ".join(str(error.value).split())
    assert "is gone" in (tmp_path / "run" / "error.txt").read_text()


@pytest.mark.parametrize("name", ["error.txt", "summary.json"])  # another error.txt is not written over, but beside it
def test_word_that_cannot_be_left_does_not_hide_the_error(tmp_path, name):
    (tmp_path / "run").mkdir()

    def block(training):
        for taken in ("error.txt", "error-fastsac.txt") if name == "error.txt" else (name,):
            (training.files.folder / taken / "in the way").mkdir(parents=True, exist_ok=True)

    with pytest.raises(EnvFailedError, match="the simulator exploded") as error:
        run_with(tmp_path, block, env_kwargs={"fail": [1, 11]})
    folder, told = tmp_path / "run", any("See " in note for note in error.value.__notes__)
    assert (told, (folder / "error.txt").is_file()) == (name != "error.txt",) * 2
    assert (folder / "summary.json").is_file() == (name == "error.txt")
