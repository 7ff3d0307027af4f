"""bench.startup: whole processes are timed to their first row, and compiling pays when it should."""

import json
from pathlib import Path

import pytest

from bench import startup
from bench.lib import harness


@pytest.mark.slow
def test_startup_times_whole_processes(tmp_path: Path) -> None:
    path = tmp_path / "startup.json"
    args = ["--envs", "Pendulum-v1", "--peers", "none", "--sizes", "--json", str(path)]
    report = startup.main([*args, "--repeats", "1", "--device", "cpu", "--threads", "1"])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    cold, warm, off = report["rows"]
    assert cold["name"] == "Pendulum-v1: empty compile cache"
    assert max(warm["median"], off["median"]) < cold["median"] < 200


@pytest.mark.slow
def test_what_compiling_costs_is_told_by_the_processes() -> None:
    row = startup.compiling(startup.Settings(repeats=1, seconds=0.1), "pendulum", "eager", "cpu")
    assert (row["compile_cold_s"]["values"], row["compile_warm_s"]["values"]) == ([0.0], [0.0])
    assert row["eager_updates_per_s"]["min"] > 0


def test_updates_until_compiling_has_paid() -> None:
    assert startup.pays_after(compile_s=20.0, saved_s=0.003) == 6667  # 6666.7 rounded up
    assert startup.pays_after(compile_s=20.0, saved_s=0.0) is None
    assert startup.pays_after(compile_s=20.0, saved_s=-0.001) is None


def test_compiling_is_a_table() -> None:
    rate, seconds = harness.summary([1000.0]), harness.summary([20.0])
    row: harness.Row = {"name": "pendulum", "compile_cold_s": seconds, "compile_warm_s": seconds}
    row |= {"eager_updates_per_s": rate, "compiled_updates_per_s": rate}
    row |= {"pays_after_cold": 5_300, "pays_after_warm": None}
    (table,) = startup.figures({"rows": [], "compiles": [row]})
    assert table.rows == [["pendulum", "20.0", "20.0", "1.00", "1.00", "5,300", "never"]]


def test_what_is_wrong_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"sizes must be of pendulum, .*, got ant"):
        startup.Settings(sizes=("ant",))
    with pytest.raises(SystemExit, match=r"^bench\.startup: unknown envpool id 'Nothing-v0'") as error:
        startup.main(["--envs", "Nothing-v0", "--device", "cpu", "--threads", "1"])
    assert "\n" not in str(error.value)
