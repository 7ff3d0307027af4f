"""Pendulum-v1 with rewards times a factor, as `gymnasium:bench.lib.scaled_rewards:ScaledPendulum-v1`."""

from typing import Any

import gymnasium
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from gymnasium.wrappers import TransformReward


def make(factor: float = 1.0) -> gymnasium.Env[Any, Any]:
    """The environment, without its time limit."""
    return TransformReward(PendulumEnv(), lambda reward: factor * float(reward))


gymnasium.register("ScaledPendulum-v1", entry_point=f"{__name__}:make", max_episode_steps=200)
