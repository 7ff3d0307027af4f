"""A Gymnasium environment as a user would write it; importing this module registers `Nested-v0`."""

import gymnasium
import numpy as np


class Nested(gymnasium.Env):
    """Nested dictionary observations, action bounds [low, 1]; ends after `length` steps with both flags."""

    def __init__(self, length=3, low=-3.0, bad=False):
        if bad:
            raise RuntimeError("first line\nsecond line")
        box = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.observation_space = gymnasium.spaces.Dict(
            {"b": box, "a": gymnasium.spaces.Dict({"y": box, "x": gymnasium.spaces.Box(-1, 1, (2, 2), np.float32)})}
        )
        self.action_space = gymnasium.spaces.Box(np.array([low], np.float32), np.array([1.0], np.float32))
        self.length, self.steps, self.action = length, 0, np.zeros(1)

    def obs(self):
        noise = self.np_random.uniform(size=2)
        return {"b": noise, "a": {"y": self.action.repeat(2), "x": np.full((2, 2), self.steps, np.float32)}}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.action = 0, np.zeros(1)
        return self.obs(), {}

    def step(self, action):
        self.steps, self.action = self.steps + 1, action
        done = self.steps == self.length
        return self.obs(), 1.0, done, done, {}


gymnasium.register("Nested-v0", entry_point=Nested)
