"""Exploration noise that is held for some vector steps, as in FlashSAC: which vector step's noise is used now.

For how long is drawn anew each time: k steps with probability proportional to 1 / k^2, for k up to a largest one.  All
environments of a member draw new noise at the same steps.  Everything is a function of the vector step's number, so
that a step that is taken again has the same noise.

Axes: M members.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from fastsac.nn import philox


class HeldNoise(NamedTuple):
    """Device memory, which never moves."""

    since: Tensor  # int64 [M], the vector step whose noise is held
    until: Tensor  # int64 [M], the vector step that draws anew
    thresholds: Tensor  # int64 [K - 1]: a word at or above the k-th holds the noise for more than k steps

    @classmethod
    def of(cls, num_members: int, largest: int, device: torch.device) -> "HeldNoise":
        """That of a fresh run, with K = `largest`."""
        since = torch.zeros(num_members, dtype=torch.int64, device=device)
        return cls(since, since.clone(), torch.tensor(word_thresholds(largest), device=device))

    def state_dict(self) -> dict[str, Tensor]:
        """What a continued run needs."""
        return {"since": self.since, "until": self.until}


def word_thresholds(largest: int) -> list[int]:
    """2^32 times the probabilities of at most 1, 2, ... `largest` - 1 steps."""
    weights = [k**-2.0 for k in range(1, largest + 1)]
    return [round(2**32 * sum(weights[:k]) / sum(weights)) for k in range(1, largest)]


def renew_(held: HeldNoise, random: Tensor, seed: Tensor, now: Tensor) -> Tensor:
    """The vector steps [M] whose noise members use at step `now`, [].

    Args:
        held: is carried on.
        random: [M] bool, members whose noise is new at every step.
        seed: int64 [M].
        now: int64 [].
    """
    word = torch.func.vmap(partial(philox.words, purpose=philox.Purpose.HOLD, counter=now, num=1))(seed)  # [M, 1]
    length = 1 + (word >= held.thresholds).sum(-1)  # [M]
    renew = random | (now >= held.until)
    held.since.copy_(torch.where(renew, now, held.since))
    held.until.copy_(torch.where(renew, now + torch.where(random, 1, length), held.until))
    return held.since
