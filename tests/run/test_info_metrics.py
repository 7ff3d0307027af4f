"""`info_metrics`: figures of environments in tables, loggers and events, over interruptions and processes."""

import json
import math
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fastsac import checkpoint
from fastsac.acting.info_means import Total
from fastsac.cli.main import main
from fastsac.run.callbacks import LogEvent
from fastsac.run.run_state import RunState
from fastsac.run.trainer import train
from tests.support.interrupted_runs import EXACT, assert_same_run, drive, interrupt, resumed
from tests.support.launched import launch, values
from tests.support.rank_checks import DATA, at, numbers
from tests.support.rank_runs import trained
from tests.support.runs import BASE, TIME_COLUMNS, rows, run

FIGURES: dict[str, Any] = {"env_kwargs": {"figures": True}, "info_metrics": ("step", "even")}
SAVING = EXACT.replace(**FIGURES).replace(env_kwargs={"figures": True, "saves_state": True})
TOLD: dict[str, Any] = {"env": "gymnasium:tests.support.told_env:Told-v0"}


def test_tables_loggers_and_events_have_them(tmp_path):
    events: list[LogEvent] = []
    config = BASE.replace(env=BASE.env.replace("3t,5c,2b,9c", "5c"), run_dir=str(tmp_path / "run"), seeds=2, **FIGURES)
    config = config.replace(total_steps=40, tensorboard=True)
    train(config, callbacks=[lambda event: events.append(event) if isinstance(event, LogEvent) else None], quiet=True)
    table = rows(tmp_path / "run" / "metrics.csv")
    # Episodes have five steps, and at 20 env steps each of four environments has made these.
    assert [(row["member"], row["info/step"], row["info/even"]) for row in table] == [
        (member, "3.0", "3.0") for _ in range(2) for member in "01"
    ]
    assert [row["info/step"] for event in events for row in event.metrics] == [3.0] * 4
    read = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in read.Scalars("info/step")] == [(20, 3.0), (40, 3.0)]


def test_numbers_do_not_depend_on_them(tmp_path):
    plain, told = run(tmp_path, "plain"), run(tmp_path, "told", **FIGURES)
    assert [
        {name: cell for name, cell in row.items() if not name.startswith("info/")}
        for row in rows(told.run_dir / "metrics.csv", TIME_COLUMNS)
    ] == rows(plain.run_dir / "metrics.csv", TIME_COLUMNS)


def test_an_interval_goes_on_exactly(tmp_path):
    whole = drive(SAVING.replace(run_dir=str(tmp_path / "whole"))).run_dir
    half = interrupt(SAVING.replace(run_dir=str(tmp_path / "half")), at=50)
    assert sum(total.count for total in RunState.from_json(checkpoint.load_meta(half)).episodes.info[0].values()) > 10
    drive(resumed(half))
    assert_same_run(whole, half)


def test_a_run_that_goes_on_may_ask_for_others(tmp_path):
    folder = run(tmp_path, **FIGURES).run_dir
    train(resumed(folder, total_steps=100, info_metrics=("even",)), quiet=True)
    train(resumed(folder, total_steps=140, info_metrics=()), quiet=True)
    table = rows(folder / "metrics.csv")
    assert [(bool(row["info/step"]), bool(row["info/even"])) for row in table] == (
        [(True, True)] * 3 + [(False, True)] * 2 + [(False, False)] * 2
    )
    assert not list(folder.glob("*damaged*"))


def test_runs_of_versions_that_had_no_figures_go_on(tmp_path):
    meta = checkpoint.load_meta(run(tmp_path).run_dir)
    older = {**meta, "episodes": {name: value for name, value in meta["episodes"].items() if name != "info"}}
    assert RunState.from_json(older) == RunState.from_json(meta)
    told = {**meta, "episodes": {**meta["episodes"], "info": [{"step": {"sum": 1.5, "count": 2}}]}}
    assert RunState.from_json(told).episodes.info == [{"step": Total(1.5, 2)}]


def test_processes_of_one_agent_count_together(tmp_path):
    config = DATA.replace(**FIGURES).replace(env_kwargs={"figures": True}, total_steps=60)
    one = train(at(tmp_path, config, "one"), quiet=True)
    two = values(launch(tmp_path / "out", 2, trained, at(tmp_path, config, "two")))[0][0]
    for name in ("info/step", "info/even"):
        mine, expected = (numbers(result.run_dir / "metrics.csv")[name] for result in (two, one))
        assert mine == pytest.approx(expected)
        assert len(mine) == 3


def test_a_name_that_gives_no_figure_is_told_once(tmp_path, capsys):
    result = run(tmp_path, **TOLD, info_metrics=("log:hight", "late", "log:height"))
    lines = [line for line in capsys.readouterr().out.splitlines() if "which info_metrics" in line]
    assert lines == [
        "no environment has told 'log:hight', which info_metrics asks for, in 20 steps: it stays nan until "
        "one does; did you mean log:height? Those told: log:height, step."
    ]
    table = rows(result.run_dir / "metrics.csv")
    assert {row["info/log:hight"] for row in table} == {"nan"}
    assert [(float(row["info/late"]), float(row["info/log:height"]) > 10) for row in table] == [(1.0, True)] * 3


def test_a_name_that_cannot_give_one_is_refused_before_anything_is_written(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "HalfCheetah-v5", "--compile", "off", "--info-metrics", "reward_run", "reward_contrl"]) == 2
    assert capsys.readouterr().err == (
        "fastsac train: info_metrics must name figures that envpool:HalfCheetah-v5 tells of its steps, got "
        "'reward_contrl'; did you mean reward_ctrl or reward_run? Those told: reward_run, reward_ctrl, x_position, "
        "x_velocity.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_own_environments_that_do_not_tell_it_end_the_run_at_the_first_step(tmp_path):
    with pytest.raises(RuntimeError, match=r"tells of its steps, got 'speed'; choose from step, even\."):
        run(tmp_path, **{**FIGURES, "info_metrics": ("speed",)})
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["env_steps"] == 0


@pytest.mark.parametrize("names", [("step", "step"), ("",)])
def test_names_are_different_and_not_empty(names):
    with pytest.raises(ValueError, match="info_metrics must be different names, got"):
        BASE.replace(info_metrics=names)


def test_rows_without_any_are_as_before(tmp_path):
    table = rows(run(tmp_path).run_dir / "metrics.csv")
    assert not [name for name in table[0] if "info" in name]
    assert math.isfinite(float(table[-1]["alpha"]))
