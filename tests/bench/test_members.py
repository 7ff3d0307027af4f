"""The members' benchmark: its arithmetic, its order, and that both parts run with tiny sizes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import members
from bench.lib import charts, harness, processes
from fastsac.learning.learner import Learner

BRIEF = ["--quick", "--device", "cpu", "--threads", str(torch.get_num_threads()), "--repeats", "1"]

FAKE_TRAIN = """
import json, pathlib, sys, time
config = json.load(open(sys.argv[1]))
if config["seed"] == 2:
    time.sleep(0.2)
rows = [{"seed": config["seed"] + i, "env_steps": 200, "grad_steps": 168, "eval_return_mean": -100.0 - i}
        for i in range(config["seeds"])]
pathlib.Path(sys.argv[2]).write_text(json.dumps({"members": rows, "compile_s": 0.01, "mode": "eager"}))
"""
"""What a process runs here instead of training, which would take seconds."""


def make_run(arrangement: str, number: int, wall_s: float, compile_s: float = 1.0) -> harness.Row:
    """What one arrangement of two came to in one round."""
    trained = [{"seed": s, "env_steps": 9, "grad_steps": 8, "eval_return_mean": -10.0 * s} for s in (1, 2)]
    told = {"processes": 2, "arrangement": arrangement, "round": number}
    return {**told, "wall_s": wall_s, "compile_s": compile_s, "cpu_s": 2 * wall_s, "members": trained}


# Updates alone --------------------------------------------------------------------------------------------------------


def test_members_that_fail_are_rows_with_their_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    launch = Learner.launch
    of_two = []

    def failing(self: Learner, due: list[int]) -> None:
        if len(due) == 4:
            raise torch.OutOfMemoryError("no room\nfor four")
        of_two.extend([due] if len(due) == 2 else [])
        if len(due) == 2 and len(of_two) > 1:
            raise RuntimeError("broken on the way")
        launch(self, due)

    monkeypatch.setattr(Learner, "launch", failing)
    path = tmp_path / "m.json"
    args = [*BRIEF, "--members", "1", "2", "4", "--seconds", "0.1", "--processes", "--json", str(path)]
    one, two, four = members.main(args)["rows"]
    assert one["median"] > 0
    assert two == {"name": "2 members", "members": 2, "error": "RuntimeError: broken on the way"}
    assert four["error"] == "OutOfMemoryError: no room\nfor four"
    assert charts.is_current(json.loads(path.read_text()), path.with_suffix(".png"))


def test_updates_alone_run_with_tiny_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "m.json"
    report = members.main([*BRIEF, "--repeats", "2", "--processes", "--json", str(path)])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    assert {"machine", "versions", "commit", "dirty", "started", "load_before", "load_after"} <= set(report)
    assert (report["complete"], report["mode"], report["runs"], report["process_rows"]) == (True, "eager", [], [])
    assert report["sizes"] == {
        "obs_dim": 3, "action_dim": 1, "algo": "sac", "preset": "pendulum", "hidden_dims": (8, 8), "batch_size": 16,
        "num_envs": 2,
    }  # fmt: skip
    one, two = report["rows"]
    assert (one["members"], two["members"], len(two["values"])) == (1, 2, 2)
    assert two["member_updates_per_s"] == 2 * two["median"] > 0
    assert one["cost"]["by_round"]["values"] == [1.0, 1.0]
    assert two["cost"]["by_round"]["values"] == [a / b for a, b in zip(one["values"], two["values"], strict=True)]
    assert "2 members" in capsys.readouterr().out
    (figure,) = members.draw(report).values()
    measured = figure.axes[0].containers[0][0]
    assert measured.get_xdata().tolist() == [1, 2]
    assert measured.get_ydata().tolist() == [m * row["median"] for m, row in zip((1, 2), (one, two), strict=True)]


# Processes ------------------------------------------------------------------------------------------------------------


def test_a_process_trains_all_its_members(tmp_path: Path) -> None:
    settings, plan = members.prepare(members.Settings(quick=True, device="cpu"))
    config = settings.config(eval_episodes=1, compile="off", run_dir=str(tmp_path))
    assert (plan.mode, config.eval_every, config.cpu_threads) == ("eager", 0, 1)
    run = members.train(config, 2, "together", cache=None)
    assert run["wall_s"] > 0
    assert run["cpu_s"] > 0
    assert (run["compile_s"], len(run["each"])) == (0.0, 1)
    assert [(m["seed"], m["env_steps"], m["grad_steps"]) for m in run["members"]] == [(1, 200, 168), (2, 200, 168)]
    assert all(-2000 < m["eval_return_mean"] < 0 for m in run["members"])
    assert list(tmp_path.iterdir()) == []


def test_arrangements_take_turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(members, "TRAIN", FAKE_TRAIN)
    report = members.main([*BRIEF, "--members", "--repeats", "2", "--json", str(tmp_path / "m.json")])
    assert report["rows"] == []
    assert [(run["round"], run["arrangement"]) for run in report["runs"]] == [
        (i, arrangement) for i in (1, 2) for arrangement in ("together", "in turn", "at once")
    ]
    together, in_turn, at_once = report["runs"][:3]
    assert [len(run["each"]) for run in (together, in_turn, at_once)] == [1, 2, 2]
    assert [run["compile_s"] for run in (together, in_turn, at_once)] == [0.01, 0.02, 0.01]
    assert in_turn["wall_s"] == sum(each["wall_s"] for each in in_turn["each"])
    longest = max(each["wall_s"] for each in at_once["each"])
    assert longest <= at_once["wall_s"] < sum(each["wall_s"] for each in at_once["each"])
    rows = report["process_rows"]
    assert [row["returns"] for row in rows] == [
        {"1": -100.0, "2": -101.0}, {"1": -100.0, "2": -100.0}, {"1": -100.0, "2": -100.0}
    ]  # fmt: skip
    assert [row["grad_steps"] for row in rows] == [[168]] * 3
    assert not (tmp_path / "m.png").exists()


def test_a_process_that_fails_is_a_row_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    script = FAKE_TRAIN + "\nif config['seeds'] == 2: raise SystemExit('no room for two')"
    monkeypatch.setattr(members, "TRAIN", script)
    report = members.main([*BRIEF, "--members", "--repeats", "2"])
    assert len(report["runs"]) == 5  # the failing one is not run again
    together, in_turn, _ = report["process_rows"]
    assert together["error"] == "the process ended with status 1: no room for two"
    assert len(in_turn["values"]) == 2
    assert [ratio["to"] for ratio in report["process_ratios"]] == ["2 processes, one after the other"]


def test_wall_ratios_and_returns() -> None:
    runs = [make_run("together", 1, 6.0), make_run("in turn", 1, 10.0, 2.0), make_run("at once", 1, 8.0)]
    runs += [make_run("together", 2, 9.0), make_run("in turn", 2, 10.0, 2.0), make_run("at once", 2, 12.0)]
    found = members.compare(runs)
    together = found["process_rows"][0]
    assert (together["median"], together["min"], together["cpu_s"]["median"]) == (7.5, 6.0, 15.0)
    wall, at_once, parallel, bare = found["process_ratios"]
    assert wall["by_round"]["values"] == [0.6, 0.9]
    assert (bare["what"], bare["by_round"]["values"]) == ("without compiling", [5 / 8, 1.0])
    assert at_once["by_round"]["values"] == [0.75, 0.75]
    assert parallel["by_round"]["values"] == [0.8, 1.2]


def test_a_warm_cache_is_filled_for_one_and_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[int, int, Path | None]] = []

    def run_process(config: Any, cache: Path | None, running: processes.Running) -> dict[str, Any]:
        started.append((config.seeds, config.total_steps, cache))
        row = {"seed": 1, "env_steps": 1, "grad_steps": 1, "eval_return_mean": 0.0}
        return {"began": 0.0, "process_s": 1.0, "compile_s": 0.5, "mode": "compiled", "members": [row]}

    monkeypatch.setattr(members, "run_process", run_process)
    settings, _ = members.prepare(members.Settings(quick=True, repeats=1, device="cpu"))
    assert len(list(members.train_all(settings, "compiled"))) == 3
    assert [(seeds, steps) for seeds, steps, _ in started[:2]] == [(1, 33), (2, 33)]
    assert [seeds for seeds, *_ in started[2:7]] == [2, 1, 1, 1, 1]
    assert len({cache for *_, cache in started}) == 1
    started.clear()
    list(members.train_all(members.Settings(quick=True, compile_cache="cold", repeats=1, processes=(2,)), "compiled"))
    assert [seeds for seeds, *_ in started] == [2, 1, 1, 1, 1]
    assert {cache for *_, cache in started} == {None}


# Wrong calls ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--env", "Pendulun-v1"], "Pendulum-v1"),
        (["--total-steps", "10"], "learning_starts"),
        (["--transitions", "4"], "transitions must be at least batch_size (16), got 4"),
        (["--batch-size", "0"], "batch_size must be at least 1, got 0"),
        (["--hidden-dims", "0"], "hidden_dims must each be"),
    ],
)
def test_a_wrong_call_is_one_clear_line(args: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as error:
        members.main([*BRIEF, *args, "--json", str(tmp_path / "m.json")])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("members", (1, 1), "members must be different numbers of at least 1, got .1, 1."),
        ("members", (2, 4), "members must have 1 among them, .*, got .2, 4."),
        ("processes", (1,), "processes must be different numbers of at least 2, got .1,."),
    ],
)
def test_settings_out_of_range(name: str, value: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        members.Settings(**{name: value})
    with pytest.raises(ValueError, match="must not both be empty"):
        members.Settings(members=(), processes=())
