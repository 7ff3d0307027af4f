"""Returns and lengths of episodes.

Axes: M members, N environments per member.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RECENT_EPISODES = 100


@dataclass(frozen=True)
class Episodes:
    """Finished episodes, per member: figures since the last row of metrics.csv, and the last returns."""

    returns: list[list[float]]
    lengths: list[list[float]]
    last_returns: list[list[float]]
    successes: list[list[float]]  # 1 or 0, of those of which it is known

    @classmethod
    def none(cls, num_members: int) -> Self:
        """Those of a run in which none has finished."""
        lists: list[list[list[float]]] = [[[] for _ in range(num_members)] for _ in fields(cls)]
        return cls(*lists)


class EpisodeStats:
    """Episodes that are under way, and those that are over."""

    def __init__(self, num_members: int, num_envs: int) -> None:
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
        self._running_return += np.where(valid, reward, 0.0)
        self.running_length += valid
        if not done.any():
            return
        for m, n in np.argwhere(done):
            for returns in (self._returns[m], self.last_returns[m]):
                returns.append(float(self._running_return[m, n]))
            self._lengths[m].append(float(self.running_length[m, n]))
            if success is not None:
                self._successes[m].append(float(success[m, n]))
        self._running_return[done] = 0.0
        self.running_length[done] = 0

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
        return Episodes(*([*map(list, lists)] for lists in every))

    def load_finished(self, episodes: Episodes) -> None:
        """Take over what `finished` gave."""
        self._returns, self._lengths = [*map(list, episodes.returns)], [*map(list, episodes.lengths)]
        self._successes = [*map(list, episodes.successes)]
        self.last_returns = [deque(returns, maxlen=RECENT_EPISODES) for returns in episodes.last_returns]

    def take_in(self, others: Episodes) -> None:
        """Count finished episodes of other environments of the same members, too."""
        mine: tuple[Any, ...] = (self._returns, self._lengths, self.last_returns, self._successes)
        for lists, more in zip(mine, vars(others).values(), strict=True):
            for values, new in zip(lists, more, strict=True):
                values.extend(new)

    def hand_over(self) -> Episodes:
        """The finished episodes, which are somebody else's from now on."""
        episodes = self.finished()
        self.load_finished(Episodes.none(len(episodes.returns)))
        return episodes

    def running(self) -> dict[str, Tensor]:
        """Returns and lengths so far of the episodes that are under way, [M, N] each; views."""
        returns, lengths = torch.from_numpy(self._running_return), torch.from_numpy(self.running_length)
        return {"running_return": returns, "running_length": lengths}


def success_rate(successes: Sequence[float]) -> dict[str, float]:
    """The column of that name: the share of episodes that succeeded; none where no episode told."""
    return {"success_rate": _mean(successes)} if len(successes) else {}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan
