"""bench.startup: parts lie between marks, compiling pays when it should, and whole processes are timed."""

import json
import os
from pathlib import Path

import pytest

from bench import startup
from bench.lib import harness, marks

CACHE_DIR = "TORCHINDUCTOR_CACHE_DIR"


def test_parts_lie_between_the_marks() -> None:
    rounds = [
        {"interpreter": 0.5, "imports": 2.0, "first update": 5.0, "log row": 6.0},
        {"interpreter": 0.5, "imports": 3.0, "first update": 5.5, "log row": 7.0},
    ]
    row = startup.parts(rounds)
    assert {name: part["values"] for name, part in row["parts"].items()} == {
        "interpreter": [0.5, 0.5], "imports": [1.5, 2.5], "first update": [3.0, 2.5], "log row": [1.0, 1.5],
    }  # fmt: skip
    assert row["until"]["log row"]["median"] == 6.5


def test_marks_are_kept_at_the_first_call_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)

    class Learner:
        grad_steps = 0

        def launch(self, due: int) -> None:
            self.grad_steps += due

    found_marks = marks.Marks(marks.ENTERED - 1.0, tmp_path / "marks.json", {"first update"})
    found_marks.after(Learner, "launch", "first update", when=lambda learner: learner.grad_steps > 0)
    learner = Learner()
    learner.launch(0)
    assert left == []
    learner.launch(2)
    assert left == [0]
    found = json.loads((tmp_path / "marks.json").read_text())
    assert found["interpreter"] == pytest.approx(1.0)
    assert found["first update"] > 1.0
    found_marks.mark("first update")  # once more, later
    assert json.loads((tmp_path / "marks.json").read_text()) == found


def test_startup_times_whole_processes(tmp_path: Path) -> None:
    path = tmp_path / "startup.json"
    args = [
        "--envs",
        "Pendulum-v1",
        "--ways",
        "off",
        "--peers",
        "none",
        "--sizes",
        "--json",
        str(path),
    ]
    tiny = ["--args=--hidden-dims 8 --batch-size 8 --no-tensorboard --utd-ratio 0.05"]
    report = startup.main([*args, *tiny, "--repeats", "1", "--device", "cpu", "--threads", "1"])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    (row,) = report["rows"]
    assert list(row["parts"]) == [
        "interpreter", "imports", "command line", "plan", "building", "files, reset", "first update", "log row",
    ]  # fmt: skip
    assert sum(part["median"] for part in row["parts"].values()) == pytest.approx(row["until"]["log row"]["median"])
    (figure,) = startup.draw(report).values()
    (axes,) = figure.axes
    assert [round(bar.get_width(), 6) for bar in axes.patches] == [
        round(part["median"], 6) for part in row["parts"].values()
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(row["parts"])


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    settings = startup.Settings(threads=1)
    with pytest.raises(startup.WorkerError, match=r"fastsac ended with status 2: .*unknown command 'trian'"):
        startup.run_worker(settings, "fastsac", ["trian"], tmp_path)


def test_updates_until_compiling_has_paid() -> None:
    assert startup.pays_after(compile_s=20.0, saved_s=0.003) == 6667  # 6666.7 rounded up
    assert startup.pays_after(compile_s=20.0, saved_s=0.0) is None
    assert startup.pays_after(compile_s=20.0, saved_s=-0.001) is None


def test_cache_dir_is_empty_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_DIR, "/before")
    monkeypatch.delenv("TMPDIR", raising=False)
    with startup.cache_dir():
        folder, temporary = Path(os.environ[CACHE_DIR]), Path(os.environ["TMPDIR"])
        assert not folder.exists()
        assert list(temporary.iterdir()) == []  # where torch keeps precompiled headers
    assert os.environ[CACHE_DIR] == "/before"
    assert "TMPDIR" not in os.environ
    assert not temporary.exists()


def test_compiling_is_a_table() -> None:
    rate, seconds = harness.summary([1000.0]), harness.summary([20.0])
    row = {"name": "pendulum", "compile_cold_s": seconds, "compile_warm_s": seconds, "eager_updates_per_s": rate}
    row |= {"compiled_updates_per_s": rate, "pays_after_cold": 5_300, "pays_after_warm": None}
    table = startup.compiling({"compiles": [row], "constant_in_plan": 8_000})
    assert table.rows == [["pendulum", "20.0", "20.0", "1.00", "1.00", "5,300", "never"]]


def test_what_is_wrong_is_one_line() -> None:
    with pytest.raises(ValueError, match="ways must have cold where they have warm"):
        startup.Settings(ways=("warm",))
    with pytest.raises(SystemExit, match=r"^bench\.startup: unknown envpool id 'Nothing-v0'") as error:
        startup.main(["--envs", "Nothing-v0", "--device", "cpu", "--threads", "1"])
    assert "\n" not in str(error.value)
