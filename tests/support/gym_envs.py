"""Gymnasium environments: Choices-v0 has discrete actions, Pictures-v0 shows images, Drawn-v0 draws itself."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

CHOICES, PICTURES, SPACES = "gymnasium:Choices-v0", "gymnasium:Pictures-v0", gymnasium.spaces


class Choices(gymnasium.Env[dict[str, Any], np.integer[Any]]):
    """Discrete actions from 3 to 6, integers and numbered states as observations; shows the action that it got."""

    def __init__(
        self, num_actions: int = 4, action_space: gymnasium.Space[Any] | None = None, outside: bool = False
    ) -> None:
        spaces = gymnasium.spaces
        self.observation_space = spaces.Dict(
            action=spaces.Discrete(num_actions + 1, start=2),  # 2 after a reset
            count=spaces.Box(-9, 9, (2,), np.int64),
            noise=spaces.Box(0, 1, (1,), np.float64),
        )
        self.action_space = action_space or spaces.Discrete(num_actions, start=3)
        self.steps, self.outside = 0, outside

    def obs(self, action: int | np.integer[Any]) -> dict[str, Any]:
        noise = self.np_random.uniform(size=1)
        return {"action": action + 9 * self.outside, "count": np.array([self.steps, -self.steps]), "noise": noise}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.obs(2), {}

    def step(self, action: np.integer[Any]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        assert isinstance(action, np.integer)
        assert action in self.action_space
        self.steps += 1
        return self.obs(action), float(action), False, False, {}


class Pictures(gymnasium.Env[Any, NDArray[np.float32]]):
    """Draws its step in a corner and the number of each pixel elsewhere; a space is given by shape and dtype."""

    def __init__(self, shape: Sequence[int] = (36, 40, 3), dtype: str = "uint8", parts: Sequence[str] = ()) -> None:
        self.shape, self.dtype, self.parts = tuple(shape), np.dtype(dtype), parts
        image, vector = gymnasium.spaces.Box(0, 255, self.shape, self.dtype), gymnasium.spaces.Box(-1, 1, (2,))
        spaces: dict[str, gymnasium.Space[Any]] = {part: image if part == "image" else vector for part in parts}
        self.observation_space = gymnasium.spaces.Dict(spaces) if parts else image
        self.action_space = gymnasium.spaces.Box(-1, 1, (1,))
        self.steps = 0

    def obs(self) -> Any:
        image = (np.arange(np.prod(self.shape)) * 7 % 251).reshape(self.shape).astype(self.dtype)
        image.flat[0] = self.steps
        image.flat[1] = self.noise
        return {part: image if part == "image" else np.ones(2, np.float32) for part in self.parts} or image

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps, self.noise = 0, self.np_random.integers(256)
        return self.obs(), {}

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self.obs(), float(action[0]), False, False, {}


class Drawn(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """A square that moves to the right, one pixel a step, on a field of 40 x 60; an episode has five steps."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 12}  # noqa: RUF012  # as of Gymnasium
    observation_space, action_space = SPACES.Box(-9, 9, (1,)), SPACES.Box(-1, 1, (1,))

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode, self.steps = render_mode, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.np_random.uniform(size=1).astype(np.float32), {}

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self.np_random.uniform(size=1).astype(np.float32), float(action[0]), False, self.steps == 5, {}

    def render(self) -> Any:
        picture = np.zeros((40, 60, 3), np.uint8)
        picture[10:20, self.steps : self.steps + 10] = 0, 200, 0
        return picture


gymnasium.register("Drawn-v0", entry_point=f"{__name__}:Drawn", max_episode_steps=5)


gymnasium.register("Choices-v0", entry_point=f"{__name__}:Choices")


gymnasium.register("Pictures-v0", entry_point=f"{__name__}:Pictures")
