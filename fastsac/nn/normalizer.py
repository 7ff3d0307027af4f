"""Running mean and variance of observations, and their use.

Statistics are taken from fresh frames, once each, never from replayed ones; the replay holds raw observations and
they are normalised on the way into the networks.

Axes: M members, N environments, O obs_dim.
"""

import torch
from torch import Tensor

from fastsac.nn.reduction import ALONE, Reduction

_EPS = 1e-8
_CLIP = 10.0


class Normalizer:
    """Mean and variance per member and coordinate, in float64; `mean` and `rstd` are what the networks use."""

    def __init__(self, num_members: int, obs_dim: int, device: torch.device) -> None:
        shape = (num_members, obs_dim)
        self.count = torch.zeros(num_members, 1, dtype=torch.float64, device=device)
        self.running_mean = torch.zeros(shape, dtype=torch.float64, device=device)
        self.running_sum2 = torch.zeros(shape, dtype=torch.float64, device=device)  # of squared deviations
        self.mean = torch.zeros(shape, device=device)  # [M, O]
        self.rstd = torch.ones(shape, device=device)  # [M, O]

    def update_(self, obs: Tensor, reduction: Reduction = ALONE) -> None:
        """Take in fresh obs [M, N, O] of each process (Chan, Golub and LeVeque 1979, parallel variance)."""
        obs = obs.double()
        n = obs.shape[1] * reduction.size
        batch_mean = reduction.mean(obs.mean(1))
        delta = batch_mean - self.running_mean
        total = self.count + n
        within = reduction.sum((obs - batch_mean.unsqueeze(1)).square().sum(1))
        self.running_sum2.add_(within + delta.square() * self.count * n / total)
        self.running_mean.add_(delta * n / total)
        self.count.copy_(total)
        self.mean.copy_(self.running_mean)
        self.rstd.copy_(torch.rsqrt(self.running_sum2 / total + _EPS))

    def state_dict(self) -> dict[str, Tensor]:
        """The statistics."""
        return {k: getattr(self, k) for k in ("count", "running_mean", "running_sum2", "mean", "rstd")}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what `state_dict` gave."""
        for key, value in self.state_dict().items():
            value.copy_(state[key])


def apply(obs: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
    """Normalise obs [B, O] by mean [O] and reciprocal standard deviation [O], cut at 10 standard deviations."""
    return ((obs - mean) * rstd).clamp(-_CLIP, _CLIP)
