"""Batch, actor, critic and noise for torchrl's losses."""

from collections.abc import Sequence

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.distributions import Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from fastsac.algorithms.batch import Batch


def as_tensordict(batch: Batch, terminated: Tensor, reward_scale: float) -> TensorDict:
    """A batch as torchrl's losses want it."""
    end = terminated.unsqueeze(-1)
    after = {
        "observation": batch.next_obs,
        "reward": reward_scale * batch.reward.unsqueeze(-1),
        "done": end,
        "terminated": end,
    }
    return TensorDict({"observation": batch.obs, "action": batch.action, "next": after}, [len(end)])


class FixedNoise(TransformedDistribution):
    """A tanh-squashed Gaussian whose samples use given noise, in the order of the calls."""

    queue: list[Tensor] = []  # noqa: RUF012

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        self.normal = Normal(loc, scale)
        super().__init__(Independent(self.normal, 1), TanhTransform(cache_size=1))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        action: Tensor = self.transforms[0](self.normal.loc + self.normal.scale * self.queue.pop(0))
        return action


class ActorModule(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.net(obs).chunk(2, -1)
        return mean, torch.exp(-5 + 3.5 * (torch.tanh(raw) + 1))


class CriticModule(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        q: Tensor = self.net(torch.cat([obs, action], -1))
        return q
