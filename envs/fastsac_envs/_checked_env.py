"""A Gymnasium environment that is held to its types, with errors that carry its index among copies."""

from collections.abc import Mapping
from typing import Any, NoReturn, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

from fastsac_envs._info import KEY, figures

NUMBERS = {float, int, np.float64, np.float32}
TRUTHS = {bool, np.bool_}

Space = spaces.Space[Any]


class CheckedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One copy, whose errors carry its index, and which returns values of the types that Gymnasium asks for.

    Gymnasium's vector environment writes them into arrays, which would make truths of NaN and of any text.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.index = 0  # among the copies
        self.info_metrics: list[str] = []  # names of figures that its info is to hold under KEY
        self._space = env.observation_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As of `gymnasium.Env`."""
        try:
            obs, info = self.env.reset(seed=seed, options=options)
            return self._fitting("reset", obs), info
        except BaseException as error:
            error.env_index = self.index  # type: ignore[attr-defined]
            raise

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """As of `gymnasium.Env`."""
        try:
            obs, reward, terminated, truncated, info = self.env.step(action)
            if type(reward) not in NUMBERS:
                reward = self._number("reward as one number", reward)
            if type(terminated) not in TRUTHS:
                terminated = self._truth("terminated", terminated)
            if type(truncated) not in TRUTHS:
                truncated = self._truth("truncated", truncated)
            if self.info_metrics:
                info = {**info, KEY: figures(info, self.info_metrics)}
            return self._fitting("step", obs), reward, terminated, truncated, info
        except BaseException as error:
            error.env_index = self.index  # type: ignore[attr-defined]
            raise

    def _fitting(self, function: str, obs: Any) -> Any:
        if not _fits(obs, self._space):
            self._refuse(function, f"an observation of {self._space}", obs)
        return obs

    def _truth(self, name: str, value: object) -> bool:
        wanted = f"{name} as True or False"
        number = self._number(wanted, value)
        if number not in (0, 1):
            self._refuse("step", wanted, value)
        return bool(number)

    def _number(self, wanted: str, value: object) -> float:
        """A number from anything that holds one: other integers and floats, arrays and tensors."""
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or array.size != 1:
            self._refuse("step", wanted, value)
        number: float = array.item()
        return number

    def _refuse(self, function: str, wanted: str, value: object) -> NoReturn:
        raise TypeError(f"{function} of {type(self.unwrapped).__name__} must return {wanted}, got {value!r}")


def _fits(obs: Any, space: Space) -> bool:
    """Whether an observation can be written into the arrays of its space."""
    if isinstance(space, spaces.Dict):
        return isinstance(obs, Mapping) and all(k in obs and _fits(obs[k], s) for k, s in space.items())
    array, dtype = np.asarray(obs), space.dtype
    can_cast = array.dtype == dtype or (dtype is not None and np.can_cast(array.dtype, dtype, "same_kind"))
    return array.shape == space.shape and can_cast


def number_copies(env: SyncVectorEnv) -> None:
    """Let the errors of each `CheckedEnv` carry its index."""
    for index, copy in enumerate(env.envs):
        assert isinstance(copy, CheckedEnv)
        copy.index = index
