"""What textbooks of SAC with distributions over returns have in common, in plain torch: beside it, ours is checked."""

import math
from collections.abc import Iterator
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Normal
from torch.utils import _pytree as pytree

from fastsac.algorithms import step
from fastsac.algorithms.algorithm import Algorithm
from fastsac.algorithms.batch import Batch
from fastsac.config.settings import Config
from fastsac.learning.gradient_step import make_hyper
from tests.support.learners import CPU, A, O

T = TypeVar("T")
B = 16


def squashed(mean: Tensor, std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Actions tanh(u), u = mean + std * noise, and their log-density."""
    u = mean + std * noise
    log_prob = Normal(mean, std).log_prob(u) - 2 * (math.log(2) - u - F.softplus(-2 * u))
    return torch.tanh(u), log_prob.sum(-1)


def project_onto(atoms: Tensor, prob: Tensor, moved: Tensor) -> Tensor:
    """C51: the weight of each moved atom goes to the two atoms next to it (Bellemare et al. 2017, algorithm 1)."""
    low, high = atoms[0], atoms[-1]
    width = (high - low) / (len(atoms) - 1)
    out = torch.zeros_like(prob)
    for row in range(len(prob)):
        for j in range(len(atoms)):
            b = (moved[row, j].clamp(low, high) - low) / width
            below = min(int(b), len(atoms) - 2)
            out[row, below] += prob[row, j] * (below + 1 - b)
            out[row, below + 1] += prob[row, j] * (b - below)
    return out


def double(tree: T) -> T:
    """In float64, in which a gradient that is nothing but rounding moves no parameter."""
    found: T = pytree.tree_map(lambda x: x.double() if x.is_floating_point() else x, tree)
    return found


class Ours:
    """An algorithm of ours, taking given batches, in float64."""

    def __init__(self, algorithm: Algorithm, config: Config) -> None:
        self.algorithm = algorithm
        self.hyper = double({k: v[0] for k, v in make_hyper(algorithm, config, CPU).items()})
        self.state = double(step.init(algorithm, torch.tensor(7), config.init_alpha))

    def update(self, batch: Batch, noise: Tensor) -> None:
        with_actor = int(self.state["grad_steps"]) % self.algorithm.actor_delay == 0
        self.state, _ = step.update(self.algorithm, self.hyper, self.state, batch, noise, with_actor)

    def views(self, name: str, target: bool = False) -> dict[str, Tensor]:
        vectors = self.state["targets"] if target else self.state["params"]
        return self.algorithm.learned[name].views(vectors[name])

    def alpha(self) -> float:
        return float(self.state["params"]["log_alpha"].exp())


def batches(count: int) -> Iterator[tuple[Batch, Tensor]]:
    """Transitions, some of which end an episode, and noise for the actions at obs and at next_obs."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    for _ in range(count):
        discount = torch.where(draw(B) > 1, 0.0, 0.97).double()
        yield Batch(1 + draw(B, O), torch.tanh(draw(B, A)), draw(B), discount, draw(B, O)), draw(2, B, A)
