"""What back ends share: from actions to a simulator's, from its observations to vectors and images, its errors.

Axes: N environments, A action_dim.
"""

import difflib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastsac.env.contract import FloatArray

_VERSION = re.compile(r"-v\d+$")
NO_BOUND = 1e9  # an action bound this large is none
MIN_IMAGE_SIDE = 36  # pixels of an image's height and width, at least: what the convolutional encoder needs
MAX_FLAT_SIZE = 4096  # numbers of an array of three or more axes, at most, that is flattened to a vector


def near_matches(name: str, choices: Sequence[str]) -> str:
    """`; did you mean A or B?` for a misspelt name, or the empty string.

    A version such as `-v1` only decides between names that are equally near: any two share one.
    """

    def nearness(choice: str) -> tuple[float, float, str]:
        a, b = name.lower(), choice.lower()
        return _likeness(_VERSION.sub("", a), _VERSION.sub("", b)), _likeness(a, b), b

    close = [c for c in choices if nearness(c)[0] > 0.65]
    close = sorted(close, key=nearness, reverse=True)[:3]
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _likeness(a: str, b: str) -> float:
    """Share of the characters that two names have in common, in order: 0 to 1."""
    return difflib.SequenceMatcher(None, a, b).ratio()


def first_line(error: BaseException) -> str:
    """A simulator's message cut to one line without its full stop, or the kind of error where there is none."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:")[:300] if lines else type(error).__name__


def check_known_kwargs(
    env_id: str, env_kwargs: Mapping[str, Any], known: Sequence[str], unlisted: Collection[str] = ()
) -> None:
    """Refuse a keyword that the simulator does not take.

    Args:
        env_id: for the error message.
        env_kwargs: what the user gave.
        known: the keywords that the message may propose.
        unlisted: further keywords that are taken.

    Raises:
        ValueError: a keyword is in neither.
    """
    for key in env_kwargs:
        if key not in known and key not in unlisted:
            choices = f"; choose from {', '.join(known)}." if known else "; it takes none."
            raise ValueError(f"{env_id} takes no env_kwargs {key!r}{near_matches(key, known) or choices}")


class ActionScale:
    """Affine map from the policy's [-1, 1] to the bounds of a Box.  `dim` is A.

    Args:
        low: lower bounds, [A].
        high: upper bounds, [A].
        dtype: what the simulator wants.
        action_limit: bounds to use where `low` or `high` is not finite.
        env_id: for the error message.

    Raises:
        ValueError: a bound is infinite and `action_limit` is None.
    """

    discrete = False

    def __init__(self, low: Any, high: Any, dtype: Any, action_limit: float | None, env_id: str) -> None:
        low = np.asarray(low, np.float64).reshape(-1)
        high = np.asarray(high, np.float64).reshape(-1)
        # "No bound" is also written as 1e10 (MuJoCo) or as the largest float; comparing with not < catches nan too.
        unbounded = ~(np.abs(low) < NO_BOUND) | ~(np.abs(high) < NO_BOUND)
        if unbounded.any():
            if action_limit is None:
                raise ValueError(
                    f"{env_id} has an action space without bounds, which a tanh policy cannot be scaled to. "
                    "Give --action-limit X to use [-X, X]."
                )
            low = np.where(unbounded, -action_limit, low)
            high = np.where(unbounded, action_limit, high)
        self.low, self.high, self.dtype = low.astype(dtype), high.astype(dtype), np.dtype(dtype)  # [A]
        self._half = ((high - low) / 2).astype(dtype)  # [A]
        self._mid = ((high + low) / 2).astype(dtype)  # [A]
        self.dim = len(low)
        self._is_identity = bool((low == -1).all() and (high == 1).all())

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """(low, high) per actuator, for `EnvSpec.action_bounds`."""
        return () if self._is_identity else tuple(zip(self.low.tolist(), self.high.tolist(), strict=True))

    def __call__(self, action: FloatArray) -> NDArray[Any]:
        """Scale action [N, A] from [-1, 1] to the Box, in the simulator's dtype; may return `action` itself."""
        if self._is_identity:
            return action.astype(self.dtype, copy=False)
        scaled = action * self._half
        scaled += self._mid
        # Rounding can step over a bound by one unit in the last place.
        np.maximum(scaled, self.low, out=scaled)
        return np.minimum(scaled, self.high, out=scaled)


