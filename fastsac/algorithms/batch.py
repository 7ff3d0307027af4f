"""What a gradient step learns from: a batch of transitions.

Axes: B batch, O obs_dim, A action_dim.
"""

from typing import NamedTuple

from torch import Tensor


class WindowStates(NamedTuple):
    """The states s_1 ... s_{n-1} of n-step windows, at which a soft value counts entropy too."""

    obs: Tensor  # [n - 1, B, O]
    discount: Tensor  # [n - 1, B], gamma^k, or 0 where the window has ended before


class Batch(NamedTuple):
    """Transitions as the losses want them; `discount` is gamma^n * (1 - terminated)."""

    obs: Tensor  # [B, O]
    action: Tensor  # [B, A]
    reward: Tensor  # [B], the discounted sum over the window
    discount: Tensor  # [B]
    next_obs: Tensor  # [B, O]
    window: WindowStates | None = None  # where the entropy along the window counts
