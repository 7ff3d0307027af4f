"""Sweeps: from `critic_lr=1e-4,3e-4 gamma=0.98,0.99` or `random:32` to the settings of the members.

Members of one graph can differ only in numbers that are tensors [M] on the device, or that the host alone counts by;
other settings need separate runs.  Knows no setting by name but gamma; `fastsac.config.settings` says which can be
swept, and checks the values.
"""

import itertools
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import NamedTuple

import numpy as np

from fastsac.config.fields import DEFAULTS
from fastsac.config.kinds import shown

MOST = 10_000  # settings of one sweep
Range = tuple[float, float, str]  # low, high, and "log" or "linear"; of gamma, 1 - gamma is drawn
Setting = dict[str, float]


class Names(NamedTuple):
    """Names of settings, by what a sweep may do with them."""

    sweepable: Mapping[str, type[int] | type[float]]  # members may differ in these, whole numbers or any
    shapes: Collection[str]  # of the rest, those that sizes of tensors depend on
    learning: Collection[str]  # of the rest, those that change what is computed
    all: Collection[str]


def names_of(config: type) -> Names:
    """Those of a dataclass of settings."""
    assert is_dataclass(config)
    traits = {field.name: {**DEFAULTS, **field.metadata} for field in fields(config)}
    whole = {field.name for field in fields(config) if field.type in (int, int | None)}
    return Names(
        {name: int if name in whole else float for name, of in traits.items() if of["sweepable"]},
        shapes=[name for name, of in traits.items() if of["shapes"]],
        learning=[name for name, of in traits.items() if of["affects"] == "learning"],
        all=list(traits),
    )


def settings(sweep: Sequence[str], ranges: Mapping[str, Range], seed: int, names: Names) -> list[Setting]:
    """The values that each setting of a sweep gives, in order; one empty setting without a sweep.

    Args:
        sweep: `name=value,value,...` of each, whose combinations are taken, the last name changing fastest; or
            `random:COUNT` alone.
        ranges: the range of each value that a random sweep draws.
        seed: of the draw.
        names: of settings.
    """
    if any(re.match("random(:|$)", part) for part in sweep):
        if len(sweep) > 1:
            raise ValueError("sweep takes random:COUNT alone, or name=value,value,... as often as needed, not both.")
        return draw(_count(sweep[0]), ranges, seed)
    axes: dict[str, list[float]] = {}
    for part in sweep:
        name, values = _axis(part, names)
        if name in axes:
            raise ValueError(f"sweep names {name} twice. Give all its values at once: {name}=value,value.")
        axes[name] = values
    _check_count(math.prod(map(len, axes.values())))
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def draw(count: int, ranges: Mapping[str, Range], seed: int) -> list[Setting]:
    """`count` settings, each number drawn from its range with three significant digits."""
    rng = np.random.default_rng(seed)

    def value(name: str, low: float, high: float, kind: str) -> float:
        u = rng.random()
        drawn = float(f"{low * (high / low) ** u if kind == 'log' else low + (high - low) * u:.3g}")
        return round(1 - drawn if name == "gamma" else drawn, 12)

    return [{name: value(name, *of) for name, of in ranges.items()} for _ in range(count)]


def _check_count(count: float) -> None:
    if count > MOST:
        raise ValueError(f"sweep must have at most {MOST:,} settings, got more. Give fewer values.")


def _count(text: str) -> int:
    if not re.fullmatch("random:[1-9][0-9]*", text):
        raise ValueError(f"sweep must be random:COUNT with a count of at least 1, got {shown(text)}.")
    digits = text.removeprefix("random:")
    _check_count(math.inf if len(digits) > 9 else int(digits))
    return int(digits)


def _axis(text: str, names: Names) -> tuple[str, list[float]]:
    name, equals, values = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or not values:
        raise ValueError(f"sweep must be name=value,value,... or random:COUNT, got {shown(text)}.")
    if name not in names.sweepable:
        raise ValueError(_refusal(name, names))
    kind, what = (int, "whole numbers") if names.sweepable[name] is int else (float, "numbers")
    try:
        numbers = [float(value) for value in values.split(",")]
        if any(kind is int and not number.is_integer() for number in numbers):
            raise ValueError
    except ValueError:
        raise ValueError(f"sweep values of {name} must be {what}, got {shown(values)}.") from None
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"sweep names a value of {name} twice: {shown(values)}.")
    return name, [kind(number) for number in numbers]


def _refusal(name: str, names: Names) -> str:
    """Why a sweep cannot have a name, and what to do."""
    may = f"Members may differ in {', '.join(names.sweepable)}."
    if name not in names.all:
        return f"{shown(name)} in sweep is no setting. {may}"
    if name in names.shapes:
        why = "it sets the sizes of tensors, which members share"
    elif name in names.learning:
        why = "it changes what is computed, and members share one graph"
    else:
        why = "it is of the whole run"
    return f"{name} cannot be swept: {why}. Start a run for each value. {may}"
