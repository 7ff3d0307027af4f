"""Callbacks: what they are told and when, how they end a run, and what is kept when one fails."""

import math
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fastsac import checkpoint
from fastsac.run.callbacks import Callbacks, CheckpointEvent, EndEvent, EvalEvent, Event, LogEvent, Stop
from fastsac.run.plan import make_plan
from fastsac.run.trainer import Run, train
from tests.support.runs import BASE, TIME_COLUMNS, parameters, rows, run

OFTEN: dict[str, Any] = {"eval_every": 20, "checkpoint_every": 20}


def called(tmp_path, *callbacks, name="run", **changes):
    return train(BASE.replace(run_dir=str(tmp_path / name), **changes), callbacks=callbacks, quiet=True)


def numbers(texts):
    return {name: float(value) for name, value in texts.items() if value}


def test_they_are_told_what_the_files_hold(tmp_path):
    events: list[Event] = []
    result = called(tmp_path, events.append, **OFTEN, seeds=2)
    kinds: dict[type, list[Any]] = {
        kind: [e for e in events if type(e) is kind] for kind in (LogEvent, EvalEvent, CheckpointEvent, EndEvent)
    }
    assert sum(map(len, kinds.values())) == len(events)
    assert all(event.run_dir == result.run_dir for event in events)
    assert [event.wall_s for event in events] == sorted(event.wall_s for event in events)
    for kind, column, name in ((LogEvent, "metrics", "metrics.csv"), (EvalEvent, "rows", "eval.csv")):
        told = [row for event in kinds[kind] for row in getattr(event, column)]
        assert len(told) == 2 * len(kinds[kind]) > 4, "a row for each member"
        for mine, written in zip(told, rows(result.run_dir / name), strict=True):
            assert mine == pytest.approx(numbers(written), nan_ok=True)
    for event in kinds[EvalEvent]:
        assert event.returns == tuple(row["return_mean"] for row in event.rows)
        assert event.env_steps == min(row["env_steps"] for row in event.rows)
    assert [*map(type, events)][-2:] == [CheckpointEvent, EndEvent]
    assert kinds[EndEvent][0].result is result


def test_a_checkpoint_is_whole_when_it_is_told(tmp_path):
    found = []

    def look(event):
        if isinstance(event, CheckpointEvent):
            checkpoint.check_files(event.folder, checkpoint.read_meta(event.folder), with_replay=True)
            found.append(event.folder.name)

    called(tmp_path, look, checkpoint_every=20)
    assert found == sorted({*found})
    assert found[-1].startswith("000003_step_")


def test_numbers_do_not_depend_on_them(tmp_path):
    plain, told = run(tmp_path, "plain", **OFTEN), called(tmp_path, lambda event: None, name="told", **OFTEN)
    for name in ("metrics.csv", "eval.csv"):
        assert rows(plain.run_dir / name, TIME_COLUMNS) == rows(told.run_dir / name, TIME_COLUMNS)


@pytest.mark.parametrize("kind", [LogEvent, EvalEvent])
def test_one_of_them_ends_the_run_which_goes_on_as_if_nothing_had_happened(tmp_path, kind):
    def stop(event):
        return Stop("seen enough") if type(event) is kind and event.env_steps >= 40 else None

    settings: dict[str, Any] = {**OFTEN, "env_kwargs": {"saves_state": True}}
    whole = run(tmp_path, "whole", **settings)
    result = called(tmp_path, lambda event: None, stop, **settings)
    assert (result.interrupted, result.stopped_by) == (True, "callback: seen enough")
    assert 40 <= result.env_steps < 60
    again = train(BASE.replace(run_dir=str(tmp_path / "run"), resume="auto", **settings), quiet=True)
    assert not again.interrupted
    assert (again.env_steps, again.grad_steps) == (whole.env_steps, whole.grad_steps)
    for name, value in parameters(whole).items():
        assert value.equal(parameters(again)[name])


def test_at_the_end_of_the_steps_there_is_nothing_to_stop(tmp_path):
    result = called(tmp_path, lambda event: Stop("late") if event.env_steps >= 60 else None)
    assert (result.interrupted, result.stopped_by) == (False, "total_steps")


@pytest.mark.parametrize("kind", [LogEvent, EvalEvent, CheckpointEvent])
@pytest.mark.parametrize("error", [KeyError("mine"), OSError(28, "mine"), SystemExit("mine")])
def test_an_error_of_theirs_is_the_runs_and_the_state_is_kept(tmp_path, kind, error):
    def fail(event):
        if type(event) is kind and event.env_steps >= 40:
            raise error

    with pytest.raises(type(error), match="mine") as caught:
        called(tmp_path, fail, **OFTEN)
    assert caught.value is error
    assert "in fail" in (tmp_path / "run" / "error.txt").read_text()
    folder = checkpoint.find(tmp_path / "run").folder
    steps = int(folder.name.rpartition("_")[2])
    assert 40 <= steps < 64
    result = train(BASE.replace(run_dir=str(tmp_path / "run"), resume="auto", **OFTEN), quiet=True)
    assert result.stopped_by == "total_steps"


def test_an_error_at_a_row_keeps_the_evaluation_that_was_due_there(tmp_path):
    settings: dict[str, Any] = {**OFTEN, "env_kwargs": {"saves_state": True}}
    whole = run(tmp_path, "whole", **settings)

    def fail(event):
        if isinstance(event, LogEvent) and event.env_steps >= 40:
            raise KeyError("mine")

    with pytest.raises(KeyError):
        called(tmp_path, fail, **settings)
    train(BASE.replace(run_dir=str(tmp_path / "run"), resume="auto", **settings), quiet=True)
    assert rows(tmp_path / "run" / "eval.csv", TIME_COLUMNS) == rows(whole.run_dir / "eval.csv", TIME_COLUMNS)


