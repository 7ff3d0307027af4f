"""Stored reports, as the results page gets them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.lib.charts import place
from bench.lib.harness import Report, Row
from bench.lib.tables import escape, number


@dataclass(frozen=True)
class Result:
    """A file of results.

    Attributes:
        path: of the JSON file, in a folder with the machine's name.
        report: what it holds.
        problem: why it cannot be shown; empty where it can.
    """

    path: Path
    report: Report = field(default_factory=dict)
    problem: str = ""

    @property
    def machine(self) -> str:
        """The folder's name."""
        return self.path.parent.name

    @property
    def name(self) -> str:
        """`cpu2/update`."""
        return f"{self.machine}/{self.path.stem}"

    def picture(self, chart: str, alt: str) -> str:
        """One of the report's charts, in Markdown."""
        return f"![{escape(alt)}](results/{self.machine}/{place(self.path, chart).name})"


def first_of_each(results: Sequence[Result], *keys: str) -> list[Result]:
    """Of every machine the first that has something under one of the keys."""
    found: dict[str, Result] = {}
    for result in results:
        if any(result.report.get(key) for key in keys):
            found.setdefault(result.machine, result)
    return list(found.values())


def extent(row: Row, digits: int | None = None) -> str:
    """`2.21 (2.15 to 2.33)`: the median of the rounds, and their range."""
    return "{} ({} to {})".format(*(number(row[key], digits) for key in ("median", "min", "max")))


def measured(report: Report, key: str = "rows") -> list[Row]:
    """The rows with figures."""
    return [row for row in report.get(key, []) if "median" in row]
