"""bench.startup: whole processes are timed to their first row, and compiling pays when it should."""

import json
import os
import sys
from pathlib import Path

import pytest

from bench import startup
from bench.lib import harness
from tests.support.figures import widths

CACHE_DIR = "TORCHINDUCTOR_CACHE_DIR"


@pytest.mark.slow
def test_startup_times_whole_processes(tmp_path: Path) -> None:
    path = tmp_path / "startup.json"
    args = ["--envs", "Pendulum-v1", "--ways", "off", "--peers", "none", "--sizes", "--json", str(path)]
    tiny = ["--args=--hidden-dims 8 --batch-size 8 --no-tensorboard --utd-ratio 0.05"]
    report = startup.main([*args, *tiny, "--repeats", "1", "--device", "cpu", "--threads", "1"])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    (row,) = report["rows"]
    assert row["name"] == "Pendulum-v1: --compile off"
    assert 0.5 < row["median"] < 100
    (figure,) = startup.draw(report).values()
    assert widths(figure.axes[0]) == [row["median"]]
    assert figure.axes[0].get_title() == "seconds from the command to the row of 1,000 steps (less is better)"


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-c", "raise SystemExit('unknown command')"]
    with pytest.raises(SystemExit, match=r"training ended with status 1: unknown command"):
        startup.seconds_to_row(command, tmp_path, dict(os.environ))


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
    row: harness.Row = {"name": "pendulum", "compile_cold_s": seconds, "compile_warm_s": seconds}
    row |= {"eager_updates_per_s": rate, "compiled_updates_per_s": rate}
    row |= {"pays_after_cold": 5_300, "pays_after_warm": None}
    table = startup.compiling({"compiles": [row], "constant_in_plan": 8_000})
    assert table.rows == [["pendulum", "20.0", "20.0", "1.00", "1.00", "5,300", "never"]]


def test_what_is_wrong_is_one_line() -> None:
    with pytest.raises(ValueError, match="ways must have cold where they have warm"):
        startup.Settings(ways=("warm",))
    with pytest.raises(SystemExit, match=r"^bench\.startup: unknown envpool id 'Nothing-v0'") as error:
        startup.main(["--envs", "Nothing-v0", "--device", "cpu", "--threads", "1"])
    assert "\n" not in str(error.value)
