"""The arrays of a simulator and those of the contract: actions in, observations out.

Axes: N environments, O obs_dim, A action_dim.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fastsac.env.contract import AnyArray, BoolArray, EnvSpec, FloatArray, ImageShape, ObsArray, ObsPart

NO_BOUND = 1e9  # an action bound this large is none
MIN_IMAGE_SIDE = 36  # pixels of an image's height and width, at least: the convolutional encoder needs them
MAX_FLAT_SIZE = 4096  # numbers of an array of three or more axes, at most, that is flattened to a vector
SUCCESS_KEYS = ("is_success", "success")  # of simulators' infos, the first that is there


class ActionScale:
    """Affine map from the policy's [-1, 1] to the bounds of a Box, in the simulator's dtype.  `dim` is A.

    Where `low` or `high`, [A] each, is infinite, or beyond action_limit, -action_limit to action_limit counts.

    Raises:
        ValueError: a bound is infinite and `action_limit` is None, or bounds leave no room within it.
    """

    discrete = False
    start = 0

    def __init__(
        self, low: ArrayLike, high: ArrayLike, dtype: DTypeLike, action_limit: float | None, env_id: str
    ) -> None:
        lower, upper = (np.asarray(bound, np.float64).reshape(-1) for bound in (low, high))
        # "No bound" is also written as 1e10 (MuJoCo) or as the largest float; comparing with not < catches nan too.
        unbounded = ~(np.abs(lower) < NO_BOUND) | ~(np.abs(upper) < NO_BOUND)
        if unbounded.any() and action_limit is None:
            raise ValueError(
                f"{env_id} has an action space without bounds, which a tanh policy cannot be scaled to. "
                "Give --action-limit X to use [-X, X]."
            )
        if action_limit is not None:
            lower = np.where(unbounded, -action_limit, np.maximum(lower, -action_limit))
            upper = np.where(unbounded, action_limit, np.minimum(upper, action_limit))
            if not (lower < upper).all():
                raise ValueError(
                    f"action_limit must leave room within the action space of {env_id}, got {action_limit}. Raise it."
                )
        self.low, self.high, self.dtype = lower.astype(dtype), upper.astype(dtype), np.dtype(dtype)  # [A]
        self._half = ((upper - lower) / 2).astype(dtype)  # [A]
        self._mid = ((upper + lower) / 2).astype(dtype)  # [A]
        self.dim = len(lower)
        self._is_identity = bool((lower == -1).all() and (upper == 1).all())
        # As in `EnvSpec`: (low, high) of each actuator.
        self.bounds = () if self._is_identity else tuple(zip(self.low.tolist(), self.high.tolist(), strict=True))

    def __call__(self, action: FloatArray) -> AnyArray:
        """Scale action [N, A] from [-1, 1] to the Box, in the simulator's dtype; may return `action` itself."""
        if self._is_identity:
            return action.astype(self.dtype, copy=False)
        scaled: AnyArray = action * self._half
        scaled += self._mid
        # Rounding can step over a bound by one unit in the last place.
        return scaled.clip(self.low, self.high, out=scaled)


class ActionChoice:
    """Map from one-hot rows to the numbers of a simulator's choices, in its dtype.  `dim` is A.

    Raises:
        ValueError: `action_limit` is given.
    """

    discrete = True
    bounds: tuple[tuple[float, float], ...] = ()

    def __init__(self, choices: range, dtype: DTypeLike, action_limit: float | None, env_id: str) -> None:
        if action_limit is not None:
            raise ValueError(
                f"{env_id} has a discrete action space, which has no bounds that action_limit could replace. "
                "Leave out --action-limit."
            )
        self.dim = len(choices)
        self.start, self._dtype = choices.start, np.dtype(dtype)

    def __call__(self, action: FloatArray) -> AnyArray:
        """The choices [N] of one-hot action [N, A], in the simulator's dtype."""
        choices: AnyArray = action.argmax(axis=1) + self.start
        return choices.astype(self._dtype)


