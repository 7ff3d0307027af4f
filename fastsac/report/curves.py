"""Learning curves of runs as one image: return against environment steps and against wall seconds."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fastsac.report.runs import OTHER, Curve, Group, Source, by_task, default_path, make_groups, read_runs, seeds_text
from fastsac.report.statistics import LEAST_RUNS, Array, iqm, iqm_interval
from fastsac.report.style import INK, add_legend, new_figure, save, tidy

AXES = ("env_steps", "wall_s")
MOST_MARKERS = 40
ROOMY = 4  # groups of a panel that leave room for markers and training episodes


def plot(runs: Sequence[Source], out: str | Path | None = None) -> Path:
    """Draw the learning curves of run directories, and return the file written.

    Members that differ only in their seed are drawn as one, whether of one run or of several, by their interquartile
    mean.  All bands of a picture mean the same, by its largest group: the 95% bootstrap interval of that mean from
    three members on, the range of two, the deviation over the episodes of one; smaller groups have none.  Of more than
    eight settings the best six by final return are in colour.  Members of one run train together, so wall seconds are
    those of all members together.

    Args:
        runs: run directories.
        out: its suffix decides the format.  Default RUN_DIR/curves.png, or curves.png for several runs.

    Raises:
        ValueError: no run, not a run directory, nothing to draw yet, or an unknown format.
    """
    read = read_runs(runs)
    return save(draw(make_groups(read)), Path(out or default_path(read, "curves.png")))


def draw(groups: list[Group]) -> Figure:
    """Two panels per environment with a common y axis, and the legend below them."""
    tasks, seeds = by_task(groups), {seeds_text(group) for group in groups}
    subject = next(iter(tasks)) if len(tasks) == 1 else "Learning curves"
    title = ", ".join([subject, *(seeds if len(seeds) == 1 else ())])
    figure = new_figure(11, 0.9 + 3.6 * len(tasks), title)
    add_legend(figure, [*group_handles(groups), *line_handles(groups)])
    rows = figure.subplots(len(tasks), 2, sharey="row", squeeze=False)
    seeds_of_bands = most_seeds(groups)
    for panels, (task, mine) in zip(rows, tasks.items(), strict=True):
        for group in mine:
            draw_group(panels, group, len(mine) <= ROOMY, seeds_of_bands)
        tidy(panels[0], "environment steps")
        tidy(panels[1], wall_label(mine))
        panels[0].set_ylabel("return per episode" if len(tasks) == 1 else f"{task}\nreturn per episode", color=INK)
    return figure


def draw_group(panels: Sequence[Axes], group: Group, roomy: bool, seeds_of_bands: int) -> None:
    """Training episodes thin and faint, evaluations thick on a band; a thin line for one that is not in colour."""
    colour = group.colour
    if shows_episodes(group, roomy):
        _draw_mean(panels, group.episodes, color=colour, linewidth=0.9, alpha=0.4, zorder=2)
    if not group.evals:
        return
    if colour == OTHER:
        _draw_mean(panels, group.evals, color=OTHER, linewidth=0.8, zorder=1)
        return
    places, returns = stack(group.evals)
    marker = "o" if roomy and len(places) <= MOST_MARKERS else ""
    _draw_mean(
        panels, group.evals, color=colour, linewidth=1.9, zorder=4,
        marker=marker, markersize=4.5, markeredgecolor="white", markeredgewidth=0.7, clip_on=False,
    )  # fmt: skip
    edges = band(group.evals, returns, seeds_of_bands)
    for axes, axis in zip(panels, AXES, strict=True):
        if edges is not None and places.size:
            x = along(group.evals, places, axis)
            axes.fill_between(x, *edges, color=colour, alpha=0.16 if roomy else 0.1, linewidth=0, zorder=2)
        for curve, place in zip(group.evals, places_of(group.evals), strict=True):  # after the first of them has ended
            tail = place >= (places[-1] if places.size else 0.0)
            if tail.sum() > 1:
                axes.plot(getattr(curve, axis)[tail], curve.mean[tail], color=colour, linewidth=0.8, zorder=3)


def _draw_mean(panels: Sequence[Axes], curves: Sequence[Curve], **style: Any) -> None:
    places, returns = stack(curves)
    if not places.size:  # an empty line with markers that are not clipped would spoil the layout
        return
    mean = iqm(returns)
    for axes, axis in zip(panels, AXES, strict=True):
        axes.plot(along(curves, places, axis), mean, **style)


def most_seeds(groups: list[Group]) -> int:
    """Members of the largest group that is in colour, `LEAST_RUNS` at most: what the bands of a picture mean by."""
    return min(LEAST_RUNS, max((len(group.evals) for group in groups if group.colour != OTHER), default=0))


def band(evals: Sequence[Curve], returns: Array, seeds: int) -> tuple[Array, Array] | None:
    """Edges, [rows] each, around the line of a group with returns [members, rows]; None with fewer than `seeds`."""
    if len(evals) < seeds:
        return None
    if seeds == 1:
        return returns[0] - evals[0].std, returns[0] + evals[0].std
    return iqm_interval(returns) if seeds == LEAST_RUNS else (returns.min(0), returns.max(0))


def stack(curves: Sequence[Curve]) -> tuple[Array, Array]:
    """Places [places] as far as all curves go, and their returns [curves, places] there: those of `places_of`."""
    places = common(places_of(curves))
    return places, _at(places, curves, "mean")


def along(curves: Sequence[Curve], places: Array, axis: str) -> Array:
    """Where the places lie on an axis: the mean over curves, [places]."""
    x: Array = _at(places, curves, axis).mean(0)
    return x


def places_of(curves: Sequence[Curve]) -> list[Array]:
    """What the rows of each curve are put together by, [rows] each: their order, or the clock where it differs.

    Where episodes differ in length, members stand at different steps in the same row.  Runs may be evaluated at
    different intervals.
    """
    rows = [curve.row for curve in curves]
    return rows if in_step(curves, common(rows)) else [curve.clock for curve in curves]


def in_step(curves: Sequence[Curve], rows: Array) -> bool:
    """Each row lies closer together in all curves, by the clock, than half its distance from the row before."""
    clocks = np.stack([np.interp(rows, curve.row, curve.clock) for curve in curves])
    first, last = clocks.min(0), clocks.max(0)
    distance = np.diff(first, prepend=0.0)
    return bool(rows.size and (2 * (last - first) <= distance).all())


def common(places: Sequence[Array]) -> Array:
    """Of places, [rows] of each curve, those of the curve with the most, as far as all of them go."""
    start, end = max(place[0] for place in places), min(place[-1] for place in places)
    longest = max(places, key=len)
    shared: Array = longest[(longest >= start) & (longest <= end)]
    return shared


def _at(places: Array, curves: Sequence[Curve], name: str) -> Array:
    own = places_of(curves)
    return np.stack([np.interp(places, x, getattr(c, name)) for x, c in zip(own, curves, strict=True)])


def wall_label(groups: list[Group]) -> str:
    """`wall seconds`, with how many members shared them."""
    together = {run.config.num_members for group in groups for run in group.runs}
    if together == {1}:
        return "wall seconds"
    return f"wall seconds, {f'all {together.pop()}' if len(together) == 1 else 'all'} members of a run together"


def shows_episodes(group: Group, roomy: bool) -> bool:
    """Training episodes are drawn where there is room for them, or where they are all there is."""
    return bool(group.episodes) and group.colour != OTHER and (roomy or not group.evals)


def group_handles(groups: list[Group]) -> list[Artist]:
    """One per colour; none where there is only one."""
    if len(groups) == 1:
        return []
    several = len(by_task(groups)) > 1
    coloured = [group for group in groups if group.colour != OTHER]
    handles: list[Artist] = []
    for group in coloured:
        name = ", ".join(filter(None, [group.config.task if several else "", group.label]))
        handles.append(Line2D([], [], color=group.colour, linewidth=4, label=name))
    if others := len(groups) - len(coloured):
        handles.append(Line2D([], [], color=OTHER, linewidth=1.5, label=f"{others} other settings"))
    return handles


def line_handles(groups: list[Group]) -> list[Artist]:
    """The legend of thick and thin lines."""
    colour = groups[0].colour if len(groups) == 1 else "#666666"
    thick = partial(Line2D, [], [], color=colour, linewidth=2, marker="o", markersize=4.5)
    handles: list[Artist] = [thick(label=label) for label in [evaluation_label(groups)] if label]
    if any(shows_episodes(group, len(mine) <= ROOMY) for mine in by_task(groups).values() for group in mine):
        handles.append(Line2D([], [], color=colour, linewidth=0.9, alpha=0.5, label="training episodes"))
    return handles


def evaluation_label(groups: list[Group]) -> str:
    """The meaning of thick lines and of bands; empty where nothing was evaluated."""
    drawn = [group for group in groups if group.evals and group.colour != OTHER]
    seeds = most_seeds(drawn)
    episodes = {group.config.eval_episodes for group in drawn}
    number = f"{episodes.pop()} " if len(episodes) == 1 else ""
    texts = {
        LEAST_RUNS: "interquartile mean over seeds, band: its 95% bootstrap interval",
        2: "mean over seeds, band: range of two seeds",
        1: f"mean of {number}episodes, band: one standard deviation",
    }
    if seeds == 0:
        return ""
    some_have_none = any(len(group.evals) < seeds for group in drawn)
    return f"evaluation: {texts[seeds]}" + (f" (of fewer than {seeds} seeds: none)" if some_have_none else "")
