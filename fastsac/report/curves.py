"""Learning curves of runs as one image: return against environment steps and against wall seconds.

Draws what `fastsac.report.runs` reads, without any display, and holds the look of all pictures.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fastsac.report.runs import (
    COLOURS,
    OTHER,
    Array,
    Curve,
    Group,
    Run,
    Source,
    make_groups,
    read_runs,
    seeds_text,
    tasks,
)
from fastsac.report.statistics import LEAST_RUNS, iqm, iqm_interval

__all__ = ["COLOURS", "FAINT", "INK", "MINUS", "Array", "draw", "plot", "short_number", "tidy"]

AXES = ("env_steps", "wall_s")
MOST_MARKERS = 40
ROOMY = 4
"""Groups of a panel that leave room for markers and training episodes."""
LETTERS_PER_INCH = 13.6
"""Of legends."""
MINUS = "\N{MINUS SIGN}"
INK, FAINT = "#333333", "#D9D9D9"


def plot(runs: Sequence[Source], out: str | Path | None = None) -> Path:
    """Draw the learning curves of one or more runs.

    Members that differ only in their seed are drawn as one, whether of one run or of several: the interquartile mean
    over them and its 95% bootstrap interval; of two members the mean and their range, of one the deviation over its
    episodes.  Of more than eight settings the best six by final return are in colour.  Members of one run train
    together, so wall seconds are what all of them took, not what one would take alone.

    Args:
        runs: what `fastsac train` wrote.
        out: the file to write; its suffix decides the format.  Default RUN_DIR/curves.png, or curves.png in the
            current folder for several runs.

    Returns:
        The file written.  Returns by setting of a sweep are a picture of their own: `fastsac.report.sweep_charts`.

    Raises:
        ValueError: no run, not a run directory, nothing to draw yet, or an unknown format.
    """
    read = read_runs(runs)
    return save(draw(make_groups(read)), default_path(read, "curves.png") if out is None else Path(out))


def default_path(runs: list[Run], name: str) -> Path:
    """In the run directory, or in the current folder for several."""
    return runs[0].path / name if len(runs) == 1 else Path(name)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that arranges itself and needs no display."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write the picture, and its folder; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


# Panels -----------------------------------------------------------------------------------------------------------


def draw(groups: list[Group]) -> Figure:
    """Two panels per environment with a common y axis, and the legend below them."""
    names = tasks(groups)
    handles = [*group_handles(groups), *line_handles(groups)]
    figure = new_figure(11, 0.9 + 3.6 * len(names))
    add_legend(figure, handles)
    for task, panels in zip(names, figure.subplots(len(names), 2, sharey="row", squeeze=False), strict=True):
        mine = [group for group in groups if group.task == task]
        for group in mine:
            draw_group(panels, group, len(mine) <= ROOMY)
        for axes, axis in zip(panels, AXES, strict=True):
            tidy(axes, "environment steps" if axis == "env_steps" else wall_label(mine))
        panels[0].set_ylabel("return per episode" if len(names) == 1 else f"{task}\nreturn per episode", color=INK)
    figure.suptitle(title(groups), fontsize=13, fontweight="bold", color=INK)
    return figure


def draw_group(panels: Sequence[Axes], group: Group, roomy: bool) -> None:
    """Training episodes thin and faint, evaluations thick on a band; a thin line for one that is not in colour."""
    if shows_episodes(group, roomy):
        steps, returns = stack(group.episodes)
        for axes, axis in zip(panels, AXES, strict=True):
            x = along(group.episodes, steps, axis)
            axes.plot(x, iqm(returns), color=group.colour, linewidth=0.9, alpha=0.4, zorder=2)
    if not group.evals:
        return
    steps, returns = stack(group.evals)
    middle = iqm(returns)
    if group.colour == OTHER:
        for axes, axis in zip(panels, AXES, strict=True):
            axes.plot(along(group.evals, steps, axis), middle, color=OTHER, linewidth=0.8, zorder=1)
        return
    low, high = band(group.evals, returns)
    marker: dict[str, Any] = {"marker": "o", "markersize": 4.5, "markeredgecolor": "white", "markeredgewidth": 0.7}
    style = marker if roomy and len(steps) <= MOST_MARKERS else {}
    for axes, axis in zip(panels, AXES, strict=True):
        x = along(group.evals, steps, axis)
        axes.fill_between(x, low, high, color=group.colour, alpha=0.16 if roomy else 0.1, linewidth=0, zorder=2)
        axes.plot(x, middle, color=group.colour, linewidth=1.9, zorder=4, **style)
        draw_tails(axes, group, axis, steps[-1] if steps.size else 0.0)


def draw_tails(axes: Axes, group: Group, axis: str, end: float) -> None:
    """What members did alone after another one of the group had ended."""
    for curve in group.evals:
        tail = curve.env_steps >= end
        if tail.sum() > 1:
            axes.plot(curve.x(axis)[tail], curve.mean[tail], color=group.colour, linewidth=0.8, zorder=3)


def band(evals: Sequence[Curve], returns: Array) -> tuple[Array, Array]:
    """Lower and upper edge around the line of a group, [rows] each; `evaluation_label` says what they are.

    Args:
        evals: evaluations of the members.
        returns: the same on common steps, [members, rows].
    """
    if len(evals) == 1:
        return returns[0] - evals[0].std, returns[0] + evals[0].std
    if len(evals) < LEAST_RUNS:
        return returns.min(0), returns.max(0)
    return iqm_interval(returns)


def stack(curves: Sequence[Curve]) -> tuple[Array, Array]:
    """Put curves on common environment steps, as far as all of them go.

    Returns:
        Steps [rows] of the curve with the most rows, and returns [curves, rows].
    """
    start, end = max(c.env_steps[0] for c in curves), min(c.env_steps[-1] for c in curves)
    steps = max((c.env_steps for c in curves), key=len)
    steps = steps[(steps >= start) & (steps <= end)]
    return steps, np.stack([np.interp(steps, c.env_steps, c.mean) for c in curves])


def along(curves: Sequence[Curve], steps: Array, axis: str) -> Array:
    """Where the steps lie on an axis: the mean over curves, [rows]."""
    x: Array = np.stack([np.interp(steps, c.env_steps, c.x(axis)) for c in curves]).mean(0)
    return x


def tidy(axes: Axes, x_name: str) -> None:
    """Few ticks, short numbers, a light grid, no frame on top and right."""
    axes.set_xlabel(x_name, color=INK)
    axes.set_xlim(left=0)
    axes.grid(color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(colors=INK, length=0, labelsize=9)
    for ticks in (axes.xaxis, axes.yaxis):
        ticks.set_major_formatter(FuncFormatter(short_number))
        ticks.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))


def short_number(value: float, _: Any = None) -> str:
    """`2.5k`, `12M`, `150`, with a real minus sign."""
    units = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
    size, unit = next((u for u in units if abs(value) >= u[0]), (1.0, ""))
    return f"{value / size:g}{unit}".replace("-", MINUS)


# Words ------------------------------------------------------------------------------------------------------------


def title(groups: list[Group]) -> str:
    """What all groups have in common."""
    names, seeds = tasks(groups), {seeds_text(group) for group in groups}
    return ", ".join([names[0] if len(names) == 1 else "Learning curves", *(seeds if len(seeds) == 1 else ())])


def wall_label(groups: list[Group]) -> str:
    """Name of the time axis, with how many agents shared it."""
    together = {run.config.num_members for group in groups for run in group.runs}
    if together == {1}:
        return "wall seconds"
    return f"wall seconds, {f'all {together.pop()}' if len(together) == 1 else 'all'} members of a run together"


def shows_episodes(group: Group, roomy: bool) -> bool:
    """Training episodes are drawn where there is room for them, or where they are all there is."""
    return bool(group.episodes) and group.colour != OTHER and (roomy or not group.evals)


def add_legend(figure: Figure, handles: list[Artist]) -> None:
    """Below the panels, where no data is, in as many columns as fit; the figure grows by its height."""
    widths = [len(str(handle.get_label())) + 8 for handle in handles]
    columns = len(handles)
    room = LETTERS_PER_INCH * figure.get_figwidth()
    while columns > 1 and sum(map(max, np.array_split(widths, columns))) > room:
        columns -= 1
    figure.set_figheight(figure.get_figheight() + 0.1 + 0.2 * math.ceil(len(handles) / columns))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, labelcolor=INK, fontsize=9)


def group_handles(groups: list[Group]) -> list[Artist]:
    """One per colour; none where there is only one."""
    if len(groups) == 1:
        return []
    several = len(tasks(groups)) > 1
    others = sum(group.colour == OTHER for group in groups)
    handles: list[Artist] = []
    for group in groups:
        if group.colour != OTHER:
            name = ", ".join([*([group.task] if several else []), *([group.label] if group.label else [])])
            handles.append(Line2D([], [], color=group.colour, linewidth=4, label=name))
    if others:
        handles.append(Line2D([], [], color=OTHER, linewidth=1.5, label=f"{others} other settings"))
    return handles


def line_handles(groups: list[Group]) -> list[Artist]:
    """What thick and thin lines are."""
    colour = groups[0].colour if len(groups) == 1 else "#666666"
    handles: list[Artist] = [
        Line2D([], [], color=colour, linewidth=2, marker="o", markersize=4.5, label=label)
        for label in evaluation_labels(groups)
    ]
    counts = {task: sum(group.task == task for group in groups) for task in tasks(groups)}
    if any(shows_episodes(group, counts[group.task] <= ROOMY) for group in groups):
        handles.append(Line2D([], [], color=colour, linewidth=0.9, alpha=0.5, label="training episodes"))
    return handles


def evaluation_labels(groups: list[Group]) -> list[str]:
    """What thick lines and their bands stand for: one text, or more where groups have one, two and more seeds."""
    drawn = [group for group in groups if group.evals and group.colour != OTHER]
    counts = {min(len(group.evals), LEAST_RUNS) for group in drawn}
    episodes = {group.config.eval_episodes for group in drawn}
    number = f"{episodes.pop()} " if len(episodes) == 1 else ""
    texts = {
        LEAST_RUNS: "interquartile mean over seeds, band: 95% bootstrap interval",
        2: "mean of two seeds, band: their range",
        1: f"mean of {number}episodes{' of one seed' if len(counts) > 1 else ''}, band: one standard deviation",
    }
    return [f"evaluation: {text}" for count, text in texts.items() if count in counts]
