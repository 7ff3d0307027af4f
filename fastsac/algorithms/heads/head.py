"""What an algorithm asks of its critics' head.

Axes: B batch, E critics, W outputs for one value.
"""

from abc import ABC, abstractmethod
from typing import Self

from torch import Tensor

from fastsac.config.settings import Config


class Head(ABC):
    """How W outputs stand for one value."""

    width: int  # W

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
        """The target of `losses.td_target` for outputs [E, B, W] of the target critics, in a form that `loss` takes."""

    @abstractmethod
    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """Loss per transition, [B], of outputs [E, B, W] for a target from `target`, or for values [B]."""
