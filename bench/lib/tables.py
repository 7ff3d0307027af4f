"""Tables of figures: a terminal and the results page show the same ones."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from bench.lib.harness import Report, Row

WIDTH = 170  # of tables, in characters, where the output is no terminal
RATIO = "fastsac is so many times as fast"
TEXT = 28  # characters of a cell that is no figure


@dataclass(frozen=True)
class Figures:
    """A table.

    Attributes:
        title: what the rows are figures of; on the results page it heads the first column.
        columns: headings of the other columns; the last one may be of notes.
        rows: of texts, each with its name first.
        heading: under which the results page has it; without one it has it not.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    heading: str = ""

    def show(self) -> None:
        """Print it."""
        table = Table(title=self.title)
        for i, column in enumerate(["", *self.columns]):
            table.add_column(column, justify="right" if i else "left", no_wrap=i == 0)
        for row in self.rows:
            table.add_row(*row)
        Console(width=None if sys.stdout.isatty() else WIDTH).print(table)

    def markdown(self, machine: str) -> str:
        """The table for the page, without columns that are empty and rows that have a name and notes alone."""
        heads = [f"{self.title} on {machine}", *self.columns]
        rows = [row for row in self.rows if any(row[1:-1] or row[1:])]
        kept = [i for i in range(len(heads)) if i == 0 or any(row[i] for row in rows)]
        rules = ["---:" if i and all(len(row[i]) < TEXT for row in rows) else "---" for i in kept]
        lines = [[escape(heads[i]) for i in kept], rules, *([escape(row[i]) for i in kept] for row in rows)]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def rates(report: Report, heading: str) -> list[Figures]:
    """The rows of a report in its `unit`, and how many times as fast the first row of this program is."""
    about = report["settings"]
    ratios = {r["to"]: extent(r["by_round"], 2) for r in reversed(report["ratios"])}
    rows = [[row["name"], extent(row), ratios.get(row["name"], ""), problem(row)] for row in report["rows"]]
    heading = "" if about.get("before") else heading  # for who changes the code, on the terminal
    return [Figures(about.get("env", "updates alone"), [report["unit"], RATIO, "notes"], rows, heading)]


# Cells --------------------------------------------------------------------------------------------------------------


def escape(text: str) -> str:
    """Text that a cell or a line may hold, without meaning for Markdown or HTML; `**` and links stay."""
    one_line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([|`\\]|(?<!\w)_|_(?!\w))", r"\\\1", one_line)


def number(value: float | None, digits: int | None = None) -> str:
    """`12,345`, `123`, `12.3`, `0.123`: three or more digits, or so many after the point; nothing for None."""
    if value is None:
        return ""
    if digits is None:
        size = abs(value)
        digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"


def extent(row: Row, digits: int | None = None) -> str:
    """`2.21 (2.15 to 2.33)`: the median of the rounds, and their range; nothing where there are none."""
    median, low, high = (number(row.get(key), digits) for key in ("median", "min", "max"))
    return median if low == high else f"{median} ({low} to {high})"


def plural(count: int, noun: str) -> str:
    """`1 member`, `8 members`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def problem(row: Row) -> str:
    """Why a row has no figures, or not all of them, in one line."""
    return "; ".join(f"{why}: {str(row[why]).splitlines()[0][:150]}" for why in ("skipped", "error") if row.get(why))


def measured(rows: Sequence[Row]) -> list[Row]:
    """Those with figures."""
    return [row for row in rows if "median" in row]


def is_ours(name: str) -> bool:
    """Whether a row of this name is this program's."""
    return name.startswith("fastsac")
