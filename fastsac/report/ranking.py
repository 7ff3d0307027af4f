"""Which settings did best: final returns of the members of a sweep, ranked, and as a table for the terminal.

The final return of a member is the mean of its last evaluation, not of its best one; of a setting it is the
interquartile mean of that over its members.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from fastsac.report.runs import Setting, Source, by_task, differences, group_members, read_runs, setting_text, short
from fastsac.report.statistics import Array, iqm_interval


@dataclass(frozen=True)
class Score:
    """How the members of one setting ended."""

    setting: Setting  # values that tell it from the others
    returns: Array  # final return of each member, [seeds]
    iqm: float
    low: float  # ends of the 95% bootstrap interval; NaN with fewer than three seeds
    high: float

    @property
    def seeds(self) -> int:
        """Members."""
        return len(self.returns)


@dataclass(frozen=True)
class Ranking:
    """The settings of one task, best first."""

    task: str
    scores: list[Score]

    @property
    def names(self) -> list[str]:
        """Names of the settings that differ."""
        return list(self.scores[0].setting)

    def values(self, name: str) -> list[object]:
        """Values of a setting, in order."""
        found = {short(score.setting[name]): score.setting[name] for score in self.scores}
        return sorted(found.values(), key=lambda v: (0, v, "") if isinstance(v, int | float) else (1, 0, str(v)))


def rank(runs: Sequence[Source]) -> list[Ranking]:
    """Settings by final return for each task of which two or more were evaluated; none without a sweep.

    Raises ValueError as `read_runs`.
    """
    read = read_runs(runs)
    if not any(run.config.sweep for run in read):
        return []
    rankings = []
    for task, groups in by_task([group for group in group_members(read) if group.evals]).items():
        scores = [
            Score(setting, group.finals, group.score, *map(float, iqm_interval(group.finals)))
            for group, setting in zip(groups, differences(groups), strict=True)
        ]
        if len(scores) > 1:
            rankings.append(Ranking(task, sorted(scores, key=lambda score: -score.iqm)))
    return rankings


def show(rankings: list[Ranking], console: Console | None = None) -> None:
    """Print a table per task, whole also where the terminal is narrow or none."""
    console = console or Console(highlight=False)
    for table in map(_table, rankings):
        unlimited = console.options.update(width=1_000)
        console.width = max(console.width, console.measure(table, options=unlimited).maximum)
        console.print(table)


def _table(ranking: Ranking) -> Table:
    text = number_format(ranking)
    title = f"{ranking.task}: final return by setting"
    result = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for name in ("rank", *ranking.names, "IQM", "95% interval", "min", "max", "seeds"):
        result.add_column(name, justify="left" if name in ranking.names else "right", no_wrap=True)
    for place, score in enumerate(ranking.scores, start=1):
        interval = f"{text(score.low)} to {text(score.high)}" if math.isfinite(score.low) else "-"
        result.add_row(
            str(place), *map(short, score.setting.values()), text(score.iqm), interval,
            text(score.returns.min()), text(score.returns.max()), str(score.seeds),
            style="bold" if place == 1 else "",
        )  # fmt: skip
    return result


def best_text(ranking: Ranking) -> str:
    """`critic_lr 0.0003, gamma 0.98 (final return -150.2, interquartile mean of 5 seeds)`."""
    best = ranking.scores[0]
    of = f", interquartile mean of {best.seeds} seeds" if best.seeds > 1 else ""
    return f"{setting_text(best.setting)} (final return {number_format(ranking)(best.iqm)}{of})"


def number_format(ranking: Ranking, minus: str = "-") -> Callable[[float], str]:
    """How the returns of a ranking are written."""
    return like(max(float(np.abs(score.returns).max()) for score in ranking.scores), minus)


def like(largest: float, minus: str = "-") -> Callable[[float], str]:
    """How returns are written of which the largest is known, all with as many decimals: `9,832`, `150.2`, `0.634`."""
    decimals = next((d for d, least in enumerate((1000, 10, 1)) if largest >= least), 3)
    return lambda value: f"{value:,.{decimals}f}".replace("-", minus)
