"""The members of run directories, put into groups and named: the subject of pictures and rankings.

Knows the columns of eval.csv and metrics.csv; draws nothing, and needs neither torch nor a simulator.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fastsac.config import seeds
from fastsac.config.command import plain_text
from fastsac.config.history import Resumed, read_history, settings_that_count
from fastsac.config.settings import Config
from fastsac.config.stored import check_run_dir
from fastsac.disk.tables import read_numbers
from fastsac.report.failure import error_text, why_failed
from fastsac.report.statistics import Array, iqm
from fastsac.report.style import COLOURS

OTHER = "#C4C4C4"  # of groups that are there for comparison only
BEST = 6  # groups in colour where there are more than COLOURS
MOST_NAMED = 3  # settings, or runs, in a label
LARGEST = 1e30  # no number of a run is as large; one that is, or is no number, cannot be drawn

Setting = dict[str, object]  # values by name


@dataclass(frozen=True)
class Curve:
    """Returns of one member over time; rows without a return are left out."""

    env_steps: Array  # [rows]
    wall_s: Array  # [rows], of its run: all members of a run train together
    mean: Array  # [rows]
    std: Array  # [rows]
    row: Array  # [rows], which row of the member each is, counting those left out: members of a run share them
    clock: Array  # [rows], steps of the member of the run that had made the fewest by that row


@dataclass(frozen=True)
class Member:
    """The settings with which this member alone would be trained, and its curves."""

    number: int  # within its run
    config: Config
    evals: Curve
    episodes: Curve


@dataclass(frozen=True)
class Run:
    """A run directory: its settings and its members."""

    path: Path
    config: Config
    members: list[Member]
    history: list[Resumed] = field(default_factory=list)

    @property
    def detours(self) -> list[str]:
        """What makes it another run than one that had its settings always."""
        return [*filter(None, (each.difference(self.config) for each in self.history))]


@dataclass
class Group:
    """Members that are repeats of one another, drawn in one colour, and the runs that they come from."""

    members: list[Member]
    runs: list[Run]
    colour: str = OTHER
    label: str = ""

    @property
    def config(self) -> Config:
        """Settings that all members share, and the seed of the first."""
        return self.members[0].config

    @property
    def evals(self) -> list[Curve]:
        """Evaluations of all members that have some."""
        return [member.evals for member in self.members if member.evals.mean.size]

    @property
    def episodes(self) -> list[Curve]:
        """Training episodes of all members that have some."""
        return [member.episodes for member in self.members if member.episodes.mean.size]

    @property
    def finals(self) -> Array:
        """The last evaluation of each member that has one, not its best: [members]."""
        return np.array([curve.mean[-1] for curve in self.evals])

    @property
    def score(self) -> float:
        """Interquartile mean of `finals`; -inf without any."""
        return float(iqm(self.finals)) if self.evals else -np.inf


Source = str | Path | Run  # a run directory, or one that was read


def read_runs(runs: Sequence[Source]) -> list[Run]:
    """Read run directories, each once, and keep those that have been read; raises ValueError as `read_run`."""
    if not runs:
        raise ValueError("runs must name at least one run directory, got none.")
    once = {(run.path if isinstance(run, Run) else Path(run)).resolve(): run for run in reversed(runs)}
    return [run if isinstance(run, Run) else read_run(Path(run)) for run in reversed(once.values())]


def read_run(path: Path) -> Run:
    """As `open_run`; raises ValueError also if there is nothing to draw yet."""
    run = open_run(path)
    if not any(curve.mean.size for member in run.members for curve in (member.evals, member.episodes)):
        if why := why_failed(error_text(path)):
            raise ValueError(f"{path} has no returns: an error ended the run before its first evaluation ({why}).")
        raise ValueError(f"{path} has no returns yet, in eval.csv or metrics.csv. Wait for the first evaluation.")
    return run


def open_run(path: Path) -> Run:
    """Settings and rows of a run directory, which may have no rows yet; raises ValueError if it is none."""
    check_run_dir(path)
    config = Config.load(path)
    evals = read_curves(path / "eval.csv", config.num_members, "return_mean", "return_std")
    episodes = read_curves(path / "metrics.csv", config.num_members, "episode_return")
    numbers = range(config.num_members)
    members = [Member(*of) for of in zip(numbers, config.members, evals, episodes, strict=True)]
    return Run(path, config, members, read_history(path))


def read_curves(path: Path, num_members: int, mean: str, std: str | None = None) -> list[Curve]:
    """One curve per member from two columns of a table; empty ones where it is missing or a member has no rows."""
    rows = read_numbers(path, ["member", "env_steps", "wall_s", mean, *([std] if std else [])])
    rows = rows[(np.abs(rows[:, :2]) < LARGEST).all(1)]
    rows = rows[np.argsort(rows[:, 1], kind="stable")]  # in order, whatever damage did
    members = [rows[rows[:, 0] == member] for member in range(num_members)]
    clock = fewest_steps([mine[:, 1] for mine in members])
    curves = []
    for mine in members:
        row = np.flatnonzero((np.abs(mine) < LARGEST).all(1))
        _, env_steps, wall_s, returns, *deviation = mine[row].T  # [rows] each
        stds = deviation[0] if std else np.zeros_like(returns)
        curves.append(Curve(env_steps, wall_s, returns, stds, row.astype(float), clock[row]))
    return curves


def fewest_steps(members: Sequence[Array]) -> Array:
    """The fewest steps that any member had made by each row, [rows], of the steps of each, [its rows]."""
    fewest = np.full(max(map(len, members)), np.inf)
    for env_steps in members:
        fewest[: len(env_steps)] = np.minimum(fewest[: len(env_steps)], env_steps)
    return fewest


def default_path(runs: list[Run], name: str) -> Path:
    """A picture's place: in the run directory, or in the current folder for several."""
    return runs[0].path / name if len(runs) == 1 else Path(name)


