"""Final returns by setting as one image: a heat map of two settings, else a ranking with intervals."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from fastsac.report.ranking import Ranking, Score, number_format, rank
from fastsac.report.runs import Source, default_path, read_runs, short
from fastsac.report.statistics import Array
from fastsac.report.style import COLOURS, INK, MINUS, add_legend, new_figure, save, short_number, tidy

MOST_ROWS = 20
MOST_CELLS = 16  # values of a setting that fit side by side
BEST, NOT_BEST = COLOURS[1], COLOURS[0]
POINTS_PER_LETTER = 6.0
MISSING = "#EEEEEE"


def plot_sweep(runs: Sequence[Source], out: str | Path | None = None) -> Path | None:
    """Draw the final return of each setting, and return the file written; None where there is nothing to `rank`.

    Runs without a sweep take part.  `out` is RUN_DIR/sweep.png by default, or sweep.png for several runs.  Raises
    ValueError as `plot` of learning curves.
    """
    read = read_runs(runs)
    rankings = rank(read)
    return save(draw(rankings), Path(out or default_path(read, "sweep.png"))) if rankings else None


def beside(out: Path) -> Path:
    """Where the sweep goes when the curves go to `out`: `curves-sweep.png` for `curves.png`."""
    return out.with_name(f"{out.stem}-sweep{out.suffix}")


def shape(ranking: Ranking) -> str:
    """How a ranking is drawn: `grid`, `strip` or `rows`."""
    sizes = [len(ranking.values(name)) for name in ranking.names] if len(ranking.names) <= 2 else [math.inf]
    if max(sizes) > MOST_CELLS or 2 * len(ranking.scores) < math.prod(sizes):
        return "rows"
    return "grid" if len(sizes) == 2 else "strip"


def draw(rankings: list[Ranking]) -> Figure:
    """One panel per task, and the meaning of the marks below them."""
    widths, heights = zip(*map(size, rankings), strict=True)
    title = heading(rankings[0]) if len(rankings) == 1 else "Final return by setting"
    figure = new_figure(max(widths), sum(heights) + 0.5, title)
    add_legend(figure, make_handles(rankings))
    panels = figure.subplots(len(rankings), 1, squeeze=False, height_ratios=heights)
    for axes, ranking in zip(panels[:, 0], rankings, strict=True):
        {"grid": draw_grid, "strip": draw_strip, "rows": draw_rows}[shape(ranking)](axes, ranking)
        if len(rankings) > 1:
            axes.set_title(heading(ranking), color=INK, fontsize=11, loc="left")
    return figure


def heading(ranking: Ranking) -> str:
    """The task, and how much of its ranking there is room for."""
    count = len(ranking.scores)
    if shape(ranking) == "rows" and count > MOST_ROWS:
        return f"{ranking.task}: final return, the best {MOST_ROWS} of {count} settings"
    return f"{ranking.task}: final return by setting"


def size(ranking: Ranking) -> tuple[float, float]:
    """Width and height of a panel in inches."""
    counts = [len(ranking.values(name)) for name in ranking.names]
    if shape(ranking) == "grid":
        return max(6.5, 2.6 + 1.15 * max(counts)), 1.0 + 0.72 * min(counts)
    if shape(ranking) == "strip":
        return max(6.5, 1.5 + 0.9 * counts[0]), 4.0
    return 11.0, 1.2 + 0.27 * min(len(ranking.scores), MOST_ROWS)


def draw_grid(axes: Axes, ranking: Ranking) -> None:
    """Heat map of two settings, the one with more values from left to right."""
    x_name, y_name = sorted(ranking.names, key=lambda name: -len(ranking.values(name)))
    columns, rows = ranking.values(x_name), ranking.values(y_name)
    colours = ScalarMappable(*colour_range([score.iqm for score in ranking.scores]))
    for place, score in enumerate(ranking.scores):
        x, y = columns.index(score.setting[x_name]), rows.index(score.setting[y_name])
        draw_cell(axes, x, y, score, place == 0, colours, number_format(ranking, MINUS))
    axes.set(facecolor=MISSING, xlim=(-0.5, len(columns) - 0.5), ylim=(-0.5, len(rows) - 0.5))
    axes.set_xticks(range(len(columns)), [short(value) for value in columns])
    axes.set_yticks(range(len(rows)), [short(value) for value in rows])
    axes.set_xlabel(x_name, color=INK)
    axes.set_ylabel(y_name, color=INK)
    axes.tick_params(colors=INK, length=0)
    axes.spines[:].set_visible(False)
    bar = axes.figure.colorbar(colours, ax=axes, pad=0.03, aspect=16)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=INK, length=0, labelsize=8)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(short_number))
    bar.set_label("final return", color=INK)


def draw_cell(
    axes: Axes, x: int, y: int, score: Score, best: bool, colours: ScalarMappable, text: Callable[[float], str]
) -> None:
    """A square in the colour of the interquartile mean, which stands in it above the interval."""
    colour = colours.to_rgba(np.array(score.iqm))
    edge, width, weight = (BEST, 3, "bold") if best else ("white", 1, "normal")
    square = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor=edge, linewidth=width, clip_on=False)
    square.set_zorder(3 if best else 2)
    axes.add_patch(square)
    write = partial(axes.text, x, ha="center", va="center", color=ink_on(colour), zorder=4)
    known = math.isfinite(score.low)
    write(y + (0.13 if known else 0), text(score.iqm), fontsize=11, fontweight=weight)
    if known:
        write(y - 0.22, f"{text(score.low)} to {text(score.high)}", fontsize=7)


def ink_on(colour: Sequence[float] | Array) -> str:
    """The colour of text that can be read on another one, red, green and blue of which are in [0, 1]."""
    return "black" if np.dot(colour[:3], (0.299, 0.587, 0.114)) > 0.48 else "white"


def colour_range(values: Sequence[float]) -> tuple[Normalize, Colormap]:
    """From worst to best, but not far below the median: one setting that fails leaves the others apart."""
    best, median, worst = max(values), float(np.median(values)), min(values)
    low = max(worst, median - 3 * (best - median)) if best > median else worst
    return Normalize(low, best if best > low else low + 1), colormaps["viridis"]


def draw_strip(axes: Axes, ranking: Ranking) -> None:
    """One setting from left to right."""
    (name,) = ranking.names
    values = ranking.values(name)
    for place, score in enumerate(ranking.scores):
        draw_score(axes, score, values.index(score.setting[name]), place == 0, upright=True)
    tidy(axes, name)
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.set_xticks(range(len(values)), [short(value) for value in values])
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("final return", color=INK)


def draw_rows(axes: Axes, ranking: Ranking) -> None:
    """The best settings from top to bottom, with a column for each setting that differs."""
    scores = ranking.scores[:MOST_ROWS]
    text = number_format(ranking, MINUS)
    for place, score in enumerate(scores):
        draw_score(axes, score, place, place == 0, upright=False)
    tidy(axes, "final return")
    axes.set_xlim(auto=True)
    axes.autoscale(axis="x")
    axes.set_ylim(len(scores) - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    offset = -10.0
    for name in reversed(ranking.names):
        cells = [short(score.setting[name]) for score in scores]
        draw_column(axes, name, cells, 0, offset)
        offset -= POINTS_PER_LETTER * max(map(len, (name, *cells))) + 12
    draw_column(axes, "", [str(place) for place in range(1, len(scores) + 1)], 0, offset)
    means = [text(score.iqm) for score in scores]
    draw_column(axes, "IQM", means, 1, 14 + POINTS_PER_LETTER * max(map(len, means)))


def draw_column(axes: Axes, head: str, cells: list[str], x: float, offset: float) -> None:
    """Text beside the rows, its right edge some points from x in parts of the panel's width; the best in bold."""
    for y, cell in enumerate([head, *cells], start=-1):
        axes.annotate(
            cell, (x, y), (offset, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            ha="right", va="center_baseline", annotation_clip=False, fontsize=9,
            fontweight="bold" if y == 0 else "normal", color=INK if y >= 0 else "#777777",
        )  # fmt: skip


def draw_score(axes: Axes, score: Score, place: float, best: bool, upright: bool) -> None:
    """Dot on a line for the interquartile mean and its interval, small dots for the seeds."""
    colour = BEST if best else NOT_BEST

    def at(returns: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
        places = [place] * len(returns)
        return (places, returns) if upright else (returns, places)

    if score.seeds > 1:
        dots = at(score.returns.tolist())
        axes.plot(*dots, "o", color=colour, markersize=3.5, alpha=0.45, markeredgewidth=0, zorder=2)
    if math.isfinite(score.low):
        axes.plot(*at([score.low, score.high]), color=colour, linewidth=3, alpha=0.55, solid_capstyle="round", zorder=3)
    axes.plot(*at([score.iqm]), "o", color=colour, markersize=8, markeredgecolor="white", zorder=4)


def make_handles(rankings: list[Ranking]) -> list[Artist]:
    """The legend of numbers, dots and lines."""
    scores = [score for ranking in rankings for score in ranking.scores]
    known = any(math.isfinite(score.low) for score in scores)
    drawn = {shape(ranking) for ranking in rankings}
    square = partial(Rectangle, (0, 0), 1, 1)
    dot = partial(Line2D, [], [], color=NOT_BEST, linestyle="none", marker="o")
    handles: list[Artist] = []
    if "grid" in drawn:
        handles.append(square(facecolor=colormaps["viridis"](0.5), label=middle_text(scores)))
        if known:
            handles.append(square(fill=False, linewidth=0, label="small: 95% bootstrap interval"))
        handles.append(square(facecolor="white", edgecolor=BEST, linewidth=2, label="best"))
    if drawn == {"grid"}:
        return handles
    handles.append(dot(markersize=8, markeredgecolor="white", label=middle_text(scores)))
    if known:
        handles.append(Line2D([], [], color=NOT_BEST, linewidth=3, alpha=0.55, label="95% bootstrap interval"))
    if any(score.seeds > 1 for score in scores):
        handles.append(dot(markersize=3.5, alpha=0.45, markeredgewidth=0, label="one seed"))
    return handles


def middle_text(scores: Sequence[Score]) -> str:
    """The meaning of the figure of a setting."""
    counts = {score.seeds for score in scores}
    if counts == {1}:
        return "last evaluation"
    return f"interquartile mean (IQM) of the last evaluations of {f'{counts.pop()} ' if len(counts) == 1 else ''}seeds"
