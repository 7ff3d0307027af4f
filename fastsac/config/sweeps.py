"""Sweeps: from `critic_lr=1e-4,3e-4 gamma=0.98,0.99` or `random:32` to the settings of the members.

Members of one graph can differ only in numbers that are tensors [M] on the device; other settings need separate runs.
Knows no setting by name but gamma; `fastsac.config.settings` says which can be swept, and checks the values.
"""

import itertools
import math
import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from fastsac.config.kinds import shown

MOST = 10_000
"""Settings of one sweep."""

Range = tuple[float, float, str]  # low, high, and "log" or "linear"; of gamma, 1 - gamma is drawn
Setting = dict[str, float]


def settings(sweep: Sequence[str], ranges: Mapping[str, Range], seed: int, sweepable: Collection[str]) -> list[Setting]:
    """The values that each setting of a sweep gives, in order; one empty setting without a sweep.

    Args:
        sweep: `name=value,value,...` of each, whose combinations are taken, the last name changing fastest; or
            `random:COUNT` alone.
        ranges: the range of each value that a random sweep draws.
        seed: of the draw.
        sweepable: names that a sweep may have.

    Raises:
        ValueError: a text of another form, a name that is repeated or not sweepable, a value that is not a number, or
            too many settings.
    """
    if any(part.startswith("random") for part in sweep):
        if len(sweep) > 1:
            raise ValueError("sweep takes random:COUNT alone, or name=value,value,... as often as needed, not both.")
        return draw(_at_most(_count(sweep[0])), ranges, seed)
    axes = [_axis(part, sweepable) for part in sweep]
    names = [name for name, _ in axes]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"sweep names {twice} twice. Give all its values at once: {twice}=value,value.")
    _at_most(math.prod(len(values) for _, values in axes))
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(values for _, values in axes))]


def draw(count: int, ranges: Mapping[str, Range], seed: int) -> list[Setting]:
    """`count` settings, each number drawn from its range with three significant digits."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(count):
        setting = {}
        for name, (low, high, kind) in ranges.items():
            u = rng.random()
            value = low * (high / low) ** u if kind == "log" else low + (high - low) * u
            setting[name] = 1 - float(f"{value:.3g}") if name == "gamma" else float(f"{value:.3g}")
        drawn.append({k: round(v, 12) for k, v in setting.items()})
    return drawn


def _at_most(count: int) -> int:
    if count > MOST:
        raise ValueError(f"sweep must have at most {MOST:,} settings, got more. Give fewer values.")
    return count


def _count(text: str) -> int:
    head, _, number = text.partition(":")
    if head != "random" or not re.fullmatch("[1-9][0-9]*", number):
        raise ValueError(f"sweep must be random:COUNT with a count of at least 1, got {shown(text)}.")
    return MOST + 1 if len(number) > 9 else int(number)


def _axis(text: str, sweepable: Collection[str]) -> tuple[str, list[float]]:
    name, equals, values = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or not values:
        raise ValueError(f"sweep must be name=value,value,... or random:COUNT, got {shown(text)}.")
    if name not in sweepable:
        raise ValueError(
            f"{shown(name)} cannot be swept: members share one graph, and may differ in {', '.join(sweepable)}. "
            "For other settings, start a separate run for each value."
        )
    try:
        numbers = [float(value) for value in values.split(",")]
    except ValueError:
        raise ValueError(f"sweep values of {name} must be numbers, got {shown(values)}.") from None
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"sweep names a value of {name} twice: {shown(values)}.")
    return name, numbers
