"""What an algorithm asks of its critics' head.

Axes: B batch, E critics, W outputs for one value.
"""

from abc import ABC, abstractmethod
from typing import Self

from torch import Tensor

from fastsac.config.settings import Config


class Head(ABC):
    """How W outputs stand for one value.

    Attributes:
        width: W.
    """

    width: int

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """The head for these settings."""
        return cls()

    @abstractmethod
    def value(self, out: Tensor) -> Tensor:
        """Values [...] that outputs [..., W] stand for."""

    @abstractmethod
    def target(
        self, reward: Tensor, discount: Tensor, next_out: Tensor, next_log_prob: Tensor, alpha: Tensor
    ) -> Tensor:
        """Target of the soft Bellman equation, [B] or [B, W]; gradients are stopped.

        Args:
            reward: [B].
            discount: [B].
            next_out: [E, B, W], of the target critics.
            next_log_prob: [B].
            alpha: [].
        """

    @abstractmethod
    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """Loss per transition, [B], of outputs [E, B, W] for a target from `target`, or for values [B]."""
