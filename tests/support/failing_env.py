"""A Gymnasium environment, one of whose copies falls over: `gymnasium:tests.support.failing_env:Falls-v0`."""

import math
import sys
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import torch


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


gymnasium.register("Falls-v0", f"{__name__}:Falls", max_episode_steps=100)


class Grows(Falls):
    """The copy with seed 5 gives longer observations after so many steps."""

    def step(self, action: Any) -> Any:
        self.steps += 1
        length = 3 if self.steps >= self.after and self.seed == 5 else 2
        return np.zeros(length, np.float32), 0.0, False, False, {}


gymnasium.register("Grows-v0", f"{__name__}:Grows", max_episode_steps=100)


class Gives(Falls):
    """The copy with seed 5 returns what it is told to from its second step on; see GIFTS."""

    def __init__(self, key: str, gift: str) -> None:
        super().__init__(after=2)
        self.key, self.gift = key, GIFTS[gift]

    def step(self, action: Any) -> Any:
        self.steps += 1
        values = {"obs": np.zeros(2, np.float32), "reward": 0.5, "terminated": False, "truncated": False}
        if self.steps >= self.after and self.seed == 5:
            values[self.key] = self.gift
        return *values.values(), {}


GIFTS: dict[str, Any] = {
    "nan": math.nan, "text": "1.5", "no": "no", "none": None, "two": 2, "complex": 1 + 0j, "pair": np.zeros(2),
    "objects": np.zeros(2, object), "bool": True, "numpy bool": np.True_, "one": 1, "1.0": 1.0, "int8": np.int8(1),
    "array": np.array([True]), "tensor": torch.tensor(1.0), "float16": np.float16(1), "complexes": np.zeros(2, complex),
}  # fmt: skip

gymnasium.register("Gives-v0", f"{__name__}:Gives", max_episode_steps=100)


class Quits(Falls):
    """The copy with seed 5 ends the program, as it thinks, in a step, in `reset` or as it is made."""

    def __init__(self, where: str) -> None:
        super().__init__(after=0)
        self.where = where
        if where == "make":
            sys.exit("no licence")

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if self.where == "reset" and seed == 5:
            sys.exit("no licence")
        return super().reset(seed=seed)

    def step(self, action: Any) -> Any:
        sys.exit("no licence")


gymnasium.register("Quits-v0", f"{__name__}:Quits", max_episode_steps=100)


class Models(Falls):
    """Has a `model` of its own: one that cannot be read, or with only the beginnings of MuJoCo's."""

    def __init__(self, model: str) -> None:
        super().__init__(after=100)
        self.kind = model

    @property
    def model(self) -> Any:
        if self.kind == "property":
            raise RuntimeError("not trained yet")
        joints = {"actuator_trntype": np.zeros(1), "actuator_trnid": np.zeros((1, 2))}
        return SimpleNamespace(**(joints if self.kind == "joints" else {"actuator_trnid": 3}))


gymnasium.register("Models-v0", f"{__name__}:Models", max_episode_steps=100)