def make_groups(runs: list[Run]) -> list[Group]:
    """Groups with colours, and labels: names of runs, seeds that differ, and settings that tell each from others."""
    groups, names = colour_groups(group_members(runs)), names_of(runs)
    several = len({seeds_text(group) for group in groups}) > 1
    for mine in by_task(groups).values():
        for group, setting in zip(mine, differences(mine), strict=True):
            seeds, values = seeds_text(group) if several else "", {k: v for k, v in setting.items() if k != "run"}
            about = ", ".join(filter(None, [seeds, setting_text(values)]))
            group.label = ": ".join(filter(None, [runs_text([names[run.path] for run in group.runs]), about]))
    return groups


def names_of(runs: list[Run]) -> dict[Path, str]:
    """What each of several runs is called: its folder, or its path where two folders are called the same."""
    folders = [run.path.resolve().name for run in runs]
    names = folders if len(set(folders)) == len(folders) else [str(run.path) for run in runs]
    return {run.path: name if len(runs) > 1 else "" for run, name in zip(runs, names, strict=True)}


def runs_text(names: list[str]) -> str:
    """`a, b and 3 more`."""
    named = names if len(names) <= MOST_NAMED else names[: MOST_NAMED - 1]
    more = len(names) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def group_members(runs: list[Run]) -> list[Group]:
    """Put members together that differ only in settings that affect nothing, whether of one run or of several.

    Runs that were continued with other settings differ from those that had them always.
    A seed counts once, by the member that has the most evaluations: repeats tell no more.
    """
    groups: dict[str, dict[int, tuple[Member, Run]]] = {}
    for run in runs:
        for member in run.members:
            mine = groups.setdefault(repr((settings_that_count(member.config), run.detours)), {})
            before = mine.get(member.config.seed)
            if before is None or member.evals.mean.size > before[0].evals.mean.size:
                mine[member.config.seed] = member, run
    return [_group(list(mine.values())) for mine in groups.values()]


def _group(found: list[tuple[Member, Run]]) -> Group:
    runs = {run.path: run for _, run in found}
    return Group([member for member, _ in found], list(runs.values()))


def repeats_text(runs: list[Run]) -> str:
    """What to say of members that repeat others, seed and settings; empty where there are none."""
    repeats = sum(len(run.members) for run in runs) - sum(len(group.members) for group in group_members(runs))
    if not repeats:
        return ""
    who = "1 member repeats another one" if repeats == 1 else f"{repeats} members repeat others"
    return f"{who} with the same settings and seed: each seed counts once."


def colour_groups(groups: list[Group]) -> list[Group]:
    """Give each a colour; where there are too many, only the best of each task.  Returns those with colours first."""
    coloured: list[Group] = []
    for mine in [groups] if len(groups) <= len(COLOURS) else by_task(groups).values():
        if len(mine) > len(COLOURS):
            mine = sorted(mine, key=lambda group: -group.score)[:BEST]
        for group, colour in zip(mine, COLOURS, strict=False):
            group.colour = colour
        coloured += mine
    return [*coloured, *(group for group in groups if group.colour == OTHER)]


def by_task(groups: list[Group]) -> dict[str, list[Group]]:
    """The groups of each environment, in order."""
    tasks: dict[str, list[Group]] = {}
    for group in groups:
        tasks.setdefault(group.config.task, []).append(group)
    return tasks


def differences(groups: list[Group]) -> list[Setting]:
    """The settings that tell each group from the others: swept ones, then others; of many others the run's folder."""
    swept = dict.fromkeys(name for group in groups for run in group.runs for name in run.config.settings[0])
    every = [settings_that_count(group.config) for group in groups]
    names = [n for n in swept | every[0] if any(other[n] != every[0][n] for other in every)]
    many = len(names) > max(MOST_NAMED, len(swept))
    names = [n for n in names if n in swept or not many]
    folders = [{"run": group.runs[0].path.resolve().name} if many else {} for group in groups]
    return [{**folder, **{n: mine[n] for n in names}} for folder, mine in zip(folders, every, strict=True)]


def setting_text(setting: Setting) -> str:
    """`critic_lr 0.0003, gamma 0.99`."""
    return ", ".join(str(value) if name == "run" else f"{name} {short(value)}" for name, value in setting.items())


def short(value: object) -> str:
    """A setting as text; other than `plain_text`, without commas of its own."""
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if isinstance(value, int | tuple) and not isinstance(value, bool) else plain_text(value)


def seeds_text(group: Group) -> str:
    """`seed 3`, `seeds 1 to 5`, and so on."""
    return seeds.seeds_text(sorted(member.config.seed for member in group.members))
