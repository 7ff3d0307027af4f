"""The members' benchmark: its arithmetic, its order, and that both parts run with tiny sizes."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench import members
from bench.lib import charts, harness, processes
from tests.support.figures import x_of

TINY = ["--env", "Pendulum-v1", "--args=--hidden-dims 8 8 --batch-size 8 --compile off --total-steps 600"]
BRIEF = [*TINY, "--device", "cpu", "--threads", "1", "--seconds", "0.02"]


@pytest.mark.slow
def test_both_parts_run_with_tiny_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "m.json"
    args = ["--members", "1", "2", "--processes", "2", "--repeats", "1", "--json", str(path)]
    report = members.main([*BRIEF, *args])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    assert (report["mode"], report["sizes"]["batch_size"]) == ("eager", 8)
    one, two = report["rows"]
    assert one["cost"]["by_round"]["values"] == [1.0]
    assert two["cost"]["by_round"]["values"] == [a / b for a, b in zip(one["values"], two["values"], strict=True)]
    together, in_turn, at_once = report["process_rows"]
    assert together["name"] == "2 members in one process"
    assert min(row["cpu_s"]["min"] for row in (together, in_turn, at_once)) > 1.0
    assert "2 members" in capsys.readouterr().out
    (figure,) = members.draw(report).values()
    assert x_of(figure.axes[0].containers[0][0]) == [1, 2]
    assert charts.is_current(report, path.with_suffix(".png"))


@pytest.mark.parametrize("compiled", [True, False])
def test_arrangements_take_turns(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, ...]] = []

    def train(folder: Path, *flags: str, cache: Path) -> float:
        started.append(flags)
        time.sleep(0.1)
        return 0.1

    monkeypatch.setattr(processes, "train", train)
    flags = ["--args=--compile on"] if compiled else []
    report = members.main([*BRIEF, *flags, "--members", "--processes", "3", "--repeats", "1"])
    ends = [words[-1] for words in started]
    if compiled:  # the cache is filled first
        assert (ends.pop(0), ends.pop(0)) == ("501", "501")
    assert ends[:4] == ["3", "1", "2", "3"]  # --seeds 3; --seed 1, 2, 3
    assert sorted(ends[4:]) == ["1", "2", "3"]
    together, in_turn, at_once = (row["median"] for row in report["process_rows"])
    assert together < in_turn > 0.3 > at_once


def test_what_fails_is_a_row_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def train_all(runs: Sequence[Sequence[str]], at_once: int, cache: Path) -> float:
        if len(runs) == 1:
            raise harness.Failed("no room for two")
        return 1.0

    monkeypatch.setattr(members, "train_all", train_all)
    together, in_turn, _ = members.main([*BRIEF, "--members", "--repeats", "2"])["process_rows"]
    assert together == {"name": "4 members in one process", "error": "no room for two"}
    assert (in_turn["values"], len(in_turn["cpu_s"]["values"])) == ([1.0, 1.0], 2)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--env", "Pendulun-v1"], "Pendulum-v1"),
        (["--args=--batch-size 0"], "batch_size must be at least 1, got 0"),
        (["--members", "0"], "members must be at least 1, got (0,)"),
        (["--processes", "2", "2"], "processes must be different, got (2, 2)"),
    ],
)
def test_a_wrong_call_is_one_clear_line(args: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as error:
        members.main([*BRIEF, *args, "--json", str(tmp_path / "m.json")])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
