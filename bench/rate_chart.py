"""The chart of a report of rates or other figures: a bar per row, with its range, in one panel per unit."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench import harness
from bench.gpu_show import source
from fastsac.report.style import COLOURS, INK, frame, short_number

OURS, THEIRS = COLOURS[0], "#A6A6A6"
LABEL_WIDTH, NOTE_WIDTH = 34, 118  # in characters
BAR, LINE = 0.42, 0.17  # inches of a bar with its gap, and of a line of text


@dataclass(frozen=True)
class Panel:
    """What shares an axis.

    Attributes:
        unit: of its figures.
        rows: with `median`, `min` and `max`, or with `skipped` or `error` where nothing was measured.
    """

    unit: str
    rows: Sequence[harness.Row]

    @property
    def bars(self) -> list[harness.Row]:
        """The rows that have figures."""
        return [row for row in self.rows if "median" in row]


def panels_of(report: harness.Report) -> list[Panel]:
    """The one panel of a report whose results are `unit`, `rows` and `ratios`; none of another."""
    if not {"unit", "rows", "ratios"} <= report.keys():
        return []
    panel = Panel(report["unit"], report["rows"])
    return [panel] if panel.bars and all({"name", "min", "max"} <= row.keys() for row in panel.bars) else []


def alt_text(panels: Sequence[Panel]) -> str:
    """The chart in words."""
    told = (f"{p.unit}: " + ", ".join(f"{row['name']} {number(row['median'])}" for row in p.bars) for p in panels)
    return f"Bars of {'; '.join(told)}"


def draw(report: harness.Report, panels: Sequence[Panel]) -> Figure:
    """Medians as horizontal bars with whiskers from min to max; below them what was not measured, and why."""
    notes = [
        textwrap.shorten(f"{row['name']}: {row.get('skipped') or row.get('error')}", NOTE_WIDTH, placeholder=" ...")
        for panel in panels
        for row in panel.rows
        if "median" not in row
    ]
    below = LINE * (len(notes) + 2)
    panels = [panel for panel in panels if panel.bars]
    heights = [0.85 + BAR * len(panel.bars) for panel in panels]
    height = sum(heights) + 0.35 + below
    figure = Figure(figsize=(8.5, height))
    FigureCanvasAgg(figure)
    share = below / height
    figure.set_layout_engine("constrained", rect=(0.01, share, 0.98, 1 - share - 0.01), hspace=0.06)
    names = [row["name"] for panel in panels for row in panel.bars]
    all_ours = not any(map(harness.is_ours, names))  # nothing to tell apart
    column = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0] if panels else []
    for axes, panel in zip(column, panels, strict=True):
        axes.set_title(f"{panel.unit} ({better(panel.unit)})", fontsize=12, fontweight="bold", color=INK, pad=10)
        draw_bars(axes, panel.bars, all_ours)
    for i, note in enumerate(notes):
        figure.text(0.012, (LINE * (len(notes) - i) + 0.2) / height, note, fontsize=8, color=INK)
    threads = report["settings"].get("threads")
    on = f", {threads} thread{'s' * (threads > 1)} of torch" if threads else ""
    rounds = len(panels[0].bars[0].get("values", "")) if panels else 0
    of = f"; median of {rounds} rounds, whiskers from min to max" if rounds > 1 else ""
    figure.text(0.012, 0.08 / height, f"{source(report)}{on}{of}", fontsize=7, color="#777777")
    return figure


def draw_bars(axes: Axes, rows: Sequence[harness.Row], all_ours: bool) -> None:
    """This program in one colour, the others in another; each with its figure."""
    at, medians = range(len(rows)), [row["median"] for row in rows]
    error = [[row["median"] - row["min"] for row in rows], [row["max"] - row["median"] for row in rows]]
    colours = [OURS if all_ours or harness.is_ours(row["name"]) else THEIRS for row in rows]
    whiskers = {"ecolor": INK, "elinewidth": 1.1, "capsize": 3}
    axes.barh(at, medians, 0.68, color=colours, xerr=error, error_kw=whiskers)
    for y, row in zip(at, rows, strict=True):
        spread = f"  ({number(row['min'])} to {number(row['max'])})" if row["min"] < row["max"] else ""
        text = f"{number(row['median'])}{spread}"
        axes.annotate(text, (row["max"], y), (6, 0), textcoords="offset points", va="center", fontsize=8.5, color=INK)
    axes.set_yticks(at, [textwrap.fill(row["name"], LABEL_WIDTH) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1.32 * max(row["max"] for row in rows))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(short_number))
    frame(axes, "x")
    axes.spines["bottom"].set_visible(False)


def better(unit: str) -> str:
    """Which end of the axis is good."""
    return "more is better" if unit.endswith(("/s", "per second")) else "less is better"


def number(value: float) -> str:
    """Three or more digits: `12,345`, `123`, `12.3`, `0.123`."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"
