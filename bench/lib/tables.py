"""Tables of figures, for a terminal and for Markdown; and the tables of a report of rates."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from bench.lib.harness import Report, Row

WIDTH = 170  # of tables, in characters, where the output is no terminal
TEXT = 24  # characters of a cell that is no figure


@dataclass(frozen=True)
class Figures:
    """A table.

    Attributes:
        title: what it shows, with the unit.
        columns: their headings; all but the first are aligned right.
        rows: of texts, as many as columns.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def show(self) -> None:
        """Print it."""
        table = Table(title=self.title)
        for i, column in enumerate(self.columns):
            table.add_column(column, justify="right" if i else "left", no_wrap=i == 0)
        for row in self.rows:
            table.add_row(*row)
        Console(width=None if sys.stdout.isatty() else WIDTH).print(table)

    def markdown(self) -> str:
        """The table alone; columns that are empty in all rows are left out."""
        kept = [i for i in range(len(self.columns)) if i == 0 or any(row[i] for row in self.rows)]
        longest = [max((len(row[i]) for row in self.rows), default=0) for i in range(len(self.columns))]
        rules = ["---:" if i and longest[i] < TEXT else "---" for i in kept]
        lines = [[escape(self.columns[i]) for i in kept], rules]
        lines += [[escape(row[i]) for i in kept] for row in self.rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def show(tables: Sequence[Figures]) -> None:
    """Print them."""
    for table in tables:
        table.show()


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


def plural(count: int, noun: str) -> str:
    """`1 member`, `8 members`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def problem(row: Row) -> str:
    """Why a row has no figures, or not all of them, in one line."""
    return "; ".join(f"{why}: {str(row[why]).splitlines()[0][:150]}" for why in ("skipped", "error") if row.get(why))


def spread(row: Row, digits: int | None = None) -> list[str]:
    """Median, min and max; three empty cells where there are none."""
    return [number(row.get(key), digits) for key in ("median", "min", "max")]


# Rates --------------------------------------------------------------------------------------------------------------


def is_ours(name: str) -> bool:
    """Whether a row of this name is this program's."""
    return name.startswith("fastsac")


def rates(report: Report) -> list[Figures]:
    """The tables of a report whose results are `unit`, `rows` and `ratios`."""
    rows = [[r["name"], *spread(r, 1), problem(r) or notes(r.get("notes", {}))] for r in report["rows"]]
    found = [Figures(f"{report['bench']}: {report['unit']}", ["", "median", "min", "max", "notes"], rows)]
    rows = [
        [pair_name(r["of"], r["to"]), number(r["of_medians"], 2), *spread(r["by_round"], 2)] for r in report["ratios"]
    ]
    columns = ["", "of medians", "by round: median", "min", "max"]
    return [*found, Figures("ratios", columns, rows)] if rows else found


def notes(told: Row) -> str:
    """`mode compiled, compile_s 2.63`."""
    return ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in told.items())


def pair_name(of: str, to: str) -> str:
    """Two names as a ratio, with what both end on once: "a, 1 env" and "b, 1 env" are "a / b, 1 env"."""
    name, comma, case = of.partition(", ")
    return f"{name} / {to}" if comma and to.endswith(comma + case) else f"{of} / {to}"
