"""The tables, the CSV and the charts of a report of `bench.solve`.

`python -m bench.solve_show FILE` shows a report again and writes the CSV and the charts anew.
"""

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from bench import harness
from fastsac.report.statistics import Array
from fastsac.report.style import INK, MINUS, frame, new_figure, save, short_number

COLUMNS = ("env", "system", "seed", "env_steps", "wall_s", "return_mean", "return_std", "episodes")
AXES = {"wall_s": "wall seconds since the process was started", "env_steps": "environment steps"}
STYLES: dict[str, dict[str, Any]] = {
    "fastsac": {"color": "#0072B2", "linewidth": 2.4},
    "fastsac-warm": {"color": "#56B4E9", "linewidth": 2.4},
    "fastsac-eager": {"color": "#009E73", "linewidth": 2.4},
    "sb3": {"color": "#D55E00", "linewidth": 1.9, "linestyle": (0, (5, 1.6))},
    "sbx": {"color": "#CC79A7", "linewidth": 1.9, "linestyle": (0, (4, 1.4, 1, 1.4))},
    "sb3-defaults": {"color": "#E69F00", "linewidth": 1.9, "linestyle": (0, (1.1, 1.1))},
    "sbx-defaults": {"color": "#7A5195", "linewidth": 1.9, "linestyle": (0, (2.4, 1.4))},
}
"""Ours solid, the others dashed; told apart by colour-blind readers too."""
SHOWN = {
    "learning_rate": "lr", "actor_lr": "actor lr", "critic_lr": "critic lr", "batch_size": "batch", "tau": "tau",
    "gamma": "gamma", "learning_starts": "random steps", "num_envs": "envs", "utd_ratio": "updates per step",
    "hidden_dims": "hidden",
}  # fmt: skip
"""Settings that the table of settings has, and their headings; all are in the report."""
PEER_HIDDEN = "256, 256"  # of SAC's MlpPolicy in Stable-Baselines3 and SBX
TABLE_WIDTH = 150  # in characters, where the output is no terminal


def main(argv: Sequence[str] | None = None) -> None:
    for name in sys.argv[1:] if argv is None else argv:
        report = json.loads(Path(name).read_text())
        show(report)
        write_all(report, Path(name))


# Tables -------------------------------------------------------------------------------------------------------------


def show(report: harness.Report) -> None:
    """Print the tables."""
    for table in figures(report):
        table.show(None if sys.stdout.isatty() else TABLE_WIDTH)


def figures(report: harness.Report) -> list[harness.Figures]:
    """One table per environment and threshold, and one of the settings."""
    tables = []
    for env, goal in report["goals"].items():
        for threshold in goal["thresholds"]:
            rows = [row for row in report["rows"] if (row["env"], row["threshold"]) == (env, threshold)]
            tables.append(table(report["names"], env, threshold, rows))
    columns = ["", "environment", *SHOWN.values()]
    settings = [
        [report["names"][row["system"]], row["env"], *told(row["hyper"])]
        for row in report["rows"]
        if "hyper" in row and row["threshold"] == report["goals"][row["env"]]["thresholds"][0]
    ]
    return [*tables, harness.Figures("settings", columns, settings)]


def headline(report: harness.Report) -> list[harness.Headline]:
    """Seconds to each threshold with an empty compile cache beside those of each peer as the zoo tunes it."""
    lines = []
    for mine in (row for row in report["rows"] if row["system"] == "fastsac" and "wall_s" in row):
        title = (
            f"{mine['env']}, seconds to {mine['threshold']:,g}, start-up included, IQM of {len(mine['seeds'])} seeds"
        )
        for row in report["rows"]:
            here = (row["env"], row["threshold"]) == (mine["env"], mine["threshold"])
            if here and row["system"] in ("sb3", "sbx") and "wall_s" in row:
                ours, theirs = mine["wall_s"]["iqm"], row["wall_s"]["iqm"]
                texts = [f"{report['names'][r['system']]}: {number(r['wall_s']['iqm'], 1)}" for r in (mine, row)]
                lines.append(harness.Headline(title, *texts, f"{ours / theirs:.2f}" if ours and theirs else ""))
    return lines


