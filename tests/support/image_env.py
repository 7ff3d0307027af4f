"""A task of images as a back end for tests, `"tests.support.image_env:Side"`: which half is bright?

An observation is SIDE x SIDE grey pixels, noise with one bright half, chosen anew at every step.  The choice of that
half (0 left, 1 right) gives reward 1, the other 0.  Episodes are truncated after 8 steps; the step after is the dummy.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastsac.env import EnvSpec, FloatArray, Step

SIDE, LENGTH = 36, 8


def make_spec(task: str, env_kwargs: Mapping[str, Any], action_limit: float | None) -> EnvSpec:
    """The one task there is."""
    layout = (("obs", SIDE * SIDE),)
    return EnvSpec(f"image:{task}", SIDE * SIDE, 2, layout, LENGTH, discrete=True, image=(1, SIDE, SIDE))


def list_tasks() -> list[str]:
    """Its name."""
    return ["Side"]


def make(
    task: str, seeds: Sequence[int], num_threads: int, env_kwargs: Mapping[str, Any], action_limit: float | None
) -> "ImageEnv":
    """One environment per seed."""
    return ImageEnv(make_spec(task, env_kwargs, action_limit), seeds)


class ImageEnv:
    """N copies."""

    def __init__(self, spec: EnvSpec, seeds: Sequence[int]) -> None:
        self.spec, self.num_envs = spec, len(seeds)
        self._rngs = [np.random.default_rng(seed) for seed in seeds]
        self._bright = np.zeros(self.num_envs, np.intp)
        self._step = np.zeros(self.num_envs, np.intp)  # LENGTH: the next step is the dummy

    def _images(self) -> NDArray[np.uint8]:
        images = np.zeros((self.num_envs, SIDE, SIDE), np.uint8)
        for i, rng in enumerate(self._rngs):
            images[i] = rng.integers(0, 50, (SIDE, SIDE))
            self._bright[i] = rng.integers(2)
            images[i].reshape(SIDE, 2, SIDE // 2)[:, self._bright[i]] += 150
        return images.reshape(self.num_envs, -1)

    def reset(self) -> NDArray[np.uint8]:
        self._step[:] = 0
        return self._images()

    def send(self, action: FloatArray) -> None:
        self._action = action.argmax(1)

    def recv(self) -> Step:
        is_dummy = self._step == LENGTH
        reward = np.where(is_dummy, 0.0, self._action == self._bright).astype(np.float32)
        self._step = np.where(is_dummy, 0, self._step + 1)
        return Step(self._images(), reward, np.zeros(self.num_envs, np.bool_), self._step == LENGTH)

    def close(self) -> None:
        pass
