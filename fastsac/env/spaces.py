"""What a task shows and takes, in plain terms: enough to ask for shapes and whether a value fits.

`fastsac.Policy` describes its task by these, without the simulator.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastsac.env.contract import EnvSpec, ObsPart


@dataclass(frozen=True, repr=False)
class Box:
    """Arrays of numbers within bounds; `low` and `high` are one for all numbers, or one for each."""

    shape: tuple[int, ...]
    dtype: str
    low: float | tuple[float, ...] = -np.inf
    high: float | tuple[float, ...] = np.inf

    def __repr__(self) -> str:
        low, high = np.min(self.low), np.max(self.high)
        bounds = f", {low:g} to {high:g}" if np.isfinite(high) else ""
        return f"Box({list(self.shape)}, {self.dtype}{bounds})"

    def contains(self, value: ArrayLike) -> bool:
        """Whether a value is of this shape and within the bounds."""
        array = np.asarray(value)
        low, high = (np.asarray(bound) for bound in (self.low, self.high))
        return array.shape == self.shape and bool(((low <= array.ravel()) & (array.ravel() <= high)).all())


@dataclass(frozen=True, repr=False)
class Discrete:
    """Whole numbers from `start` to `start + n - 1`."""

    n: int
    start: int = 0
    shape: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return f"Discrete({self.n}, start={self.start})" if self.start else f"Discrete({self.n})"

    def contains(self, value: ArrayLike) -> bool:
        """Whether a value is one of the numbers."""
        array = np.asarray(value)
        return array.shape == () and array.dtype.kind in "iu" and self.start <= int(array) < self.start + self.n


@dataclass(frozen=True, repr=False)
class Dict:
    """Dictionaries of these; names of dictionaries within are joined by colons."""

    spaces: Mapping[str, Box | Discrete]

    def __repr__(self) -> str:
        return f"Dict({', '.join(f'{name}={space}' for name, space in self.spaces.items())})"

    def contains(self, value: Any) -> bool:
        """Whether a value is a dictionary that has them all, flat or nested."""
        try:
            return all(space.contains(pick(value, name)) for name, space in self.spaces.items())
        except ValueError:
            return False

    def __getitem__(self, name: str) -> Box | Discrete:
        return self.spaces[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.spaces)


Space = Box | Discrete | Dict


def action_space(spec: EnvSpec) -> Box | Discrete:
    """The actions of a task, in its own units and numbers."""
    if spec.discrete:
        return Discrete(spec.action_dim, spec.action_start)
    low, high = zip(*spec.action_bounds, strict=True) if spec.action_bounds else (-1.0, 1.0)
    return Box(action_shape(spec), "float32", low, high)


def action_range(spec: EnvSpec) -> NDArray[np.float64]:
    """The lowest and the highest action of a continuous task in its own units, [2, A]."""
    return np.array(spec.action_bounds or ((-1.0, 1.0),) * spec.action_dim).T


def action_shape(spec: EnvSpec) -> tuple[int, ...]:
    """The shape of a task's actions, for one environment."""
    if spec.discrete:
        return ()
    return (spec.action_dim,) if spec.action_shape is None else spec.action_shape


def observation_space(spec: EnvSpec) -> Space:
    """The observations of a task, as its simulator shows them; their bounds are known of images and numbers alone."""
    parts = parts_of(spec)
    if [part.name for part in parts] == ["obs"]:
        return _space(parts[0])
    return Dict({part.name: _space(part) for part in parts})


def parts_of(spec: EnvSpec) -> tuple[ObsPart, ...]:
    """The parts of an observation; of a task that tells none, the flattened whole."""
    if spec.obs_parts:
        return spec.obs_parts
    return (ObsPart("obs", spec.image, "uint8") if spec.image else ObsPart("obs", (spec.obs_dim,), "float32"),)


def pick(obs: Mapping[str, Any], name: str) -> Any:
    """The part of a dictionary, or of dictionaries within it; a ValueError if it is not there."""
    if name in obs:
        return obs[name]
    value: Any = obs
    for key in name.split(":"):
        if not isinstance(value, Mapping) or key not in value:
            raise ValueError(f"obs must have the part {name!r}, got a dictionary of {', '.join(map(str, obs))}.")
        value = value[key]
    return value


def _space(part: ObsPart) -> Box | Discrete:
    if part.states is not None:
        return Discrete(len(part.states), part.states.start)
    dtype = np.dtype(part.dtype)
    return Box(part.shape, dtype.name, 0, 255) if dtype == np.uint8 else Box(part.shape, dtype.name)