def table(names: dict[str, str], env: str, threshold: float, rows: Sequence[harness.Row]) -> harness.Figures:
    """Seconds and environment steps to one threshold, one line per system."""
    columns = ["", "solved", "seconds, IQM", "95% interval", "median", "min", "max", "times fastsac", "env steps, IQM"]
    columns += ["compiling s", "notes"]
    first = next((row["wall_s"]["iqm"] for row in rows if row["system"] == "fastsac" and "wall_s" in row), None)
    return harness.Figures(f"{env}: to {threshold:,g}", columns, [cells(names, row, first) for row in rows])


def cells(names: dict[str, str], row: harness.Row, first: float | None) -> list[str]:
    """One line of the table; `first` is what the ratio is to."""
    name, note = names[row["system"]], problem(row)
    if "wall_s" not in row:
        return [name, *[""] * 9, note]
    seconds, steps = row["wall_s"], row["env_steps"]
    ratio = "-" if first is None or seconds["iqm"] is None else f"{seconds['iqm'] / first:.2f}"
    interval = f"{number(seconds['low'], 1)} to {number(seconds['high'], 1)}" if seconds["has_interval"] else "-"
    return [
        name,
        f"{row['solved']} of {len(row['seeds'])}",
        number(seconds["iqm"], 1),
        interval,
        *(number(seconds[key], 1) for key in ("median", "min", "max")),
        ratio,
        number(steps["iqm"]),
        number(row["compile_s"], 1) if row["compile_s"] else "",
        note,
    ]


def told(hyper: dict[str, Any]) -> list[str]:
    """The settings that are shown, with the peers' names for them."""
    own = "hidden_dims" in hyper
    values = dict(hyper) if own else {"num_envs": 1, "hidden_dims": PEER_HIDDEN, **hyper}
    if not own:
        values["utd_ratio"] = values.get("gradient_steps")
        if "policy_kwargs" in values:
            values["hidden_dims"] = values["policy_kwargs"]["net_arch"]
    texts = []
    for key in SHOWN:
        value = values.get(key, "")
        texts.append(", ".join(map(str, value)) if isinstance(value, list | tuple) else f"{value}")
    return texts


def number(value: float | None, digits: int = 0) -> str:
    """`12,345`; "never" for what was not reached within the limits."""
    return "never" if value is None else f"{value:,.{digits}f}"


def problem(row: harness.Row) -> str:
    """Why there are no figures, or none of a seed."""
    return "; ".join(f"{why}: {row[why].splitlines()[0][:150]}" for why in ("skipped", "error") if why in row)


def outcome(run: harness.Row, thresholds: Sequence[float]) -> str:
    """What one run came to, for a log."""
    name = f"{run['env']}, {run['system']}, seed {run['seed']}"
    if not run.get("evaluations"):
        return f"{name}: {problem(run)}"
    passed = []
    for threshold in thresholds:
        at = next((e for e in run["evaluations"] if e["return_mean"] >= threshold), None)
        passed.append(
            f"{threshold:,g} " + (f"after {at['wall_s']:.1f} s, {at['env_steps']:,} steps" if at else "never")
        )
    last = run["evaluations"][-1]
    end = f"{last['return_mean']:,.1f} at {last['wall_s']:.1f} s, {last['env_steps']:,} steps"
    return f"{name}: {'; '.join(passed)} (end {end}) {problem(run)}".rstrip()


# Files --------------------------------------------------------------------------------------------------------------


def write_all(report: harness.Report, path: Path) -> list[Path]:
    """Write the CSV and a chart per environment beside `path` and with its stem; returns them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = [path.with_suffix(".csv")]
    write_csv(report["runs"], written[0])
    for env in report["goals"]:
        if any(run["env"] == env and run.get("evaluations") for run in report["runs"]):
            written.append(save(draw(report, env), path.with_name(f"{path.stem}-{env}.png")))
    for out in written:
        print(out)
    return written


def write_csv(runs: Sequence[harness.Row], path: Path) -> None:
    """One row per evaluation."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for run in runs:
            writer.writerows({**run, **evaluation} for evaluation in run.get("evaluations", []))


