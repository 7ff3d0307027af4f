"""The look of the charts, bars of rates, and files that name the report they were drawn from."""

import hashlib
import json
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from PIL import Image, UnidentifiedImageError

from bench.lib.harness import Report, Row
from bench.lib.tables import is_ours, number, plural, problem
from fastsac.report.style import COLOURS, FAINT, INK, frame, short_number

SOURCE, LOOK = "Source", "3"  # key in the file; count the other one up when charts are to be drawn anew
GREY, THEIRS = "#777777", "#A6A6A6"
LABEL_WIDTH, NOTE_WIDTH = 34, 118  # in characters
BAR, LINE = 0.42, 0.17  # inches of a bar with its gap, and of a line of text
NICE = [1, 2, 2.5, 5, 10]  # steps between ticks


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
    """Write the charts beside the report's file, with its stem and their names, and print where."""
    for name, figure in charts.items() if file is not None else ():
        assert file is not None
        path = place(file, name)
        save(figure, report, path)
        print(path)


def place(file: Path, name: str) -> Path:
    """Where a report's chart of this name is: beside it, with its stem."""
    return file.with_name(f"{file.stem}-{name}.png" if name else f"{file.stem}.png")


# Lines --------------------------------------------------------------------------------------------------------------


def new_figure(title: str, panels: int = 1, height: float = 4.6) -> tuple[Figure, Any]:
    """An empty figure with a title, and its panel or panels."""
    figure = Figure(figsize=(7.5 if panels == 1 else 11, height))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", rect=(0.01, 0.05, 0.98, 0.93))
    figure.suptitle(title, fontsize=12, fontweight="bold", color=INK)
    return figure, figure.subplots(1, panels)


def sign(figure: Figure, report: Report, more: str = "") -> Figure:
    """Say below on what it was measured."""
    figure.text(0.012, 0.08 / figure.get_figheight(), source(report) + more, fontsize=7, color=GREY)
    return figure


def source(report: Report) -> str:
    """On what it was measured, in one line."""
    machine, commit, threads = report["machine"], report.get("commit"), report["settings"].get("threads")
    on_gpu = machine["gpu"] and report["settings"].get("device") != "cpu"
    device = machine["gpu"]["name"] if on_gpu else machine["cpu"]
    code = f"fastsac {commit[:7]}" if commit else f"fastsac {report['versions'].get('fastsac', '')}"
    told = f", {plural(threads, 'thread')} of torch" if threads else ""
    return f"{device}, {plural(machine['cores'], 'CPU core')}, torch {report['versions']['torch']}, {code}{told}"


def with_range(axes: Axes, x: Sequence[float], rows: Sequence[Row], **style: Any) -> None:
    """A line through the medians, with bars from min to max."""
    y = [row["median"] for row in rows]
    error = [[row["median"] - row["min"] for row in rows], [row["max"] - row["median"] for row in rows]]
    axes.errorbar(x, y, error, capsize=2, elinewidth=1, markersize=5, **style)


def powers_of_two(axes: Axes, values: Iterable[float]) -> None:
    """A logarithmic x axis with a tick at each value that was measured."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(values))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def finish(axes: Axes, x_name: str, y_name: str, log: bool = False) -> None:
    """Names, legend, light grid, and a y axis from 0 or a logarithmic one."""
    axes.set_xlabel(x_name, color=INK)
    axes.set_ylabel(y_name, color=INK)
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=NICE))
    axes.yaxis.set_major_formatter(FuncFormatter(short_number))
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=True, framealpha=0.9, edgecolor="white", fontsize=8.5, labelcolor=INK)


# Bars ---------------------------------------------------------------------------------------------------------------


def rates(report: Report) -> dict[str, Figure]:
    """Medians of a report's `rows` in its `unit`, as bars from min to max; below what was not measured, and why."""
    rows = [row for row in report["rows"] if "median" in row]
    if not rows:
        return {}
    absent = [row for row in report["rows"] if "median" not in row]
    notes = [textwrap.shorten(f"{row['name']}: {problem(row)}", NOTE_WIDTH, placeholder=" ...") for row in absent]
    below = LINE * (len(notes) + 2)
    height = 1.2 + BAR * len(rows) + below
    figure = Figure(figsize=(8.5, height))
    FigureCanvasAgg(figure)
    share = below / height
    figure.set_layout_engine("constrained", rect=(0.01, share, 0.98, 1 - share - 0.01))
    axes = figure.subplots()
    axes.set_title(f"{report['unit']} ({better(report['unit'])})", fontsize=12, fontweight="bold", color=INK, pad=10)
    draw_bars(axes, rows)
    for i, note in enumerate(notes):
        figure.text(0.012, (LINE * (len(notes) - i) + 0.2) / height, note, fontsize=8, color=INK)
    rounds = len(rows[0].get("values", ""))
    return {"": sign(figure, report, f"; median of {rounds} rounds, from min to max" if rounds > 1 else "")}


def draw_bars(axes: Axes, rows: Sequence[Row]) -> None:
    """This program in one colour, the others in another; each with its figure."""
    at, medians = range(len(rows)), [row["median"] for row in rows]
    error = [[row["median"] - row["min"] for row in rows], [row["max"] - row["median"] for row in rows]]
    mixed = any(is_ours(row["name"]) for row in rows)
    colours = [THEIRS if mixed and not is_ours(row["name"]) else COLOURS[0] for row in rows]
    axes.barh(at, medians, 0.68, color=colours, xerr=error, error_kw={"ecolor": INK, "elinewidth": 1.1, "capsize": 3})
    for y, row in zip(at, rows, strict=True):
        extent = f"  ({number(row['min'])} to {number(row['max'])})" if row["min"] < row["max"] else ""
        text = f"{number(row['median'])}{extent}"
        axes.annotate(text, (row["max"], y), (6, 0), textcoords="offset points", va="center", fontsize=8.5, color=INK)
    axes.set_yticks(at, [textwrap.fill(row["name"], LABEL_WIDTH) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1.32 * max(row["max"] for row in rows))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=NICE))
    axes.xaxis.set_major_formatter(FuncFormatter(short_number))
    frame(axes, "x")
    axes.spines["bottom"].set_visible(False)


def better(unit: str) -> str:
    """Which end of the axis is good."""
    return "more is better" if unit.endswith(("/s", "per second")) else "less is better"