class Adapter:
    """The way into one task of a simulator and out of it; `spec` describes the task.

    Args:
        parts: of the observation, in the order of concatenation.
        action_shape: of the simulator's actions, for one environment.
        joint_names: as in `EnvSpec`.
        info_names: as in `EnvSpec`.
        notes: as in `EnvSpec`.

    Raises:
        ValueError: as `find_image`.
    """

    def __init__(
        self,
        env_id: str,
        parts: Sequence[ObsPart],
        action_map: ActionScale | ActionChoice,
        action_shape: tuple[int, ...],
        max_episode_steps: int | None,
        joint_names: Sequence[str] = (),
        info_names: Sequence[str] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self._action_map, self._action_shape = action_map, action_shape
        self.spec = EnvSpec(
            env_id=env_id,
            obs_dim=sum(part.size for part in parts),
            action_dim=action_map.dim,
            obs_layout=tuple((part.name, part.size) for part in parts),
            max_episode_steps=max_episode_steps,
            action_bounds=action_map.bounds,
            discrete=action_map.discrete,
            image=find_image(env_id, parts),
            obs_parts=tuple(parts),
            action_shape=action_shape,
            action_start=action_map.start,
            joint_names=tuple(joint_names),
            info_names=None if info_names is None else tuple(info_names),
            notes=tuple(notes),
        )

    def action(self, action: FloatArray) -> AnyArray:
        """The simulator's actions [N, ...] for action [N, A]."""
        return self._action_map(action).reshape(len(action), *self._action_shape)

    def obs(self, arrays: Iterable[AnyArray], num_envs: int) -> ObsArray:
        """The parts' arrays as [N, O]; may be a view of one that needs no change."""
        return join(self.spec.obs_parts, arrays, num_envs, self.spec.image)


def join(parts: Sequence[ObsPart], arrays: Iterable[AnyArray], num_envs: int, image: ImageShape | None) -> ObsArray:
    """The parts' arrays [N, ...], flattened, cast and joined to [N, O]; may be a view of one that needs no change."""
    if image:
        (images,) = arrays
        return channels_first(images).reshape(num_envs, -1)
    matrices = [
        array.reshape(num_envs, -1) if part.states is None else one_hot(array, part.states)
        for array, part in zip(arrays, parts, strict=True)
    ]
    if len(matrices) == 1:
        return matrices[0].astype(np.float32, copy=False)
    return np.concatenate(matrices, axis=1, dtype=np.float32, casting="same_kind")


def one_hot(value: AnyArray, states: range) -> FloatArray:
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


def success_of(values: AnyArray) -> BoolArray:
    """Which of N entries of an info, [N] or [N, 1] of any dtype, are true or 1."""
    success: BoolArray = (values.reshape(-1) == 1).astype(np.bool_, copy=False)
    return success


def image_shape(shape: Sequence[int], dtype: DTypeLike) -> ImageShape | None:
    """(channels, height, width) of an array for one environment that is an image; None for one that is not.

    An image is uint8, and has two axes or three, of which the shorter of the first and the last counts the channels.
    """
    if np.dtype(dtype) != np.uint8 or len(shape) not in (2, 3):
        return None
    first, second, last = shape if len(shape) == 3 else (1, *shape)
    image = (first, second, last) if first <= last else (last, first, second)
    return image if min(image[1:]) >= MIN_IMAGE_SIDE else None


def small_picture(parts: Iterable[ObsPart]) -> ObsPart | None:
    """The first part that looks like a picture and is too small for an image."""
    of_bytes = (part for part in parts if np.dtype(part.dtype) == np.uint8 and len(part.shape) == 3)
    return next((part for part in of_bytes if image_shape(part.shape, part.dtype) is None), None)


def channels_first(images: AnyArray) -> AnyArray:
    """View of images [N, H, W, C] as [N, C, H, W]; others as they are."""
    is_last = images.ndim == 4 and images.shape[1] > images.shape[3]
    return np.moveaxis(images, 3, 1) if is_last else images


def find_image(env_id: str, parts: Sequence[ObsPart]) -> ImageShape | None:
    """For `EnvSpec.image`: the shape of the one image that an observation is, or None where it is a vector.

    Raises:
        ValueError: an image has further parts beside it, or an array that is no image is too large for a vector.
    """
    for part in parts:
        image = image_shape(part.shape, part.dtype)
        if image and len(parts) == 1:
            return image
        if image:
            raise ValueError(
                f"{env_id} has an image ({part.name} of shape {part.shape}) beside other observations "
                f"({', '.join(p.name for p in parts if p is not part)}); fastsac trains on one image or on vectors. "
                "Choose or wrap the environment so that it shows one of them."
            )
        if len(part.shape) > 2 and math.prod(part.shape) > MAX_FLAT_SIZE:
            raise ValueError(
                f"{env_id} has observations of shape {part.shape} and type {np.dtype(part.dtype)} ({part.name}), too "
                f"large for a vector and no image; an image is uint8, (height, width, channels) or channels first, "
                f"with sides of at least {MIN_IMAGE_SIDE}. Wrap the environment so that it shows that."
            )
    return None