def test_an_error_at_the_end_leaves_the_finished_run_as_it_is(tmp_path):
    def fail(event):
        if isinstance(event, EndEvent):
            raise KeyError("mine")

    with pytest.raises(KeyError):
        called(tmp_path, fail)
    assert not (tmp_path / "run" / "error.txt").exists()
    config = BASE.replace(run_dir=str(tmp_path / "run"), resume="auto")
    assert train(config).stopped_by == "total_steps"


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (print, r"callbacks must be a list of functions, got <built-in function print>\. Put it into a list\."),
        ([3], r"callbacks must be functions that take an event, got 3\."),
    ],
)
def test_what_cannot_be_called_is_refused_before_any_work(tmp_path, callbacks, message):
    with pytest.raises(ValueError, match=message):
        train(BASE.replace(run_dir=str(tmp_path / "run")), callbacks=callbacks)
    assert not (tmp_path / "run").exists()
    plan = make_plan(BASE.replace(run_dir=str(tmp_path / "run")))
    with pytest.raises(ValueError, match=message):
        Run(plan, callbacks=callbacks)
    assert not plan.place.is_held


@pytest.mark.parametrize("reason", ["", " ", None])
def test_a_stop_says_why(reason):
    with pytest.raises(ValueError, match="reason must be text that says why the run stops"):
        Stop(reason)


def test_another_answer_is_an_error(tmp_path):
    with pytest.raises(TypeError, match=r"^a callback must return None or fastsac\.Stop\(reason\), got False\."):
        called(tmp_path, lambda event: False)


def test_without_any_no_event_is_made(tmp_path, monkeypatch):
    counters, made = Callbacks._counters, []

    def counted(self):
        made.append(self)
        return counters(self)

    monkeypatch.setattr(Callbacks, "_counters", counted)
    run(tmp_path, "without", **OFTEN)
    assert made == []
    called(tmp_path, lambda event: None, **OFTEN)
    assert made


def test_a_quiet_run_prints_nothing(tmp_path, capfd):
    called(tmp_path, **OFTEN)
    assert capfd.readouterr() == ("", "")


def test_a_run_is_driven_by_hand(tmp_path):
    whole, config = run(tmp_path, "whole", **OFTEN), BASE.replace(run_dir=str(tmp_path / "run"), **OFTEN)
    with Run(make_plan(config)) as by_hand:
        by_hand.start()
        while not by_hand.is_over:
            by_hand.step()
        result = by_hand.finish()
    for name, value in parameters(whole).items():
        assert value.equal(parameters(result)[name])


def test_events_are_public_and_cost_no_import_of_torch():
    code = "import sys, fastsac; fastsac.__all__; assert 'torch' not in sys.modules; fastsac.EvalEvent, fastsac.Stop"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def recorded(run_dir):
    """Tags that begin with "own/" in TensorBoard's files: steps and values."""
    read = EventAccumulator(str(run_dir / "tensorboard")).Reload()
    tags = [tag for tag in read.Tags()["scalars"] if tag.startswith("own/")]
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in tags}


def test_figures_that_they_record_are_in_tensorboard(tmp_path):
    values: Iterator[Any] = iter([1, np.float32(2), torch.tensor(3.0), math.nan, 5])

    def record(event):
        if isinstance(event, EvalEvent):
            event.record("own/level", next(values))
            event.record("own/twice", 1)
        event.record(f"own/{type(event).__name__}", event.grad_steps)

    def correct(event):
        if "own/twice" in event.recorded:
            event.record("own/twice", 2)

    result = called(tmp_path, record, correct, **OFTEN, total_steps=100, tensorboard=True)
    steps = [int(row["env_steps"]) for row in rows(result.run_dir / "eval.csv")]
    told = recorded(result.run_dir)
    assert told["own/level"] == [*zip(steps[:3], (1, 2, 3), strict=True), (steps[4], 5)], "not the one that is NaN"
    assert told["own/twice"] == [(step, 2) for step in steps]
    assert told["own/EndEvent"] == [(result.env_steps, result.grad_steps)]
    assert told.keys() == {
        "own/level",
        "own/twice",
        *(f"own/{kind}Event" for kind in ("Log", "Eval", "Checkpoint", "End")),
    }
    assert not [name for name in rows(result.run_dir / "metrics.csv")[0] if name.startswith("own/")]


def test_a_run_without_loggers_takes_what_they_record(tmp_path):
    assert not called(tmp_path, lambda event: event.record("own/level", 1)).interrupted


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("level", "high", "the value of 'level' must be a number, got 'high'."),
        ("level", None, "the value of 'level' must be a number, got None."),
        ("level", True, "the value of 'level' must be a number, got True."),
        ("level", np.zeros(2), "the value of 'level' must be a number, got array([0., 0.])."),
        ("level", torch.zeros(2), "the value of 'level' must be a number, got tensor([0., 0.])."),
        (" ", 1, "the name of a figure must be text, got ' '."),
        (3, 1, "the name of a figure must be text, got 3."),
        ("a\nb", 1, "the name of a figure must be text without control characters, got 'a\\nb'."),
    ],
)
def test_what_is_no_figure_is_refused(tmp_path, name: Any, value: Any, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Event(tmp_path, 0, 0, 0.0).record(name, value)
