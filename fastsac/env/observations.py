"""What the `step` of a task's own environment returned, as rows [B, O]: one observation or a batch, of any kind.

Axes: B batch, O obs_dim.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastsac.env.adapt import join
from fastsac.env.contract import AnyArray, EnvSpec, ObsPart
from fastsac.env.spaces import parts_of, pick

Shape = tuple[int, ...]


def flatten(spec: EnvSpec, obs: Any) -> tuple[AnyArray, bool]:
    """Rows [B, O] of an observation, and whether it was a single one.

    Args:
        spec: of the task.
        obs: a dictionary of arrays, nested as in the task; one array, image or number of a state; or [O] or [B, O],
            flattened already.

    Raises:
        ValueError: it is none of these, or holds a number that is not finite.
    """
    parts = parts_of(spec)
    if isinstance(obs, Mapping):
        arrays = [_numbers(pick(obs, part.name), parts) for part in parts]
    else:
        arrays = [_numbers(obs, parts)]
        if len(parts) > 1 or _batch_of(arrays[0], parts[0], spec) is None:
            parts = (ObsPart("obs", (spec.obs_dim,), arrays[0].dtype),)  # flattened already
    batches = [_batch_of(array, part, spec) for part, array in zip(parts, arrays, strict=True)]
    batch = batches[0]
    if batch is None or batch == (0,) or any(other != batch for other in batches):
        got = ", ".join(f"{array.dtype} {list(array.shape)}" for array in arrays)
        raise ValueError(f"obs must be {_wanted(parts_of(spec), spec.obs_dim)}, got {got}.")
    count = batch[0] if batch else 1
    rows = join(parts, [array.reshape(count, *array.shape[len(batch) :]) for array in arrays], count, spec.image)
    if not np.isfinite(rows).all():
        raise ValueError("obs must be finite, got NaN or infinity.")
    return rows, batch == ()


def _numbers(value: Any, parts: tuple[ObsPart, ...]) -> AnyArray:
    """The array of a value."""
    try:
        array = np.asarray(value)
    except ValueError:  # of rows of different lengths, such as the pair that `reset` returns
        array = np.empty((), object)
    if array.dtype.kind not in "biuf":
        names = ", ".join(part.name for part in parts)
        raise ValueError(f"obs must be numbers ({names}), without the info of `reset`, got {type(value).__name__}.")
    return array


def _batch_of(array: AnyArray, part: ObsPart, spec: EnvSpec) -> Shape | None:
    """() of a single one, (B,) of a batch, and None where an array is not this part of observations."""
    if part.states is not None and array.dtype.kind not in "iu":
        return None
    shapes = [part.shape]
    if spec.image is not None and len(part.shape) > 1:
        channels, height, width = spec.image
        shapes += [(channels, height, width), (height, width, channels)]
    for shape in shapes:
        count = array.ndim - len(shape)
        if count in (0, 1) and array.shape[count:] == shape:
            return array.shape[:count]
    return None


def _wanted(parts: tuple[ObsPart, ...], obs_dim: int) -> str:
    """What an observation may be, in words."""
    flat = f"[{obs_dim}] or [B, {obs_dim}]"
    if len(parts) > 1:
        return f"a dictionary of {', '.join(f'{part.name} {list(part.shape)}' for part in parts)}, or {flat}"
    if parts[0].states is not None:
        return f"the number of a state, or B of them, or one-hot {flat}"
    return flat if parts[0].shape == (obs_dim,) else f"{list(parts[0].shape)}, or B of them, or {flat}"
