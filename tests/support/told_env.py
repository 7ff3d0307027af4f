"""A Gymnasium environment that tells figures of its steps, registered as Told-v0.

Episodes have three steps.  The info of step s holds "step", s, as a whole number at even steps and s + 0.5 at odd ones;
"log" a dictionary with "height", an array of one number; at the last step "late"; and "name", which is no number.
"""

from typing import Any

import gymnasium
import numpy as np

LENGTH = 3


class Told(gymnasium.Env[Any, Any]):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, first: int = 0) -> None:
        self.first = first  # step of the first episode, with seeds that are even

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0 if seed is None or seed % 2 else self.first
        return np.zeros(2, np.float32), {"step": -1000}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        done = self.steps == LENGTH
        info = {
            "step": self.steps if self.steps % 2 == 0 else self.steps + 0.5,
            "log": {"height": np.array([10.0 * self.steps])},
            "name": "told",
            **({"late": True} if done else {}),
        }
        return np.ones(2, np.float32), 1.0, False, done, info


gymnasium.register("Told-v0", entry_point=f"{__name__}:Told")
