"""The table, the CSV and the charts of a report of `bench.compare`.

`python -m bench.compare_show FILE` shows a report again and writes the CSV and the charts anew.
"""

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench import harness
from fastsac.report.statistics import Array
from fastsac.report.style import INK, MINUS, tidy

COLUMNS = ("system", "algo", "seed", "env_steps", "wall_s", "return_mean", "return_std", "episodes")
AXES = {
    "env_steps": ("steps", "environment steps"),
    "wall_s": ("wall", "wall seconds, compiling included, evaluations left out"),
}
STYLES: dict[str, dict[str, Any]] = {
    "sac": {"color": "#08306B", "linewidth": 2.4},
    "sac-v1": {"color": "#2B7BBA", "linewidth": 2.4},
    "sql": {"color": "#17BECF", "linewidth": 2.4},
    "ppo": {"color": "#D55E00", "linewidth": 1.7, "linestyle": (0, (5, 1.6))},
    "ddpg": {"color": "#9A6A00", "linewidth": 1.7, "linestyle": (0, (4, 1.4, 1, 1.4))},
    "td3": {"color": "#B3367F", "linewidth": 1.7, "linestyle": (0, (2.4, 1.4))},
    "trpo": {"color": "#E69F00", "linewidth": 1.7, "linestyle": (0, (1.1, 1.1))},
}
"""Ours in blues and solid, the others in warm colours and dashed."""
TABLE_WIDTH = 150  # in characters, where the output is no terminal
GRID = 200  # seconds that curves over time are put on


def main(argv: Sequence[str] | None = None) -> None:
    for name in sys.argv[1:] if argv is None else argv:
        report = json.loads(Path(name).read_text())
        show(report)
        write_all(report, Path(name))


# Table --------------------------------------------------------------------------------------------------------------


def show(report: harness.Report) -> None:
    """Print the table."""
    width = None if sys.stdout.isatty() else TABLE_WIDTH
    for table in figures(report):
        table.show(width)


def figures(report: harness.Report) -> list[harness.Figures]:
    """One line per algorithm."""
    goal = report["settings"]["goal"]
    columns = ["", "final return", "min", "max"]
    columns += [] if goal is None else [f"steps to {goal:g}", f"seconds to {goal:g}"]
    columns += ["wall s", "compiling s", "notes"]
    title = f"compare: {report['settings']['env']}, {report['settings']['total_steps']:,} environment steps"
    return [harness.Figures(title, columns, [cells(row, goal is not None) for row in report["rows"]])]


def headline(report: harness.Report) -> list[harness.Headline]:
    """Steps and seconds to the goal beside the best of the others, for the first lines of bench/README.md."""
    settings = report["settings"]
    task = settings["env"].rpartition(":")[2]
    cache = "" if settings["compile"] == "off" else f", {settings['compile_cache']} compile cache"
    lines = []
    for key, what, about, digits in (("goal_env_steps", "env steps", "", 0), ("goal_wall_s", "wall seconds", cache, 1)):
        reached = [row for row in report["rows"] if row.get(key) is not None]
        mine = next((row for row in reached if harness.is_ours(row["system"])), None)
        others = [row for row in reached if not harness.is_ours(row["system"])]
        if mine and others:
            best = min(others, key=lambda row: row[key])
            ours, other = (f"{label(row)}: {number(row[key], digits)}" for row in (mine, best))
            title = f"{task}, {what} to {settings['goal']:g}{about}; beside: the best of the others"
            lines.append(harness.Headline(title, ours, other, number(mine[key] / best[key], 2)))
    return lines


def cells(row: harness.Row, with_goal: bool) -> list[str]:
    """One line of the table."""
    final = row.get("final_return", {})
    numbers = [number(final.get(key), 1) for key in ("mean", "min", "max")]
    if with_goal:
        numbers += [number(row.get("goal_env_steps")), number(row.get("goal_wall_s"), 1)]
    numbers += [number(row.get("wall_s"), 1), number(row.get("compile_s"), 1)]
    return [label(row), *numbers, problem(row)]


def number(value: float | None, digits: int = 0) -> str:
    """`12,345`, or a dash."""
    return "-" if value is None else f"{value:,.{digits}f}"


def label(row: harness.Row) -> str:
    """`fastsac SAC v1`; only the key where nothing has been run yet."""
    return f"{row['system']} {row['name']}" if "name" in row else str(row["key"])


def problem(row: harness.Row) -> str:
    """Why there are no figures, or none of a seed."""
    return "; ".join(f"{why}: {row[why].splitlines()[0][:150]}" for why in ("skipped", "error") if why in row)


def outcome(run: harness.Row) -> str:
    """What one run came to, for a log."""
    if not run.get("evaluations"):
        return f"{label(run)}, seed {run['seed']}: {problem(run)}"
    last = run["evaluations"][-1]
    compiling = f", of which compiling {run['compile_s']:.1f}" if run["compile_s"] else ""
    return (
        f"{label(run)}, seed {run['seed']}: return {last['return_mean']:.1f} after {last['env_steps']:,} steps and "
        f"{last['wall_s']:.1f} s{compiling} (whole process {run['process_s']:.1f} s)"
    )


# Files --------------------------------------------------------------------------------------------------------------


def write_all(report: harness.Report, path: Path) -> list[Path]:
    """Write the CSV and the charts beside `path` and with its stem; returns them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = [path.with_suffix(".csv")]
    write_csv(report["runs"], written[0])
    if any(run.get("evaluations") for run in report["runs"]):
        for axis, (name, _) in AXES.items():
            written.append(path.with_name(f"{path.stem}-{name}.png"))
            draw(report, axis).savefig(written[-1], dpi=150)
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


def draw(report: harness.Report, axis: str) -> Figure:
    """Return against `axis` ("env_steps" or "wall_s"), one line per algorithm."""
    settings = report["settings"]
    figure = Figure(figsize=(9.5, 5.4))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", rect=(0.01, 0.045, 0.98, 0.945))
    axes = figure.subplots()
    for row in report["rows"]:
        runs = [run for run in report["runs"] if run["key"] == row["key"] and run.get("evaluations")]
        if runs:
            draw_algo(axes, runs, axis, len(settings["seeds"]))
    tidy(axes, AXES[axis][1])
    axes.set_ylabel(f"return, mean of {settings['eval_episodes']} deterministic episodes", color=INK)
    goal = settings["goal"]
    if goal is not None:
        axes.axhline(goal, color="#999999", linewidth=0.9, linestyle=":", zorder=1)
        text = f"goal {goal:g}".replace("-", MINUS)
        axes.annotate(text, (1, goal), (3, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                      ha="left", va="center", fontsize=8, color="#777777")  # fmt: skip
    figure.suptitle(f"{settings['env'].rpartition(':')[2]}: {heading(settings['seeds'])}", fontweight="bold", color=INK)
    figure.legend(loc="outside right center", frameon=False, fontsize=9, labelcolor=INK, handlelength=3.2)
    figure.text(0.012, 0.012, source(report), fontsize=7, color="#777777")
    return figure


def draw_algo(axes: Axes, runs: Sequence[harness.Row], axis: str, num_seeds: int) -> None:
    """Mean over seeds on a band from the worst to the best; of a single seed, one standard deviation of episodes."""
    x, returns = stack(runs, axis)
    mean, low, high = returns.mean(0), returns.min(0), returns.max(0)
    if num_seeds == 1:
        std = np.array([e["return_std"] for e in runs[0]["evaluations"]])
        std = np.interp(x, [e[axis] for e in runs[0]["evaluations"]], std)
        low, high = mean - std, mean + std
    style = STYLES[runs[0]["key"]]
    missing = f" ({len(runs)} of {num_seeds} seeds)" if len(runs) < num_seeds else ""
    axes.fill_between(x, low, high, color=style["color"], alpha=0.10, linewidth=0, zorder=2)
    zorder = 3 if "linestyle" in style else 4  # ours on top
    axes.plot(x, mean, label=label(runs[0]) + missing, zorder=zorder, **style)
    axes.plot(x[-1], mean[-1], "o", color=style["color"], markersize=5, markeredgecolor="white", zorder=zorder + 2)


def stack(runs: Sequence[harness.Row], axis: str) -> tuple[Array, Array]:
    """Put the curves of one algorithm on common points, from where all its seeds begin to where the first one ends.

    Environment steps keep the evaluations' own; seconds, which differ from seed to seed, get an even grid.

    Returns:
        x [points]; returns [runs, points].
    """
    xs = [np.array([e[axis] for e in run["evaluations"]], float) for run in runs]
    ys = [np.array([e["return_mean"] for e in run["evaluations"]]) for run in runs]
    start, end = max(x[0] for x in xs), min(x[-1] for x in xs)
    if axis == "wall_s":
        points = np.linspace(start, end, GRID) if end > start else np.array([end])
    else:
        points = np.unique(np.concatenate(xs))
        points = points[(points >= start) & (points <= end)]
    return points, np.stack([np.interp(points, x, y) for x, y in zip(xs, ys, strict=True)])


def heading(seeds: Sequence[int]) -> str:
    """What lines and bands are."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}, band: one standard deviation over episodes"
    return f"mean of {len(seeds)} seeds, band: worst to best"


def source(report: harness.Report) -> str:
    """On what it was measured, in one line."""
    settings, versions, commit = report["settings"], report["versions"], report.get("commit")
    code = f"fastsac {commit[:7]}" if commit else f"fastsac {versions.get('fastsac', '')}"
    threads = settings["threads"]
    device = "" if settings["device"] == "cpu" else f", device {settings['device']}"
    peers = ", ".join(f"{name} {versions[name]}" for name in harness.PEER_PACKAGES[:2] if name in versions)
    return (
        f"{report['machine']['cpu']}, {threads} core{'s' * (threads > 1)} per run{device}, "
        f"torch {versions['torch']}, {code}, {peers}"
    )


if __name__ == "__main__":
    main()
