"""The table and the charts of runs with evaluations: returns over steps and seconds, times to thresholds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from bench.lib.charts import GREY, room_below, sign
from bench.lib.harness import Report, Row
from bench.lib.tables import Figures, is_ours, number, plural, problem
from fastsac.report.runs import Curve
from fastsac.report.statistics import Array
from fastsac.report.style import INK, MINUS, frame, new_figure, short_number, tidy
from fastsac.report.traces import along, stack

AXES = {"wall_s": "wall seconds since {}", "env_steps": "environment steps"}
CLOCK = "the process was started"
DASHES = ((0, (5, 1.6)), (0, (4, 1.4, 1, 1.4)), (0, (1.1, 1.1)), (0, (2.4, 1.4)))
COLOURS = {
    "fastsac": "#0072B2", "fastsac-warm": "#56B4E9", "fastsac-eager": "#009E73", "fastsac-sac-v1": "#08306B",
    "fastsac-sql": "#17BECF", "sb3": "#D55E00", "sbx": "#CC79A7", "sb3-ours": "#E69F00",
    "sbx-ours": "#7B3294", "sb3-ppo": "#A63603", "sb3-ddpg": "#9A6A00",
    "sb3-td3": "#B3367F", "sb3-trpo": "#8C8C00",
}  # fmt: skip
"""Of the systems' lines; told apart by colour-blind readers too."""
LEGEND_COLUMNS = 4


def reached(run: Row, threshold: float) -> Row | None:
    """The first evaluation at or above a threshold."""
    return next((e for e in run.get("evaluations", []) if e["return_mean"] >= threshold), None)


# Table --------------------------------------------------------------------------------------------------------------


def figures(report: Report, heading: str) -> list[Figures]:
    """A line per environment, threshold and system."""
    columns = [
        "", "seeds", "seconds, IQM", "fastest seed", "slowest seed", "env steps, IQM", "return at the end", "notes",
    ]  # fmt: skip
    return [Figures("task", columns, [cells(report["names"], row) for row in report["rows"]], heading)]


def cells(names: dict[str, str], row: Row) -> list[str]:
    """One line of the table."""
    line = [f"{row['env']} to {row['threshold']:,g}", names[row["system"]]]
    if "wall_s" not in row:
        return [*line, *[""] * 6, problem(row)]
    seconds, steps, end = row["wall_s"], row["env_steps"], row.get("final_return")
    known = steps["iqm"] is None or seconds["iqm"] is not None  # some old runs have no seconds
    line.append(f"{row['solved']} of {len(row['seeds'])}")
    line += [never(seconds[key], 1) if known else "" for key in ("iqm", "min", "max")]
    return [*line, never(steps["iqm"]), number(end["median"]) if end else "", problem(row)]


def never(value: float | None, digits: int = 0) -> str:
    """`12,345`; "never" for what was not reached within the limits."""
    return "never" if value is None else number(value, digits)


def outcome(run: Row, goal: Row) -> str:
    """What one run came to, for a log."""
    name = f"{run['env']}, {run['system']}, seed {run['seed']}"
    if not run.get("evaluations"):
        return f"{name}: {problem(run)}"
    parts = []
    for threshold in goal["thresholds"]:
        at = reached(run, threshold)
        when = f"after {at['wall_s']:.1f} s, {at['env_steps']:,} steps" if at else "never"
        parts.append(f"{threshold:,g} {when}")
    last = run["evaluations"][-1]
    end = f"{last['return_mean']:,.1f} at {last['wall_s']:.1f} s, {last['env_steps']:,} steps"
    return f"{name}: {'; '.join(parts)} (end {end}) {problem(run)}".rstrip()


# Charts -------------------------------------------------------------------------------------------------------------


def draw(report: Report) -> dict[str, Figure]:
    """A chart per environment: returns where runs went on to their end, otherwise the seeds that have solved it.

    A single system is no chart; a grid and many environments are a table.
    """
    if report["settings"].get("grid"):
        return {}
    one = draw_returns if report["settings"].get("to_the_end") else draw_solved
    few = [env for env in report["goals"] if len(report["goals"]) < 4 and len(by_system(report, env)) > 1]
    return {env: one(report, env) for env in few}


def by_system(report: Report, env: str) -> dict[str, list[Row]]:
    """The runs that have evaluations."""
    runs = [run for run in report["runs"] if run["env"] == env and run.get("evaluations")]
    found = {system: [run for run in runs if run["system"] == system] for system in report["settings"]["systems"]}
    return {system: mine for system, mine in found.items() if mine}


def panels(report: Report, env: str, systems: Sequence[str], rows: int, title: str) -> tuple[Figure, Any]:
    """Panels side by side for seconds and steps, in so many rows; one legend below."""
    below = 0.35 + 0.22 * -(-len(systems) // LEGEND_COLUMNS)  # inches of the legend and the source
    height = 1.1 + 3.1 * rows + below
    seeds = plural(len(report["settings"]["seeds"]), "seed")
    figure = new_figure(10.5, height, f"{env}: {title}, {seeds} each")
    room_below(figure, below)
    axes = figure.subplots(rows, 2, sharey=True, squeeze=False)
    handles = [axes[0][0].plot([], [], label=report["names"][system], **style(system))[0] for system in systems]
    place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 0.2 / height), "fontsize": 9}
    figure.legend(handles=handles, ncols=LEGEND_COLUMNS, frameon=False, labelcolor=INK, handlelength=3.2, **place)
    return figure, axes


