"""Acting, learning and storing in turn, without environments."""

import numpy as np
import torch

from fastsac.acting.actor import Actor
from fastsac.acting.store import Store
from fastsac.config.settings import Config
from fastsac.env import EnvSpec, FloatArray, Step
from fastsac.learning.learner import make_parts
from fastsac.learning.replay import Ring
from fastsac.nn.reduction import ALONE, Reduction
from fastsac.runtime.launch import Mode
from tests.support.learners import CPU, SPEC, A, N, O

ALL_OPTIONS = {
    "obs_norm": True, "n_step": 3, "critic_layer_norm": True, "actor_delay": 2, "activation": "silu",
    "actor_hidden_dims": (8,), "lr_schedule": "cosine", "total_steps": 40, "log_std_map": "clamp",
    "bootstrap_time_limits": False, "weight_decay": 0.01, "adam_beta1": 0.8, "reward_norm": True, "noise_repeat": 3,
}  # fmt: skip


class Loop:
    """Acting, learning and storing without environments."""

    def __init__(
        self,
        config: Config,
        spec: EnvSpec = SPEC,
        mode: Mode = "eager",
        device: torch.device = CPU,
        demonstrations: Ring | None = None,
        reduction: Reduction = ALONE,
    ) -> None:
        self.config = config
        self.parts = make_parts(config, spec, device, mode, demonstrations, reduction)
        self.learner, self.replay, self.normalizer, self.return_normalizer = self.parts
        self.actor = Actor(config, self.learner)
        self.store = Store(config, self.learner, self.actor, *self.parts[1:])
        for part in (self.learner, self.actor, self.store):
            part.warm_up()


class Stream:
    """What environments might return, the same for a member seed whatever the number of members."""

    def __init__(self, config: Config) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in config.member_seeds]

    def draw(self, *shape: int) -> FloatArray:
        drawn: FloatArray = torch.cat([torch.randn(N, *shape, generator=g) for g in self.generators]).numpy()
        return drawn

    def step(self) -> Step:
        return Step(self.draw(O), self.draw(), self.draw() > 1.3, self.draw() > 1.3)


def run(loop: Loop, steps: int = 12, updates: int = 3) -> FloatArray:
    """Actions of a short run, [steps, M, N, A]."""
    stream, members = Stream(loop.config), loop.config.num_members
    loop.store.reset(stream.draw(O), [True] * members)
    actions = []
    for step in range(steps):
        actions.append(loop.actor.act().copy().reshape(members, N, A))
        loop.learner.launch([updates if step >= 4 else 0] * members)
        loop.store.add(stream.step(), [step < 4] * members)
    return np.stack(actions)
