"""A Gymnasium environment that tells of success as real ones do, registered as Reach-v0.

Episodes have four steps; those of an environment with seed s are numbered from s on, and the odd ones succeed.  `told`
is the key of the info, and how it is told: as a "bool", "numpy" bool or "float", "only" where it is true; or as what is
none, an "array" or a "dict".
"""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

LENGTH = 4
KINDS: dict[str, Callable[[bool], Any]] = {
    "bool": lambda success: success,
    "numpy": np.bool_,
    "float": float,
    "array": lambda success: np.array([success, success]),
    "dict": lambda success: {"all": success},
}


class Reach(gymnasium.Env[Any, Any]):
    def __init__(self, told: Sequence[str]) -> None:
        self.key, self.kind = told
        self.observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
        self.episode = -1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode, self.steps = self.episode + 1 if seed is None else seed % 1024, 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        done, success = self.steps == LENGTH, self.episode % 2 == 1
        info: dict[str, Any] = {}
        if done and (self.kind != "only" or success):
            info[self.key] = KINDS.get(self.kind, bool)(success)
        return np.ones(2, np.float32), 1.0, False, done, info


gymnasium.register("Reach-v0", entry_point=f"{__name__}:Reach")
