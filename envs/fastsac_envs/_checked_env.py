"""A Gymnasium environment that is held to its types, with errors that carry its index among copies."""

import re
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

from fastsac_envs._info import KEY, figures
from fastsac_envs._wrappers import blaming, check_reset, own_level

NUMBERS = {float, int, np.float64, np.float32}
TRUTHS = {bool, np.bool_}
RETURNED = {"reset": "(obs, info)", "step": "(obs, reward, terminated, truncated, info)"}

Space = spaces.Space[Any]


class CheckedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One copy, whose errors carry its index, and which returns values of the types that Gymnasium asks for.

    Gymnasium's vector environment writes them into arrays, which would make truths of NaN and of any text.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        check_reset(env)
        self.index = 0  # among the copies
        self.info_metrics: list[str] = []  # names of figures that its info is to hold under KEY
        self._space = env.observation_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As of `gymnasium.Env`."""
        try:
            returned = self.env.reset(seed=seed, options=options)
            if not (isinstance(returned, tuple | list) and len(returned) == 2):  # an array of two would pass for a pair
                self._refuse("reset", RETURNED["reset"], returned)
            return self._fitting("reset", returned[0]), self._dictionary("reset", returned[1])
        except BaseException as error:
            self._raise(error)

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
            obs, info = self._fitting("step", obs), self._dictionary("step", info)
            if self.info_metrics:
                info = {**info, KEY: figures(info, self.info_metrics)}
            return obs, reward, terminated, truncated, info
        except BaseException as error:
            self._raise(error)

    def _raise(self, error: BaseException) -> NoReturn:
        """Raise an error of this copy, in our words where it is about the number of values that a function returned."""
        told = _number_of_values(error) or error
        told.env_index = self.index  # type: ignore[attr-defined]
        if told is error:
            raise error
        raise told from error

    def _fitting(self, function: str, obs: Any) -> Any:
        if not _fits(obs, self._space):
            self._refuse(function, f"an observation of {self._space}", obs)
        return obs

    def _dictionary(self, function: str, info: Any) -> Any:
        if type(info) is not dict and not isinstance(info, Mapping):
            self._refuse(function, "info as a dictionary", info)
        return info

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
        raise blaming(own_level(self.env), function, f"return {wanted}, got {value!r}")


def _number_of_values(error: BaseException) -> TypeError | None:
    """What to say of an error that arose as a `step` or `reset` of Gymnasium's wrappers, or ours, unpacked another."""
    if "unpack" not in str(error) or not isinstance(error, TypeError | ValueError):
        return None
    frame = [*traceback.walk_tb(error.__traceback__)][-1][0]
    caller, function = frame.f_locals.get("self"), frame.f_code.co_name
    is_ours = str(frame.f_globals.get("__name__", "")).startswith(("gymnasium.", __name__))
    if not (is_ours and function in RETURNED and isinstance(caller, gymnasium.Wrapper)):
        return None
    got = re.search(r"got (\d+)", str(error)) or re.search(r"non-iterable (\w+)", str(error))
    number = "more values" if got is None else f"{got[1]} values" if got[1].isdecimal() else got[1]
    return blaming(own_level(caller.env), function, f"return {RETURNED[function]}, got {number}")


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
