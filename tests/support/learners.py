"""A small learner, with random transitions in its replay."""

from typing import Any

import torch
from torch import Tensor

from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.learning.learner import Learner, Parts, make_parts
from fastsac.runtime.launch import Mode

O, A, N = 3, 2, 4
SPEC = EnvSpec("test:test", O, A, (("obs", O),), None)


BASE = Config(
    env="test:test", num_envs=N, hidden_dims=(16, 16), batch_size=8, learning_starts=8, buffer_size=200,
    critic_lr=1e-3, actor_lr=1e-3, alpha_lr=1e-3, seed=5,
)  # fmt: skip
CPU = torch.device("cpu")


def fill(parts: Parts, steps: int = 30, start: int = 0) -> None:
    """The same rows for a member seed, whatever the number of members."""
    learner, replay, normalizer, return_normalizer = parts
    seeds = learner.config.member_seeds
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def draw(*shape: int) -> Tensor:
        return torch.stack([torch.randn(*shape, generator=g) for g in generators]).to(learner.device)

    replay.reset_(draw(N, O))
    for _ in range(start, start + steps):
        terminated, truncated = draw(N) > 1.3, draw(N) > 1.3
        action, reward = torch.tanh(draw(N, A)), draw(N)
        if return_normalizer is not None:
            gamma = learner.buffers["hyper"]["gamma"]
            return_normalizer.update_(reward, terminated | truncated, ~replay.is_dummy, gamma)
        replay.add_(action, reward, terminated, truncated, draw(N, O))
        normalizer.update_(draw(N, O))


def make_filled(mode: Mode = "eager", **changes: Any) -> Parts:
    """A learner, warmed up, with its replay and normalizer."""
    parts = make_parts(BASE.replace(**changes), SPEC, CPU, mode)
    fill(parts)
    parts.learner.warm_up()
    return parts


def make(mode: Mode = "eager", **changes: Any) -> Learner:
    return make_filled(mode, **changes).learner
