"""Environments as objects, of each kind that a script may hand over; a Gymnasium environment that never ends."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import SyncVectorEnv

from fastsac.env import VectorEnv, make_env


class Endless(gymnasium.Env[dict[str, Any], np.integer[Any]]):
    """A state from 1 to 4 and a matrix; the choices are 5, 6 and 7, and 6 pays `pay`."""

    observation_space = gymnasium.spaces.Dict(
        state=gymnasium.spaces.Discrete(4, start=1), matrix=gymnasium.spaces.Box(-1, 1, (2, 2))
    )
    action_space = gymnasium.spaces.Discrete(3, start=5)

    def __init__(self, pay: float = 1.0) -> None:
        self.pay = pay

    def obs(self) -> dict[str, Any]:
        matrix = self.np_random.uniform(-1, 1, (2, 2)).astype(np.float32)
        return {"state": self.np_random.integers(1, 5), "matrix": matrix}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        return self.obs(), {}

    def step(self, action: np.integer[Any]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        assert action in self.action_space
        return self.obs(), self.pay * float(action == 6), False, False, {}


def scripted(seeds: Sequence[int], **env_kwargs: Any) -> VectorEnv:
    """A `VectorEnv` of one's own, with an environment for each seed."""
    return make_env("tests.support.scripted_env:3t,5c,2b", seeds, env_kwargs=env_kwargs)


def pendulum(**kwargs: Any) -> Any:
    """A Gymnasium environment."""
    return gymnasium.make("Pendulum-v1", **kwargs)


def vector(num_envs: int = 3) -> Any:
    """A Gymnasium vector environment."""
    return SyncVectorEnv([pendulum] * num_envs)


KINDS: dict[str, Callable[[], object]] = {
    "function": lambda: pendulum,
    "partial": lambda: partial(gymnasium.make, "Pendulum-v1"),
    "lambda": lambda: lambda: gymnasium.make("Pendulum-v1"),
    "environment": pendulum,
    "vector": vector,
    "function of a vector": lambda: vector,
}
