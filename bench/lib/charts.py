"""What the charts share: bars of rates, lines with ranges, and files that name the report they were drawn from."""

import hashlib
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image, UnidentifiedImageError

from bench.lib.harness import Report, Row
from bench.lib.tables import extent, is_ours, measured, plural, problem
from fastsac.report.style import COLOURS, INK, frame, new_figure, short_number

SOURCE, LOOK = "Source", "5"  # key in the file; count the other one up when charts are to be drawn anew
GREY, THEIRS = "#777777", "#A6A6A6"
LABEL_WIDTH, NOTE_WIDTH = 34, 118  # in characters
BAR, LINE = 0.42, 0.17  # inches of a bar with its gap, and of a line of text


# Files --------------------------------------------------------------------------------------------------------------


def origin(report: Report) -> str:
    """What a chart of this report is marked with."""
    content = json.dumps([LOOK, report], sort_keys=True)
    return f"fastsac bench {hashlib.sha256(content.encode()).hexdigest()}"


def is_current(report: Report, path: Path) -> bool:
    """Whether the chart at `path` was drawn from this report."""
    try:
        with Image.open(path) as image:
            return bool(image.info.get(SOURCE) == origin(report))
    except (FileNotFoundError, UnidentifiedImageError):
        return False


def save(figure: Figure, report: Report, path: Path) -> None:
    """Write the chart of a report; the same report gives the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, metadata={"Software": None, SOURCE: origin(report)})


def save_beside(file: Path | None, charts: dict[str, Figure], report: Report) -> None:
    """Write the charts beside the report's file, where there is one, and print where."""
    for name, figure in charts.items():
        if file is not None:
            save(figure, report, place(file, name))
            print(place(file, name))


def place(file: Path, name: str) -> Path:
    """Where a report's chart of this name is: beside it, with its stem."""
    return file.with_name(f"{file.stem}-{name}.png" if name else f"{file.stem}.png")


# All ----------------------------------------------------------------------------------------------------------------


def sign(figure: Figure, report: Report, more: str = "") -> Figure:
    """Say below on what it was measured, in a line of its own."""
    machine, commit, threads = report["machine"], report.get("commit"), report["settings"].get("threads")
    on_gpu = machine["gpu"] and report["settings"].get("device") != "cpu"
    told = [
        machine["gpu"]["name"] if on_gpu else machine["cpu"],
        plural(machine["cores"], "CPU core"),
        f"torch {report['versions']['torch']}",
        f"fastsac {commit[:7] if commit else report['versions'].get('fastsac', '')}",
        *([f"{plural(threads, 'thread')} of torch"] if threads else []),
    ]
    figure.text(0.012, 0.08 / figure.get_figheight(), ", ".join(told) + more, fontsize=7, color=GREY)
    return figure


def room_below(figure: Figure, inches: float) -> None:
    """Keep the panels so far from the lower end, where text is."""
    share = inches / figure.get_figheight()
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1, rect=(0, share, 1, 1 - share))


def ranges(rows: Sequence[Row]) -> list[list[float]]:
    """From the medians down to the min and up to the max, as matplotlib's bars of errors have them."""
    return [[row["median"] - row["min"] for row in rows], [row["max"] - row["median"] for row in rows]]


# Bars ---------------------------------------------------------------------------------------------------------------


def rates(report: Report) -> dict[str, Figure]:
    """Medians of a report's `rows` in its `unit`, as bars from min to max; below what was not measured, and why.

    A few rows, and those of earlier commits, are no chart.
    """
    rows = measured(report["rows"])
    if len(rows) < 4 or report["settings"].get("before"):
        return {}
    absent = [row for row in report["rows"] if row not in rows]
    notes = [textwrap.shorten(f"{row['name']}: {problem(row)}", NOTE_WIDTH, placeholder=" ...") for row in absent]
    below = LINE * (len(notes) + 2)
    figure = new_figure(8.5, 1.2 + BAR * len(rows) + below, f"{report['unit']} (more is better)")
    room_below(figure, below)
    draw_bars(figure.subplots(), rows)
    for i, note in enumerate(notes):
        figure.text(0.012, (LINE * (len(notes) - i) + 0.2) / figure.get_figheight(), note, fontsize=8, color=INK)
    return {"": sign(figure, report, f"; median of {len(rows[0]['values'])} rounds, from min to max")}


def draw_bars(axes: Axes, rows: Sequence[Row]) -> None:
    """This program in one colour, the others in another; each with its figure."""
    colours = [COLOURS[0] if is_ours(row["name"]) else THEIRS for row in rows]
    line: dict[str, Any] = {"ecolor": INK, "elinewidth": 1.1, "capsize": 3}
    axes.barh(range(len(rows)), [row["median"] for row in rows], 0.68, color=colours, xerr=ranges(rows), error_kw=line)
    for y, row in enumerate(rows):
        place: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8.5, "color": INK}
        axes.annotate(extent(row), (row["max"], y), (6, 0), **place)
    axes.set_yticks(range(len(rows)), [textwrap.fill(row["name"], LABEL_WIDTH) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1.32 * max(row["max"] for row in rows))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(short_number))
    frame(axes, "x")
    axes.spines["bottom"].set_visible(False)
