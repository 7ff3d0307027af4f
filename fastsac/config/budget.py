"""How many gradient steps are due."""

from fractions import Fraction
from functools import lru_cache


def update_budget(env_steps: int, learning_starts: int, utd_ratio: float) -> int:
    """Gradient steps due in total: floor(utd_ratio * (env_steps - learning_starts)), exact for decimal ratios.

    `0.29 * 100` is 28.999999999999996 in floating point; as the decimal number that was typed it is 29.
    """
    numerator, denominator = _as_fraction(utd_ratio)
    return max(0, numerator * (env_steps - learning_starts) // denominator)


@lru_cache  # asked for at every vector step
def _as_fraction(ratio: float) -> tuple[int, int]:
    return Fraction(repr(ratio)).as_integer_ratio()
