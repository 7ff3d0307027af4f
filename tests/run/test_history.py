"""What a run that goes on says and keeps of where it goes on, and with which other settings."""

import re

import pytest

from fastsac.config.history import NAME, read_history
from fastsac.config.settings import Config
from fastsac.run.extract import extract
from fastsac.run.plan import make_plan
from fastsac.run.trainer import Run, train
from tests.support.interrupted_runs import resumed
from tests.support.runs import run, run_with


def changes(folder):
    return [each.changes for each in read_history(folder)]


def test_a_resumed_run_says_from_where_and_with_what_it_goes_on(tmp_path, capsys):
    folder = run(tmp_path).run_dir
    assert not (folder / NAME).exists()
    assert "continues" not in capsys.readouterr().out
    train(resumed(folder, total_steps=80, gamma=0.5, log_every=10))
    out = capsys.readouterr().out
    told = "total_steps 60 -> 80, gamma 0.99 -> 0.5 from step 62"
    assert re.search(rf"^continues from checkpoint 000001, 62 steps, after 0:\d\d, with its replay\n{told}$", out, re.M)
    assert changes(folder) == [told]
    train(resumed(folder, total_steps=100, gamma=0.9))
    assert changes(folder) == [told, "total_steps 80 -> 100, gamma 0.5 -> 0.9 from step 80"]


def test_the_same_command_again_says_only_where_it_goes_on(tmp_path, capsys):
    folder = tmp_path / "run"
    with pytest.raises(RuntimeError, match="enough"):
        run_with(tmp_path, stop_at(30), checkpoint_every=20)
    capsys.readouterr()
    run(tmp_path, resume="auto", checkpoint_every=20)
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("continues from checkpoint 000001, 21 steps, "))
    assert lines[at + 1] == f"writing to {folder}"
    assert changes(folder) == [""]


def stop_at(env_steps):
    def stop(training):
        if training.env_steps >= env_steps:
            raise RuntimeError("enough")

    return stop


def test_a_continuation_that_is_killed_before_its_first_checkpoint_is_forgotten_and_its_settings_too(tmp_path):
    folder = run(tmp_path).run_dir
    with Run(make_plan(resumed(folder, total_steps=100, gamma=0.5))) as killed:
        killed.start()
        killed.step()
    assert Config.load(folder).gamma == 0.5
    assert changes(folder) == ["total_steps 60 -> 100, gamma 0.99 -> 0.5 from step 62"]
    train(resumed(folder, gamma=0.99))
    assert changes(folder) == ["total_steps 60 -> 100 from step 62"]


def test_a_continuation_that_is_killed_between_its_two_files_changes_nothing(tmp_path, monkeypatch):
    folder = run(tmp_path).run_dir
    settings = (folder / "config.json").read_bytes()
    with Run(make_plan(resumed(folder, total_steps=100, gamma=0.5))) as killed:
        killed.files.open()
    (folder / "config.json").write_bytes(settings)
    train(resumed(folder, total_steps=80))
    assert changes(folder) == ["total_steps 60 -> 80 from step 62"]


def test_a_run_without_its_replay_is_another_one(tmp_path, capsys):
    folder = run(tmp_path, checkpoint_replay="none").run_dir
    capsys.readouterr()
    train(resumed(folder, total_steps=80))
    assert re.search(r"62 steps, after 0:\d\d, without a replay$", capsys.readouterr().out, re.M)
    (now,) = read_history(folder)
    assert now.difference(Config.load(folder)) == "an empty replay from step 62"


def test_a_member_that_is_taken_out_keeps_it(tmp_path):
    folder = run(tmp_path, seeds=2).run_dir
    train(resumed(folder, total_steps=80, gamma=0.5))
    out = tmp_path / "alone"
    extract(folder, 1, out)
    assert read_history(out) == read_history(folder)
    train(resumed(out, total_steps=100, gamma=0.9))
    assert len(changes(out)) == 2


def test_a_file_that_disappears_is_written_again_and_a_new_run_has_none(tmp_path, capsys):
    folder = run(tmp_path).run_dir

    def lose(training):
        (folder / NAME).unlink(missing_ok=True)

    with Run(make_plan(resumed(folder, total_steps=100, gamma=0.5))) as training:
        training.start()
        lose(training)
        while not training.is_over:
            training.step()
        training.finish()
    assert f"{NAME} of {folder} had disappeared: written again" in capsys.readouterr().out
    assert len(changes(folder)) == 1
