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

    def __init__(self, own_targets: bool = False) -> None:
        self.own_targets = own_targets  # of each critic its own target critic; else of all the one of the least value

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """The head for these settings."""
        return cls(config.critic_targets == "own")

    @abstractmethod
    def value(self, out: Tensor) -> Tensor:
        """Values [...] that outputs [..., W] stand for."""

    @abstractmethod
    def target(
        self, reward: Tensor, discount: Tensor, next_out: Tensor, next_log_prob: Tensor, alpha: Tensor
    ) -> Tensor:
        """The soft Bellman target for outputs [E, B, W] of the target critics, as `loss` takes it; no gradient.

        reward and next_log_prob are [B], discount [B] is gamma^n * (1 - terminated), alpha is [].
        """

    @abstractmethod
    def encode(self, value: Tensor) -> Tensor:
        """Values, [B] or [E, B], as targets that `loss` takes."""

    @abstractmethod
    def loss(self, out: Tensor, target: Tensor) -> Tensor:
        """Loss per transition, [B], summed over critics, of outputs [E, B, W] for a target."""