def style(system: str) -> dict[str, Any]:
    """This program's lines are solid, the others' dashed."""
    if is_ours(system):
        return {"color": COLOURS[system], "linewidth": 2.4}
    return {"color": COLOURS[system], "linewidth": 1.8, "linestyle": DASHES[list(COLOURS).index(system) % 4]}


def level(threshold: float) -> str:
    """A return, with a real minus sign."""
    return f"{threshold:,g}".replace("-", MINUS)


def draw_returns(report: Report, env: str) -> Figure:
    """Mean return of the seeds against seconds and steps, on a band from the worst to the best."""
    systems = by_system(report, env)
    figure, axes = panels(report, env, list(systems), 1, "return, mean of seeds, band from worst to best")
    for panel, axis in zip(axes[0], AXES, strict=True):
        for system, runs in systems.items():
            curves = [curve(run) for run in runs]
            places, returns = stack(curves)
            x, mean, colour = along(curves, places, axis), returns.mean(0), COLOURS[system]
            panel.fill_between(x, returns.min(0), returns.max(0), color=colour, alpha=0.1, linewidth=0)
            panel.plot(x, mean, **style(system))
            panel.plot(x[-1], mean[-1], "o", color=colour, markersize=5, markeredgecolor="white")
        tidy(panel, AXES[axis].format(report.get("clock", CLOCK)))
        for threshold in report["goals"][env]["thresholds"]:
            panel.axhline(threshold, color=GREY, linewidth=0.9, linestyle=":", zorder=1)
    axes[0][0].set_ylabel(f"return of {report['settings']['eval_episodes']} deterministic episodes", color=INK)
    return sign(figure, report)


def curve(run: Row) -> Curve:
    """Its evaluations."""
    columns = ("env_steps", "wall_s", "return_mean", "return_std")
    steps, seconds, mean, std = (np.array([row[name] for row in run["evaluations"]], float) for name in columns)
    return Curve(steps, seconds, mean, std, row=np.arange(len(steps), dtype=float), clock=steps)


def survival(at: Sequence[float | None], watched: Sequence[float]) -> tuple[Array, Array]:
    """The share of runs that have reached a threshold, by Kaplan and Meier (1958), equation 2b: 1 - S(t).

    A run that was given up is counted as one of those at risk until then, and says nothing of later: where limits end
    runs at different times, the plain share would take it for one that never gets there.

    Args:
        at: when each run reached it, or None.
        watched: how long each run was watched.

    Returns:
        Times, from 0 on, and the share from each of them on, until the next.
    """
    events = np.array([np.inf if t is None else t for t in at], float)
    ends = np.where(np.isfinite(events), events, watched)
    times, shares, left = [0.0], [0.0], 1.0
    for t in np.unique(events[np.isfinite(events)]):
        left *= 1 - (events == t).sum() / (ends >= t).sum()  # a run given up at t was still there
        times.append(float(t))
        shares.append(1 - left)
    return np.array(times), np.array(shares)


def draw_solved(report: Report, env: str) -> Figure:
    """The share of seeds that have solved it against seconds and against environment steps, a row per threshold."""
    levels, systems = report["goals"][env]["thresholds"], by_system(report, env)
    figure, axes = panels(report, env, list(systems), len(levels), f"time to {level(levels[-1])}")
    for threshold, pair in zip(levels, axes, strict=True):
        for panel, axis in zip(pair, AXES, strict=True):
            end = max(run["evaluations"][-1][axis] for runs in systems.values() for run in runs)
            for i, runs in enumerate(systems.values()):
                draw_system(panel, runs, axis, threshold, end, 0.004 * (i - (len(systems) - 1) / 2))
            dress(panel, AXES[axis].format(report.get("clock", CLOCK)))
        pair[0].set_ylabel(f"share of seeds at {level(threshold)} or above", color=INK)
    return sign(figure, report, "; curves by Kaplan and Meier, a tick: a run given up")


def draw_system(axes: Axes, runs: Sequence[Row], axis: str, threshold: float, end: float, offset: float) -> None:
    """One step curve, with a tick where a run was given up; moved a little up or down, so that none hides another."""
    at = [(reached(run, threshold) or {}).get(axis) for run in runs]
    watched = [run["evaluations"][-1][axis] for run in runs]
    line = style(runs[0]["system"])
    times, shares = survival(at, watched)
    last = end if None not in at else max(watched)  # where nobody is watched any more, nothing is known
    axes.step([*times, max(last, times[-1])], [*(shares + offset), shares[-1] + offset], where="post", **line)
    for t, until in zip(at, watched, strict=True):
        if t is None:
            share = shares[np.searchsorted(times, until, side="right") - 1] + offset
            axes.plot(until, share, "|", color=line["color"], markersize=11, markeredgewidth=2)


def dress(axes: Axes, x_name: str) -> None:
    """Logarithmic x with plain numbers, shares as percentages, a light grid, no frame on top and right."""
    axes.set_xscale("log")
    axes.set_xlabel(x_name, color=INK)
    axes.set_ylim(-0.03, 1.04)
    frame(axes)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(short_number))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlim(axes.dataLim.minposx / 1.4, axes.dataLim.intervalx[1] * 1.05)
