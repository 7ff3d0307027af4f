"""Actor, critic and noise for torchrl's losses."""

import torch
from torch import nn
from torch.distributions import Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform


class FixedNoise(TransformedDistribution):
    """A tanh-squashed Gaussian whose samples use given noise, in the order of the calls."""

    queue: list[torch.Tensor] = []  # noqa: RUF012

    def __init__(self, loc, scale):
        super().__init__(Independent(Normal(loc, scale), 1), TanhTransform(cache_size=1))

    def rsample(self, sample_shape=()):
        base = self.base_dist.base_dist
        return self.transforms[0](base.loc + base.scale * self.queue.pop(0))


class ActorModule(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, obs):
        mean, raw = self.net(obs).chunk(2, -1)
        return mean, torch.exp(-5 + 3.5 * (torch.tanh(raw) + 1))


class CriticModule(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, obs, action):
        return self.net(torch.cat([obs, action], -1))