# Charts -------------------------------------------------------------------------------------------------------------


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


def draw(report: harness.Report, env: str) -> Figure:
    """The share of seeds that have solved it against seconds and against environment steps, a row per threshold."""
    levels, names = report["goals"][env]["thresholds"], report["names"]
    runs = [run for run in report["runs"] if run["env"] == env and run.get("evaluations")]
    systems = [system for system in report["settings"]["systems"] if any(run["system"] == system for run in runs)]
    height = 1.9 + 3.1 * len(levels)
    figure = new_figure(10.5, height)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1, rect=(0, 0.6 / height, 1, 1 - 0.6 / height))
    panels = figure.subplots(len(levels), 2, sharey=True, squeeze=False)
    for threshold, pair in zip(levels, panels, strict=True):
        for axes, axis in zip(pair, AXES, strict=True):
            ends = [run["evaluations"][-1][axis] for run in runs]
            for offset, system in enumerate(systems):
                mine = [run for run in runs if run["system"] == system]
                draw_system(axes, mine, axis, threshold, max(ends), 0.004 * (offset - (len(systems) - 1) / 2))
            dress(axes, AXES[axis], axis)
        level = f"{threshold:,g}".replace("-", MINUS)
        pair[0].set_ylabel(f"share of seeds at {level} or above", color=INK)
    handles = [panels[0][0].plot([], [], label=names[system], **STYLES[system])[0] for system in systems]
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 0.24 / height)}
    figure.legend(handles=handles, ncols=len(systems), frameon=False, labelcolor=INK, handlelength=3.2, **place)
    seeds = len(report["settings"]["seeds"])
    level = f"{levels[-1]:,g}".replace("-", MINUS)
    title = (
        f"{env}: time to {level}, {seeds} seed{'s' * (seeds > 1)} each" if len(levels) == 1 else f"{env}: {seeds} seeds"
    )
    figure.suptitle(title, fontsize=13, fontweight="bold", color=INK)
    figure.text(0.012, 0.1 / height, source(report), fontsize=7, color="#777777")
    return figure


def draw_system(
    axes: Axes, runs: Sequence[harness.Row], axis: str, threshold: float, end: float, offset: float
) -> None:
    """One step curve, with a tick where a run was given up; moved a little up or down, so that none hides another."""
    reached = [next((e[axis] for e in run["evaluations"] if e["return_mean"] >= threshold), None) for run in runs]
    watched = [run["evaluations"][-1][axis] for run in runs]
    style = STYLES[runs[0]["system"]]
    times, shares = survival(reached, watched)
    last = end if None not in reached else max(watched)  # where nobody is watched any more, nothing is known
    axes.step([*times, max(last, times[-1])], [*(shares + offset), shares[-1] + offset], where="post", **style)
    for at, until in zip(reached, watched, strict=True):
        if at is None:
            share = shares[np.searchsorted(times, until, side="right") - 1] + offset
            axes.plot(until, share, "|", color=style["color"], markersize=11, markeredgewidth=2)


def dress(axes: Axes, x_name: str, axis: str) -> None:
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


def source(report: harness.Report) -> str:
    """On what it was measured, in one line."""
    settings, versions, commit = report["settings"], report["versions"], report.get("commit")
    code = f"fastsac {commit[:7]}" if commit else f"fastsac {versions.get('fastsac', '')}"
    threads = settings["threads"]
    device = "" if settings["device"] == "cpu" else f", device {settings['device']}"
    return (
        f"{report['machine']['cpu']}, {threads} core{'s' * (threads > 1)} per run{device}, torch {versions['torch']}, "
        f"{code}; curves by Kaplan and Meier, a tick: a run given up"
    )


if __name__ == "__main__":
    main()
