"""The head "categorical": outputs are logits of a distribution over fixed values, atoms (Bellemare et al. 2017, C51).

Its value is the mean of the distribution.  It learns by cross-entropy, which is insensitive to the scale of returns, as
long as they lie within the support: combine it with normalised rewards.

Axes: B batch, E critics, W atoms.
"""

from typing import Self

import torch
from torch import Tensor

from fastsac.algorithms import losses
from fastsac.algorithms.heads.head import Head
from fastsac.config.settings import Config


class Categorical(Head):
    """W atoms, evenly spaced from `low` to `high`, both included."""

    def __init__(self, low: float, high: float, num_atoms: int, own_targets: bool = False) -> None:
        super().__init__(own_targets)
        self.low, self.high, self.width = low, high, num_atoms

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """The head for these settings."""
        return cls(config.value_min, config.value_max, config.num_atoms, config.critic_targets == "own")

    def value(self, out: Tensor) -> Tensor:
        """Means [...] of the distributions of logits [..., W]."""
        return (out.softmax(-1) * self._atoms(out)).sum(-1)

    def target(
        self, reward: Tensor, discount: Tensor, next_out: Tensor, next_log_prob: Tensor, alpha: Tensor
    ) -> Tensor:
        """Probabilities [B, W], or [E, B, W] with own targets, of r + discount * (z - alpha log pi(a'|s')).

        The distribution is that of the target critic whose value is the least; it is clamped to the support.
        """
        prob = next_out.softmax(-1)  # [E, B, W]
        if not self.own_targets:
            prob = losses.least(prob, self.value(next_out))  # [B, W]
        value = self._atoms(reward) - (alpha * next_log_prob).unsqueeze(-1)  # [B, W]
        moved = reward.unsqueeze(-1) + discount.unsqueeze(-1) * value
        return losses.project(prob, self._position(moved)).detach()

    def encode(self, value: Tensor) -> Tensor:
        """Each as weights of the two atoms next to it, [..., W]."""
        return losses.two_hot(self._position(value), self.width)

    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy [B], summed over critics, with the target's probabilities."""
        return -(target * out.log_softmax(-1)).sum(-1).sum(0)

    def _atoms(self, like: Tensor) -> Tensor:
        """The values that the W outputs stand for, [W]."""
        return torch.linspace(self.low, self.high, self.width, dtype=like.dtype, device=like.device)

    def _position(self, value: Tensor) -> Tensor:
        """Where values [...] lie among the atoms, in [0, W - 1]."""
        place = (value.clamp(self.low, self.high) - self.low) * ((self.width - 1) / (self.high - self.low))
        return place.clamp(0, self.width - 1)
