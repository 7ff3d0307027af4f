"""Returns and lengths of episodes, and means of what environments tell of their steps.

Axes: M members, N environments per member.
"""

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastsac.acting.info_means import InfoMeans, Totals

RECENT_EPISODES = 100


@dataclass(frozen=True)
class Episodes:
    """Finished episodes, per member: figures since the last row of metrics.csv, and the last returns."""

    returns: list[list[float]]
    lengths: list[list[float]]
    last_returns: list[list[float]]
    successes: list[list[float]]  # 1 or 0, of those of which it is known
    info: list[Totals]  # of the transitions since that row, also of episodes under way


class Ended(NamedTuple):
    """One episode that is over."""

    vec_step: int  # of this process, with which it ended
    member: int
    total: float
    length: float
    success: float | None  # 1 or 0, where it is known


class EpisodeStats:
    """Episodes that are under way, and those that are over.

    Args:
        num_members: M.
        num_envs: N.
        is_part: these are a part of an agent's environments; episodes count when `take_in` has those of all parts.
        info_metrics: names of the figures whose means `info` has.
    """

    def __init__(
        self, num_members: int, num_envs: int, is_part: bool = False, info_metrics: Sequence[str] = ()
    ) -> None:
        self.info = InfoMeans(info_metrics, num_members, is_part)
        self._held: list[Ended] | None = [] if is_part else None  # that do not count yet
        self._vec_step = 0
        self._running_return = np.zeros((num_members, num_envs))
        self.running_length = np.zeros((num_members, num_envs), np.int64)
        self._returns: list[list[float]] = [[] for _ in range(num_members)]
        self._lengths: list[list[float]] = [[] for _ in range(num_members)]
        self._successes: list[list[float]] = [[] for _ in range(num_members)]
        self.last_returns = [deque[float](maxlen=RECENT_EPISODES) for _ in range(num_members)]

    def reset(self) -> None:
        """All episodes begin now."""
        self._running_return[:] = 0.0
        self.running_length[:] = 0

    def add(
        self,
        reward: NDArray[np.float32],
        done: NDArray[np.bool_],
        valid: NDArray[np.bool_],
        success: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take in one vector step: reward, done, whether the row is a transition, and success where done, [M, N]."""
        self._vec_step += 1
        self._running_return += np.where(valid, reward, 0.0)
        self.running_length += valid
        if not done.any():
            return
        for m, n in np.argwhere(done):
            figures = float(self._running_return[m, n]), float(self.running_length[m, n])
            ended = Ended(self._vec_step, int(m), *figures, None if success is None else float(success[m, n]))
            if self._held is None:
                self._count(ended)
            else:
                self._held.append(ended)
        self._running_return[done] = 0.0
        self.running_length[done] = 0

    def _count(self, ended: Ended) -> None:
        self._returns[ended.member].append(ended.total)
        self.last_returns[ended.member].append(ended.total)
        self._lengths[ended.member].append(ended.length)
        if ended.success is not None:
            self._successes[ended.member].append(ended.success)

    def hand_over(self) -> list[Ended]:
        """The episodes of this part that ended since the last call, for `take_in`."""
        assert self._held is not None
        held, self._held = self._held, []
        return held

    def take_in(self, parts: Sequence[Sequence[Ended]]) -> None:
        """Count what all parts have handed over, in the order in which one process with all environments would have."""
        for ended in heapq.merge(*parts, key=lambda ended: ended.vec_step):  # keeps the order of parts
            self._count(ended)

    def last_means(self) -> list[float]:
        """Mean return of the last 100 episodes, per member; nan where there were fewer."""
        return [sum(r) / RECENT_EPISODES if len(r) == RECENT_EPISODES else math.nan for r in self.last_returns]

    def take(self) -> list[dict[str, float]]:
        """Means over the episodes that ended since the last call, per member; nan where none did.

        success_rate is left out for members whose episodes did not tell.
        """
        ended = [*zip(self._returns, self._lengths, self._successes, strict=True)]
        self._returns, self._lengths = [[] for _ in ended], [[] for _ in ended]
        self._successes = [[] for _ in ended]
        return [
            {"episode_return": _mean(returns), "episode_length": _mean(lengths), **success_rate(successes)}
            for returns, lengths, successes in ended
        ]

    def finished(self) -> Episodes:
        """Copies of the figures of finished episodes."""
        every = (self._returns, self._lengths, self.last_returns, self._successes)
        returns, lengths, last_returns, successes = ([*map(list, lists)] for lists in every)
        return Episodes(returns, lengths, last_returns, successes, self.info.totals())

    def load_finished(self, episodes: Episodes) -> None:
        """Take over what `finished` gave."""
        self._returns, self._lengths = [*map(list, episodes.returns)], [*map(list, episodes.lengths)]
        self._successes = [*map(list, episodes.successes)]
        self.last_returns = [deque(returns, maxlen=RECENT_EPISODES) for returns in episodes.last_returns]
        self.info.load(episodes.info)

    def running(self) -> dict[str, Tensor]:
        """Returns and lengths so far of the episodes that are under way, [M, N] each; views."""
        returns, lengths = torch.from_numpy(self._running_return), torch.from_numpy(self.running_length)
        return {"running_return": returns, "running_length": lengths}


def success_rate(successes: Sequence[float]) -> dict[str, float]:
    """The column of that name: the share of episodes that succeeded; none where no episode told."""
    return {"success_rate": _mean(successes)} if len(successes) else {}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan
