"""Scaling of rewards by the spread of discounted returns, as FlashSAC and BRC do; the mean stays.

Statistics are taken from rewards as they come in, once each; the replay holds rewards as they are, and they are scaled
when they are drawn.  A critic that stands for values in a fixed range needs it.

Axes: M members, N environments.
"""

import torch
from torch import Tensor

from fastsac.nn.reduction import ALONE, Reduction

_EPS = 1e-8


class ReturnNormalizer:
    """Running variance and largest size of discounted returns, of each member; `scale` is what rewards are times.

    Args:
        num_members: M.
        num_envs: N.
        largest: size of a return, once scaled, at most.
        device: of the tensors.
    """

    def __init__(self, num_members: int, num_envs: int, largest: float, device: torch.device) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=device)

        self._largest = largest
        self.returns = zeros(num_members, num_envs)  # discounted, of the episodes under way
        self.count, self.running_mean, self.running_sum2, self.max_size = (zeros(num_members) for _ in range(4))  # [M]
        self.scale = torch.ones(num_members, device=device)  # [M]

    def update_(self, reward: Tensor, done: Tensor, valid: Tensor, gamma: Tensor, reduction: Reduction = ALONE) -> None:
        """Take in the rewards of a vector step: G <- gamma G + r, which begins anew after an episode's end.

        Args:
            reward: [M, N].
            done: [M, N] bool, whether the episode ends with it.
            valid: [M, N] bool; others are no step of an episode.
            gamma: [M].
            reduction: over processes that have environments each.
        """
        now = gamma.double().unsqueeze(-1) * self.returns + reward  # [M, N]
        self.merge_(now, valid, reduction)
        self.returns.copy_(torch.where(valid & ~done, now, torch.where(valid, 0.0, self.returns)))

    def merge_(self, now: Tensor, valid: Tensor, reduction: Reduction = ALONE) -> None:
        """Take in discounted returns [M, N], float64, of each process, of which those count that are `valid`."""
        n = reduction.sum(valid.sum(-1))  # [M]
        total = (self.count + n).clamp(min=1)
        kept = torch.where(valid, now, 0.0)
        batch_mean = reduction.sum(kept.sum(-1)) / n.clamp(min=1)
        delta = torch.where(n > 0, batch_mean - self.running_mean, 0.0)
        within = reduction.sum(torch.where(valid, now - batch_mean.unsqueeze(-1), 0.0).square().sum(-1))
        self.running_sum2.add_(within + delta.square() * self.count * n / total)
        self.running_mean.add_(delta * n / total)
        self.count.add_(n)
        self.max_size.copy_(torch.maximum(self.max_size, reduction.max(kept.abs().amax(-1))))
        deviation = (self.running_sum2 / total + _EPS).sqrt()
        scale = 1 / torch.maximum(deviation, self.max_size / self._largest)
        self.scale.copy_(torch.where(self.count > 0, scale, 1.0))

    def reset_(self) -> None:
        """Begin all episodes anew; the statistics stay."""
        self.returns.zero_()

    def state_dict(self) -> dict[str, Tensor]:
        """The statistics."""
        names = ("returns", "count", "running_mean", "running_sum2", "max_size", "scale")
        return {name: getattr(self, name) for name in names}
