"""CSV files: what a resumed run keeps of older ones, and rows that do not have every column."""

import csv
from pathlib import Path

from fastsac.report.csv_sink import CsvSink
from fastsac.report.sinks import METRIC_COLUMNS

TIME_COLUMNS = ("env_wait_s", "device_wait_s", "host_s")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as f:
        return list(csv.DictReader(f))


def test_the_time_columns_are_the_last() -> None:
    assert METRIC_COLUMNS[-3:] == TIME_COLUMNS


def test_rows_of_an_older_version_are_kept_with_empty_cells(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    old = METRIC_COLUMNS[:-3]
    sink = CsvSink(path, old)
    for steps in (10, 20, 30):
        sink.write({**dict.fromkeys(old, 0.1), "member": 0, "env_steps": steps})
    sink.close()
    with path.open("a") as f:
        f.write("0,20,3")  # torn

    sink = CsvSink(path, METRIC_COLUMNS, keep=2)
    sink.write({**dict.fromkeys(METRIC_COLUMNS, 0.2), "member": 0, "env_steps": 25})
    sink.close()
    table = rows(path)
    assert all(tuple(row) == METRIC_COLUMNS for row in table)
    assert [row["env_steps"] for row in table] == ["10", "20", "25"]
    assert [row["alpha"] for row in table] == ["0.1", "0.1", "0.2"]
    assert [[row[name] for name in TIME_COLUMNS] for row in table] == [[""] * 3, [""] * 3, ["0.2"] * 3]

    CsvSink(path, METRIC_COLUMNS, keep=3).close()
    assert rows(path) == table


def test_missing_keys_are_empty_and_others_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    sink = CsvSink(path, METRIC_COLUMNS)
    sink.write({"member": 0, "env_steps": 10, "no_column": 1.0})
    sink.close()
    (row,) = rows(path)
    assert {name: value for name, value in row.items() if value} == {"member": "0", "env_steps": "10"}
