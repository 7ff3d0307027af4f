"""Returns and lengths of episodes.

Axes: M members, N environments per member.
"""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RECENT_EPISODES = 100


@dataclass(frozen=True)
class Episodes:
    """Finished episodes, per member: returns and lengths since the last row of metrics.csv, and the last returns."""

    returns: list[list[float]]
    lengths: list[list[float]]
    last_returns: list[list[float]]


class EpisodeStats:
    """Episodes that are under way, and those that are over."""

    def __init__(self, num_members: int, num_envs: int) -> None:
        self._running_return = np.zeros((num_members, num_envs))
        self.running_length = np.zeros((num_members, num_envs), np.int64)
        self._returns: list[list[float]] = [[] for _ in range(num_members)]
        self._lengths: list[list[float]] = [[] for _ in range(num_members)]
        self.last_returns = [deque[float](maxlen=RECENT_EPISODES) for _ in range(num_members)]

    def reset(self) -> None:
        """All episodes begin now."""
        self._running_return[:] = 0.0
        self.running_length[:] = 0

    def add(self, reward: NDArray[np.float32], done: NDArray[np.bool_], valid: NDArray[np.bool_]) -> None:
        """Take in one vector step: reward, done and whether the row is a transition, each [M, N]."""
        self._running_return += np.where(valid, reward, 0.0)
        self.running_length += valid
        if not done.any():
            return
        for m, n in np.argwhere(done):
            for returns in (self._returns[m], self.last_returns[m]):
                returns.append(float(self._running_return[m, n]))
            self._lengths[m].append(float(self.running_length[m, n]))
        self._running_return[done] = 0.0
        self.running_length[done] = 0

    def last_means(self) -> list[float]:
        """Mean return of the last 100 episodes, per member; nan where there were fewer."""
        return [sum(r) / RECENT_EPISODES if len(r) == RECENT_EPISODES else math.nan for r in self.last_returns]

    def take(self) -> list[dict[str, float]]:
        """Means over the episodes that ended since the last call, per member; nan where none did."""
        pairs = [*zip(self._returns, self._lengths, strict=True)]
        self._returns, self._lengths = [[] for _ in pairs], [[] for _ in pairs]
        return [{"episode_return": _mean(returns), "episode_length": _mean(lengths)} for returns, lengths in pairs]

    def finished(self) -> Episodes:
        """Copies of the figures of finished episodes."""
        copies = ([*map(list, lists)] for lists in (self._returns, self._lengths, self.last_returns))
        return Episodes(*copies)

    def load_finished(self, episodes: Episodes) -> None:
        """Take over what `finished` gave."""
        self._returns, self._lengths = [*map(list, episodes.returns)], [*map(list, episodes.lengths)]
        self.last_returns = [deque(returns, maxlen=RECENT_EPISODES) for returns in episodes.last_returns]

    def running(self) -> dict[str, Tensor]:
        """Returns and lengths so far of the episodes that are under way, [M, N] each; views."""
        returns, lengths = torch.from_numpy(self._running_return), torch.from_numpy(self.running_length)
        return {"running_return": returns, "running_length": lengths}


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan
