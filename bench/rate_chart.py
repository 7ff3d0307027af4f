"""The chart of a report whose results are `unit`, `rows` and `ratios`: a bar per row, with its range.

The file names the report that it was drawn from, so that one can see whether it still belongs to it.
"""

import hashlib
import json
import struct
import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench import harness
from bench.gpu_show import source
from fastsac.plot import COLOURS, FAINT, INK, short_number

OURS, THEIRS = COLOURS[0], "#A6A6A6"
SOURCE, LOOK = b"Source", "1"  # key in the file; count the other one up when charts are to be drawn anew
LABEL_WIDTH, NOTE_WIDTH = 34, 118  # in characters
BAR, LINE = 0.42, 0.17  # inches of a bar with its gap, and of a line of text


def is_drawable(report: harness.Report) -> bool:
    """Whether there is something to draw."""
    if not {"unit", "rows", "ratios"} <= report.keys():
        return False
    rows = [row for row in report["rows"] if "median" in row]
    return bool(rows) and all({"name", "min", "max"} <= row.keys() for row in rows)


def origin(report: harness.Report) -> str:
    """What a chart of this report is marked with."""
    content = json.dumps([LOOK, report], sort_keys=True)
    return f"bench.rate_chart {hashlib.sha256(content.encode()).hexdigest()}"


def is_current(report: harness.Report, path: Path) -> bool:
    """Whether the chart at `path` was drawn from this report, or by something else, which is then left alone."""
    if not path.exists():
        return False
    found = read_text(path.read_bytes(), SOURCE)
    return found == origin(report) or not (found or "").startswith("bench.rate_chart ")


def write(report: harness.Report, path: Path) -> None:
    """Draw the report; the same report gives the same file."""
    draw(report).savefig(path, dpi=150, metadata={"Software": None, SOURCE.decode(): origin(report)})


def read_text(png: bytes, key: bytes) -> str | None:
    """A text chunk of a PNG file, by its key."""
    at = 8  # behind the signature
    while at + 8 <= len(png):
        (length,), kind = struct.unpack(">I", png[at : at + 4]), png[at + 4 : at + 8]
        name, _, text = png[at + 8 : at + 8 + length].partition(b"\0")
        if kind == b"tEXt" and name == key:
            return text.decode("latin-1")
        at += length + 12
    return None


def alt_text(report: harness.Report) -> str:
    """The chart in words."""
    rows = [row for row in report["rows"] if "median" in row]
    return f"Bars of {report['unit']}: " + ", ".join(f"{row['name']} {number(row['median'])}" for row in rows)


def draw(report: harness.Report) -> Figure:
    """Medians as horizontal bars with whiskers from min to max; below them what was not measured, and why."""
    rows = [row for row in report["rows"] if "median" in row]
    notes = [
        textwrap.shorten(f"{row['name']}: {row.get('skipped') or row.get('error')}", NOTE_WIDTH, placeholder=" ...")
        for row in report["rows"]
        if "median" not in row
    ]
    below = LINE * (len(notes) + 2)
    height = 0.85 + BAR * len(rows) + 0.35 + below
    figure = Figure(figsize=(8.5, height))
    FigureCanvasAgg(figure)
    share = below / height
    figure.set_layout_engine("constrained", rect=(0.01, share, 0.98, 1 - share - 0.01))
    figure.suptitle(f"{report['unit']} ({better(report['unit'])})", fontsize=12, fontweight="bold", color=INK)
    draw_bars(figure.subplots(), rows)
    for i, note in enumerate(notes):
        figure.text(0.012, (LINE * (len(notes) - i) + 0.2) / height, note, fontsize=8, color=INK)
    settings = report["settings"]
    threads = settings.get("threads")
    on = f", {threads} thread{'s' * (threads > 1)} of torch" if threads else ""
    about = f"{source(report)}{on}; median of {len(rows[0].get('values', '?'))} rounds, whiskers from min to max"
    figure.text(0.012, 0.08 / height, about, fontsize=7, color="#777777")
    return figure


def draw_bars(axes: Axes, rows: list[harness.Row]) -> None:
    """This program in one colour, the others in another; each with its figure."""
    at, medians = range(len(rows)), [row["median"] for row in rows]
    error = [[row["median"] - row["min"] for row in rows], [row["max"] - row["median"] for row in rows]]
    colours = [OURS if harness.is_ours(row["name"]) else THEIRS for row in rows]
    whiskers = {"ecolor": INK, "elinewidth": 1.1, "capsize": 3}
    axes.barh(at, medians, 0.68, color=colours, xerr=error, error_kw=whiskers)
    for y, row in zip(at, rows, strict=True):
        text = f"{number(row['median'])}  ({number(row['min'])} to {number(row['max'])})"
        axes.annotate(text, (row["max"], y), (6, 0), textcoords="offset points", va="center", fontsize=8.5, color=INK)
    axes.set_yticks(at, [textwrap.fill(row["name"], LABEL_WIDTH) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1.32 * max(row["max"] for row in rows))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(short_number))
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color("#999999")
    axes.tick_params(colors=INK, length=0, labelsize=9)


def better(unit: str) -> str:
    """Which end of the axis is good."""
    return "more is better" if unit.endswith(("/s", "per second")) else "less is better"


def number(value: float) -> str:
    """Three or more digits: `12,345`, `123`, `12.3`, `0.123`."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"