class ActionChoice:
    """Map from one-hot rows to the numbers of a simulator's choices.  `dim` is A.

    Args:
        choices: the simulator's numbers of the choices.
        dtype: what the simulator wants.
        action_limit: must be None.
        env_id: for the error message.

    Raises:
        ValueError: `action_limit` is given.
    """

    discrete = True
    bounds: tuple[tuple[float, float], ...] = ()

    def __init__(self, choices: range, dtype: Any, action_limit: float | None, env_id: str) -> None:
        if action_limit is not None:
            raise ValueError(
                f"{env_id} has a discrete action space, which has no bounds that action_limit could replace. "
                "Leave out --action-limit."
            )
        self.dim = len(choices)
        self._start, self._dtype = choices.start, np.dtype(dtype)

    def __call__(self, action: FloatArray) -> NDArray[Any]:
        """The choices [N] of one-hot action [N, A], in the simulator's dtype."""
        return (action.argmax(axis=1) + self._start).astype(self._dtype)


def one_hot(value: NDArray[Any], states: range) -> FloatArray:
    """One-hot rows [N, len(states)] of integers [N] or [N, 1] in `states`.

    Raises:
        ValueError: a value is not in `states`, which is a fault of the environment.
    """
    index = value.reshape(-1).astype(np.intp) - states.start  # [N]
    if index.min() < 0 or index.max() >= len(states):
        raise ValueError(
            f"an observation must be in [{states.start}, {states.stop}), as its space says, got {value.reshape(-1)}."
        )
    rows = np.zeros((len(index), len(states)), np.float32)
    rows[np.arange(len(index)), index] = 1
    return rows


def image_shape(shape: Sequence[int], dtype: Any) -> tuple[int, int, int] | None:
    """(channels, height, width) of an array for one environment that is an image; None for what is none.

    An image is uint8, and has two axes or three, of which the shorter of the first and the last counts the channels.
    """
    if np.dtype(dtype) != np.uint8 or len(shape) not in (2, 3):
        return None
    first, *middle, last = shape
    if not middle:
        image = (1, first, last)
    else:
        image = (first, middle[0], last) if first <= last else (last, first, middle[0])
    return image if min(image[1:]) >= MIN_IMAGE_SIDE else None


def channels_first(images: NDArray[Any]) -> NDArray[Any]:
    """View of images [N, H, W, C] as [N, C, H, W]; images in that order, or without channels, as they are."""
    is_last = images.ndim == 4 and images.shape[1] > images.shape[3]
    return np.moveaxis(images, 3, 1) if is_last else images


def find_image(env_id: str, parts: Mapping[str, tuple[Sequence[int], Any]]) -> tuple[int, int, int] | None:
    """For `EnvSpec.image`: the shape of the one image that an observation is, or None where it is a vector.

    Args:
        env_id: for the error message.
        parts: (shape, dtype) of each array of the observation, for one environment.

    Raises:
        ValueError: an image has further parts beside it, or an array that is no image is too large for a vector.
    """
    for name, (shape, dtype) in parts.items():
        image = image_shape(shape, dtype)
        if image and len(parts) == 1:
            return image
        if image:
            raise ValueError(
                f"{env_id} has an image ({name} of shape {tuple(shape)}) beside other observations "
                f"({', '.join(n for n in parts if n != name)}); fastsac trains on one image or on vectors. "
                "Choose or wrap the environment so that it shows one of them."
            )
        if len(shape) > 2 and math.prod(shape) > MAX_FLAT_SIZE:
            raise ValueError(
                f"{env_id} has observations of shape {tuple(shape)} and type {np.dtype(dtype)} ({name}), too large for "
                f"a vector and no image; an image is uint8, (height, width, channels) or channels first, with sides of "
                f"at least {MIN_IMAGE_SIDE}. Wrap the environment so that it shows that."
            )
    return None
