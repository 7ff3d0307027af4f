"""Figures in the info of a Gymnasium environment: numbers by name, those of dictionaries within it as "log:height".

Axes: N environments, K figures.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastsac.env import AnyArray, FloatArray

KEY = "fastsac:figures"  # of the infos of single environments and of all together


def figures(info: Mapping[str, Any], names: Sequence[str]) -> FloatArray:
    """The figures [K] of one environment; NaN for one that its info does not hold.

    Raises:
        TypeError: one is there, and is no number.
    """
    return np.array([_number(name, _found(info, name)) for name in names], np.float32)


def _found(info: Mapping[str, Any], name: str) -> Any:
    """What stands under a name, or under the names that colons divide; NaN where there is nothing."""
    if name in info:
        return info[name]
    outer, colon, inner = name.partition(":")
    within = info.get(outer) if colon else None
    return _found(within, inner) if isinstance(within, Mapping) else np.nan


def _number(name: str, value: object) -> float:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.size != 1:
        raise TypeError(f"the info {name!r}, which info_metrics asks for, must be one number, got {value!r}")
    number: float = array.item()
    return float(number)


def of_all(info: Mapping[str, Any], names: Sequence[str], num_envs: int) -> dict[str, FloatArray]:
    """The figures [N] of all environments by name, out of their common info; NaN where there are none."""
    rows: AnyArray = info.get(KEY, np.full((num_envs, len(names)), np.nan, np.float32))  # [N, K]
    return {name: np.array(rows[:, k]) for k, name in enumerate(names)}


def names_in(info: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Names of the figures in a common info of all environments."""
    for name, value in info.items():
        if isinstance(value, Mapping):
            yield from names_in(value, f"{before}{name}:")
        elif name != KEY and _is_figure(value, mask=info.get(f"_{name}")):
            yield before + name


def _is_figure(values: AnyArray, mask: AnyArray | None) -> bool:
    """Whether these are one number for each environment; a mask has none of its own."""
    return mask is not None and values.dtype.kind in "biuf" and values.size == mask.size
