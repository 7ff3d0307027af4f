"""Means of figures that environments tell of their steps: those named by `info_metrics`.

Axes: K figures, M members, N environments per member.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastsac.config.derived import INFO
from fastsac.env import FloatArray


@dataclass(frozen=True)
class Total:
    """The transitions of a member that told a figure, since the last row of metrics.csv."""

    sum: float
    count: int


Totals = dict[str, Total]  # by figure, of one member


class Sums(NamedTuple):
    """Over transitions that told a figure; written in place."""

    values: NDArray[np.float64]  # [K, M]
    counts: NDArray[np.int64]  # [K, M]

    @classmethod
    def zeros(cls, num_figures: int, num_members: int) -> Self:
        """Of no transition."""
        shape = (num_figures, num_members)
        return cls(np.zeros(shape), np.zeros(shape, np.int64))


class InfoMeans:
    """Sums of figures over transitions, of which rows of metrics.csv take the means.

    Args:
        names: of the figures.
        num_members: M.
        is_part: these are of a part of an agent's environments, and count when `take_in` has those of all parts.
    """

    def __init__(self, names: Sequence[str], num_members: int, is_part: bool = False) -> None:
        self.names = tuple(names)
        self._sums = Sums.zeros(len(names), num_members)
        self._own = Sums.zeros(len(names), num_members) if is_part else self._sums  # where those of the part go first

    def add(self, info: Mapping[str, FloatArray], valid: NDArray[np.bool_]) -> None:
        """Take in one vector step: figures [M * N] by name, and whether the row is a transition, [M, N]."""
        for k, name in enumerate(self.names):
            values = info[name].reshape(valid.shape)
            told = valid & np.isfinite(values)
            self._own.values[k] += np.where(told, values, 0).sum(-1, dtype=np.float64)
            self._own.counts[k] += told.sum(-1)

    def hand_over(self) -> Sums:
        """The sums of this part since the last call, for `take_in`."""
        assert self._own is not self._sums
        handed, self._own = self._own, Sums.zeros(*self._own.values.shape)
        return handed

    def take_in(self, parts: Sequence[Sums]) -> None:
        """Count what all parts have handed over."""
        for values, counts in parts:
            self._sums.values[:] += values
            self._sums.counts[:] += counts

    def take(self) -> list[dict[str, float]]:
        """Means since the last call, by column, per member; nan where no transition told."""
        means = [
            {INFO + name: each.sum / each.count if each.count else math.nan for name, each in totals.items()}
            for totals in self.totals()
        ]
        self.load([{} for _ in means])
        return means

    def totals(self) -> list[Totals]:
        """What counts so far, per member."""
        columns = zip(self._sums.values.T.tolist(), self._sums.counts.T.tolist(), strict=True)
        return [dict(zip(self.names, map(Total, *column), strict=True)) for column in columns]

    def load(self, totals: Sequence[Totals]) -> None:
        """Take over what `totals` gave; of figures that it does not have, nothing was told."""
        for member, of_member in enumerate(totals):
            for k, name in enumerate(self.names):
                total = of_member.get(name, Total(0.0, 0))
                self._sums.values[k, member], self._sums.counts[k, member] = total.sum, total.count
