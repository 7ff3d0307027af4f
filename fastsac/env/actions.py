"""From actions in a task's own units and numbers to rows of the contract: the way back of `ActionScale`.

Axes: K actions, A action_dim.
"""

import numpy as np

from fastsac.env.adapt import one_hot
from fastsac.env.contract import AnyArray, EnvSpec, FloatArray
from fastsac.env.spaces import action_range, action_shape

ROUNDING = 1e-4  # of the range from -1 to 1, by which an action may lie outside: of numbers that were rounded


def rows_of_actions(spec: EnvSpec, actions: AnyArray) -> FloatArray:
    """Rows [K, A], in [-1, 1] or one-hot, of K actions as the task takes them.

    Raises:
        ValueError: they are of another shape, not finite, or out of the task's bounds.
    """
    count, shape = len(actions), action_shape(spec)
    kinds = "iu" if spec.discrete else "iuf"
    if actions.dtype.kind not in kinds or actions.size != count * int(np.prod(shape)):
        what = "whole numbers [K]" if spec.discrete else f"numbers {['K', *shape]}".replace("'", "")
        raise ValueError(f"actions must be {what}, got {actions.dtype} {list(actions.shape)}.")
    return _choices(spec, actions.reshape(-1)) if spec.discrete else _scaled(spec, actions.reshape(count, -1))


def _choices(spec: EnvSpec, numbers: AnyArray) -> FloatArray:
    choices = range(spec.action_start, spec.action_start + spec.action_dim)
    for row in np.flatnonzero((numbers < choices.start) | (numbers >= choices.stop)):
        raise ValueError(f"actions must be in [{choices.start}, {choices.stop}), got {numbers[row]} in row {row}.")
    return one_hot(numbers, choices)


def _scaled(spec: EnvSpec, values: AnyArray) -> FloatArray:
    if not np.isfinite(values).all():
        raise ValueError("actions must be finite, got NaN or infinity.")
    low, high = action_range(spec)
    rows = (values.astype(np.float64) - low) * (2 / (high - low)) - 1
    for row, i in np.argwhere(np.abs(rows) > 1 + ROUNDING):
        raise ValueError(
            f"actions must be in the task's own units, of number {i} [{low[i]:g}, {high[i]:g}], got {values[row, i]:g} "
            f"in row {row}. --action-limit sets the range of a task without bounds."
        )
    scaled: FloatArray = rows.clip(-1, 1).astype(np.float32)
    return scaled
