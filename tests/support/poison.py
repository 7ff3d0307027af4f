"""A hook for `go_wrong` that spoils rewards."""

import math

from torch import Tensor

from fastsac.run.trainer import Run


class Poison:
    """All rewards of one member are NaN for one vector step."""

    def __init__(self, at: float, member: int = 0) -> None:
        self.at, self.member = at, member
        self.kept: Tensor | None = None

    def __call__(self, training: Run) -> None:
        reward = training.replay.rows.reward[self.member]
        if self.kept is not None:
            reward[self.kept.isfinite()] = self.kept[self.kept.isfinite()]
            self.kept, self.at = None, math.inf
        elif training.collector.env_steps[self.member] >= self.at:
            self.kept = reward.clone()
            reward.fill_(math.nan)
            self.kept[training.replay.host_head] = math.nan  # is written in between
