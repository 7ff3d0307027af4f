"""Learning curves of runs as one image: return against environment steps and against wall seconds.

Reads run directories and writes one file.  Knows the columns of eval.csv and metrics.csv; needs neither torch nor a
simulator, and draws without any display.
"""

import csv
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from fastsac.config import Config

Array = NDArray[np.float64]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#4D4D4D")
"""Told apart by colour-blind readers too (Okabe and Ito)."""
NOT_A_SETTING = ("seed", "seeds", "run_dir", "resume", "tensorboard", "wandb", "checkpoint_every", "log_every")
"""Runs that differ only in these are repeats of one another."""
AXES = {"env_steps": "environment steps", "wall_s": "wall seconds"}
MOST_MARKERS = 40
MINUS = "\N{MINUS SIGN}"
INK, FAINT = "#333333", "#D9D9D9"


@dataclass(frozen=True)
class Curve:
    """What one member did over time; rows without a return are left out."""

    env_steps: Array  # [rows]
    wall_s: Array  # [rows]
    mean: Array  # [rows]
    std: Array  # [rows]

    def x(self, axis: str) -> Array:
        """The column to plot against: "env_steps" or "wall_s"."""
        column: Array = getattr(self, axis)
        return column


@dataclass(frozen=True)
class Run:
    """A run directory: its settings and one curve per member."""

    path: Path
    config: Config
    evals: list[Curve]
    episodes: list[Curve]


@dataclass(frozen=True)
class Group:
    """Runs that are repeats of one another, drawn in one colour."""

    runs: list[Run]
    colour: str
    label: str = ""

    @property
    def config(self) -> Config:
        """Settings that all runs share, and the seed of the first."""
        return self.runs[0].config

    @property
    def task(self) -> str:
        """The environment's name."""
        return self.config.task

    @property
    def evals(self) -> list[Curve]:
        """Evaluations of all members of all runs that have some."""
        return [curve for run in self.runs for curve in run.evals if curve.mean.size]

    @property
    def episodes(self) -> list[Curve]:
        """Training episodes of all members of all runs that have some."""
        return [curve for run in self.runs for curve in run.episodes if curve.mean.size]


def plot(run_dirs: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Draw the learning curves of one or more runs.

    Runs that differ only in their seed are drawn as one: the mean over members and the range from worst to best.

    Args:
        run_dirs: what `fastsac train` wrote.
        out: the file to write; its suffix decides the format.  Default RUN_DIR/curves.png, or curves.png in the
            current folder for several runs.

    Returns:
        The file written.

    Raises:
        ValueError: no run, not a run directory, nothing to draw yet, or an unknown format.
    """
    if not run_dirs:
        raise ValueError("run_dirs must name at least one run directory, got none.")
    groups = label_groups(group_runs([read_run(Path(path)) for path in run_dirs]))
    default = Path(run_dirs[0]) / "curves.png" if len(run_dirs) == 1 else Path("curves.png")
    path = default if out is None else Path(out)
    figure = draw(groups)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


# Reading ----------------------------------------------------------------------------------------------------------


def read_run(path: Path) -> Run:
    """Read settings and rows of a run directory.

    Raises:
        ValueError: not a run directory, or nothing to draw in it yet.
    """
    if not (path / "config.json").is_file():
        raise ValueError(f"{path} is not a run directory: it has no config.json. Give what `fastsac train` wrote.")
    config = Config.load(path)
    evals = read_curves(path / "eval.csv", config.num_members, "return_mean", "return_std")
    episodes = read_curves(path / "metrics.csv", config.num_members, "episode_return", None)
    if not any(curve.mean.size for curve in (*evals, *episodes)):
        raise ValueError(f"{path} has no returns yet, in eval.csv or metrics.csv. Wait for the first evaluation.")
    return Run(path, config, evals, episodes)


def read_curves(path: Path, num_members: int, mean: str, std: str | None) -> list[Curve]:
    """One curve per member; empty ones where the file is missing or a member has no rows.

    Args:
        path: a CSV file, which a run may still be writing to.
        num_members: members of the run.
        mean: the column of returns.
        std: the column of their standard deviations, if there is one.

    Raises:
        ValueError: a column is missing.
    """
    columns = ["member", "env_steps", "wall_s", mean, *([std] if std else [])]
    rows = np.array([row for row in _read_rows(path, columns) if np.isfinite(row[3])]).reshape(-1, len(columns))
    curves = []
    for member in range(num_members):
        mine = rows[rows[:, 0] == member]
        curves.append(Curve(mine[:, 1], mine[:, 2], mine[:, 3], mine[:, 4] if std else np.zeros(len(mine))))
    return curves


def _read_rows(path: Path, columns: list[str]) -> list[list[float]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        missing = set(columns) - set(reader.fieldnames or columns)
        if missing:
            raise ValueError(f"{path} lacks the columns {', '.join(sorted(missing))}.")
        # A run may be in the middle of its last row: that one comes short.
        return [[float(row[name] or "nan") for name in columns] for row in reader if None not in row.values()]


# Grouping and naming ----------------------------------------------------------------------------------------------


def group_runs(runs: list[Run]) -> list[Group]:
    """Put runs together that differ only in what is `NOT_A_SETTING`, in the order of their first one."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(repr(_settings(run.config)), []).append(run)
    return [Group(repeats, COLOURS[i % len(COLOURS)]) for i, repeats in enumerate(groups.values())]


def label_groups(groups: list[Group]) -> list[Group]:
    """Name each group by its seeds and whatever setting tells it from the others in the same environment."""
    labelled = []
    for group in groups:
        others = [_settings(other.config) for other in groups if other.config.env == group.config.env]
        mine = _settings(group.config)
        told = [f"{name} {_short(value)}" for name, value in mine.items() if any(o[name] != value for o in others)]
        extra = told if len(told) <= 3 else [group.runs[0].path.resolve().name]
        labelled.append(dataclasses.replace(group, label=", ".join([_seeds_text(group), *extra])))
    return labelled


def _settings(config: Config) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in NOT_A_SETTING}


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _seeds_text(group: Group) -> str:
    seeds = sorted(seed for run in group.runs for seed in run.config.member_seeds)
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if seeds == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"{len(seeds)} seeds" if len(seeds) > 4 else f"seeds {', '.join(map(str, seeds))}"


# Drawing ----------------------------------------------------------------------------------------------------------


def draw(groups: list[Group]) -> Figure:
    """Two panels per environment with a common y axis, and the legend below them."""
    tasks = list(dict.fromkeys(group.task for group in groups))
    figure = Figure(figsize=(11, 1.2 + 3.6 * len(tasks)))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    for task, panels in zip(tasks, figure.subplots(len(tasks), 2, sharey="row", squeeze=False), strict=True):
        for axes, (axis, name) in zip(panels, AXES.items(), strict=True):
            for group in groups:
                if group.task == task:
                    draw_group(axes, group, axis)
            tidy(axes, name)
        panels[0].set_ylabel("return per episode" if len(tasks) == 1 else f"{task}\nreturn per episode", color=INK)
    figure.suptitle(title(groups), fontsize=13, fontweight="bold", color=INK)
    add_legend(figure, groups)
    return figure


def draw_group(axes: Axes, group: Group, axis: str) -> None:
    """Training episodes thin and faint, evaluations thick on a band."""
    colour = group.colour
    if group.episodes:
        x, returns, _ = stack(group.episodes, axis)
        axes.plot(x, returns.mean(0), color=colour, linewidth=0.9, alpha=0.4, zorder=2)
    if not group.evals:
        return
    x, returns, end = stack(group.evals, axis)
    mean, low, high = returns.mean(0), returns.min(0), returns.max(0)
    if len(group.evals) == 1:
        std = group.evals[0].std
        low, high = mean - std, mean + std
    axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0, zorder=1)
    marker: dict[str, Any] = {"marker": "o", "markersize": 4.5, "markeredgecolor": "white", "markeredgewidth": 0.7}
    axes.plot(x, mean, color=colour, linewidth=2, zorder=3, **(marker if len(x) <= MOST_MARKERS else {}))
    for curve in group.evals:  # what went on after another one had ended
        tail = curve.env_steps >= end
        axes.plot(curve.x(axis)[tail], curve.mean[tail], color=colour, linewidth=0.8, zorder=2)


def stack(curves: Sequence[Curve], axis: str) -> tuple[Array, Array, float]:
    """Put curves on common environment steps, as far as all of them go.

    Returns:
        x [rows], the mean over curves; returns [curves, rows]; and the environment steps where the last row is.
    """
    start, end = max(c.env_steps[0] for c in curves), min(c.env_steps[-1] for c in curves)
    steps = max((c.env_steps for c in curves), key=len)
    steps = steps[(steps >= start) & (steps <= end)]
    x = np.stack([np.interp(steps, c.env_steps, c.x(axis)) for c in curves])
    return x.mean(0), np.stack([np.interp(steps, c.env_steps, c.mean) for c in curves]), steps[-1] if steps.size else 0


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


def title(groups: list[Group]) -> str:
    """What all groups have in common."""
    if len(groups) == 1:
        return f"{groups[0].task}, {groups[0].label}"
    tasks = {group.task for group in groups}
    return tasks.pop() if len(tasks) == 1 else "Learning curves"


def add_legend(figure: Figure, groups: list[Group]) -> None:
    """Colours of the groups and the meaning of the lines, below the panels, where no data is."""
    several_tasks = len({group.task for group in groups}) > 1
    handles = [
        Line2D([], [], color=g.colour, linewidth=4, label=f"{g.task}, {g.label}" if several_tasks else g.label)
        for g in groups
        if len(groups) > 1
    ]
    colour = groups[0].colour if len(groups) == 1 else "#666666"
    if any(group.evals for group in groups):
        label = f"evaluation ({evaluation_label(groups)})"
        handles.append(Line2D([], [], color=colour, linewidth=2, marker="o", markersize=4.5, label=label))
    if any(group.episodes for group in groups):
        handles.append(Line2D([], [], color=colour, linewidth=0.9, alpha=0.5, label="training episodes"))
    widest = max(len(str(handle.get_label())) for handle in handles)
    columns = min(len(handles), max(1, 150 // (widest + 8)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, labelcolor=INK, fontsize=9)


def evaluation_label(groups: list[Group]) -> str:
    """What the thick line and its band stand for."""
    members = {len(group.evals) > 1 for group in groups if group.evals}
    if members == {True}:
        return "mean over seeds, band: worst to best"
    if members == {True, False}:
        return "mean, band: worst to best seed, or deviation over episodes of a single one"
    episodes = {group.config.eval_episodes for group in groups}
    number = f"{episodes.pop()} " if len(episodes) == 1 else ""
    return f"mean of {number}episodes, band: one standard deviation"
