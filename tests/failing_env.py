"""A Gymnasium environment, one of whose copies falls over: `gymnasium:tests.failing_env:Falls-v0`."""

from typing import Any

import gymnasium
import numpy as np


class Falls(gymnasium.Env[Any, Any]):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def __init__(self, after: int) -> None:
        self.after, self.steps, self.seed = after, 0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.seed = self.seed if seed is None else seed
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        if self.steps > self.after and self.seed % 2:
            raise ArithmeticError("joint 3 came off")
        return np.zeros(2, np.float32), 0.0, False, False, {}


gymnasium.register("Falls-v0", Falls, max_episode_steps=100)


class Grows(Falls):
    """The copy with seed 5 gives longer observations after so many steps."""

    def step(self, action: Any) -> Any:
        self.steps += 1
        length = 3 if self.steps >= self.after and self.seed == 5 else 2
        return np.zeros(length, np.float32), 0.0, False, False, {}


gymnasium.register("Grows-v0", Grows, max_episode_steps=100)
