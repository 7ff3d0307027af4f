"""Learning curves of runs as one image: return against environment steps and against wall seconds."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fastsac.report.runs import OTHER, Group, Source, by_task, default_path, make_groups, read_runs, seeds_text
from fastsac.report.statistics import LEAST_RUNS
from fastsac.report.style import INK, add_legend, new_figure, save, tidy
from fastsac.report.traces import AXES, ROOMY, most_seeds, shows_episodes, traces

MOST_MARKERS = 40
STYLES: dict[str, dict[str, Any]] = {  # of lines, by the kind of trace
    "episodes": {"linewidth": 0.9, "alpha": 0.4, "zorder": 2},
    "others": {"linewidth": 0.8, "zorder": 1},
    "tail": {"linewidth": 0.8, "zorder": 3},
    "evaluations": {"linewidth": 1.9, "zorder": 4},
}
MARKERS = {"marker": "o", "markersize": 4.5, "markeredgecolor": "white", "markeredgewidth": 0.7, "clip_on": False}


def plot(runs: Sequence[Source], out: str | Path | None = None, axes: Sequence[str] = AXES) -> Path:
    """Draw the learning curves of run directories, and return the file written.

    Members that differ only in their seed are drawn as one, whether of one run or of several, by their interquartile
    mean.  All bands of a picture mean the same, by its largest group: the 95% bootstrap interval of that mean from
    three members on, the range of two, the deviation over the episodes of one; smaller groups have none.  Of more than
    eight settings the best six by final return are in colour.  Members of one run train together, so wall seconds are
    those of all members together.

    Args:
        runs: run directories.
        out: its suffix decides the format.  Default RUN_DIR/curves.png, or curves.png for several runs.
        axes: which of `AXES` to draw returns against, a panel each.

    Raises:
        ValueError: no run, not a run directory, nothing to draw yet, or an unknown format.
    """
    read = read_runs(runs)
    return save(draw(make_groups(read), axes), Path(out or default_path(read, "curves.png")))


def draw(groups: list[Group], axes: Sequence[str] = AXES) -> Figure:
    """A panel per environment and axis, those of an environment with a common y axis, and the legend below them."""
    tasks, seeds = by_task(groups), {seeds_text(group) for group in groups}
    subject = next(iter(tasks)) if len(tasks) == 1 else "Learning curves"
    title = ", ".join([subject, *(seeds if len(seeds) == 1 else ())])
    figure = new_figure(11 if len(axes) > 1 else 7.5, 0.9 + 3.6 * len(tasks), title)
    add_legend(figure, [*group_handles(groups), *line_handles(groups)])
    rows = figure.subplots(len(tasks), len(axes), sharey="row", squeeze=False)
    seeds_of_bands = most_seeds(groups)
    for panels, (task, mine) in zip(rows, tasks.items(), strict=True):
        for panel, axis in zip(panels, axes, strict=True):
            for group in mine:
                draw_group(panel, axis, group, len(mine) <= ROOMY, seeds_of_bands)
            tidy(panel, "environment steps" if axis == "env_steps" else wall_label(mine))
        panels[0].set_ylabel("return per episode" if len(tasks) == 1 else f"{task}\nreturn per episode", color=INK)
    return figure


def draw_group(panel: Axes, axis: str, group: Group, roomy: bool, seeds_of_bands: int) -> None:
    """Training episodes thin and faint, evaluations thick on a band; a thin line for one that is not in colour."""
    for trace in traces(group, roomy, seeds_of_bands):
        if trace.kind == "band":
            alpha = 0.16 if roomy else 0.1
            panel.fill_between(trace.x[axis], *trace.y, color=group.colour, alpha=alpha, linewidth=0, zorder=2)
            continue
        marked = trace.kind == "evaluations" and roomy and len(trace.y) <= MOST_MARKERS
        style = STYLES[trace.kind] | (MARKERS if marked else {})
        panel.plot(trace.x[axis], trace.y, color=group.colour, **style)


def wall_label(groups: list[Group]) -> str:
    """`wall seconds`, with how many members shared them."""
    together = {run.config.num_members for group in groups for run in group.runs}
    if together == {1}:
        return "wall seconds"
    return f"wall seconds, {f'all {together.pop()}' if len(together) == 1 else 'all'} members of a run together"


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
