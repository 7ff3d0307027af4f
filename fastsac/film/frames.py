"""Which states of an episode become frames, how fast they are shown, and how large.

Axes: H height, W width.
"""

import math
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # [H, W, 3], RGB, the top row first

MOST_FRAMES_PER_S = 50  # of more steps than that in a second, every second, third ... is shown
USUAL_SIDE = 480  # pixels that the longer side of a small picture is brought near to


class Pace(NamedTuple):
    """Every `stride`-th state is a frame."""

    stride: int
    frames_per_s: float


class Screen(Protocol):
    """What shows frames."""

    def show(self, picture: Picture) -> None:
        """Show the next frame, [H, W, 3]."""

    def close(self) -> None:
        """There are no more."""


def pace_of(steps_per_s: float, speed: float = 1.0) -> Pace:
    """The pace of a task with so many steps per second, shown at `speed` times its natural one."""
    steps = steps_per_s * speed
    stride = math.ceil(steps / MOST_FRAMES_PER_S)
    return Pace(stride, steps / stride)


def fit(picture: Picture) -> Picture:
    """A picture of even sides, as encoders want it, in which those of small ones, such as Atari's, are multiplied."""
    height, width, _ = picture.shape
    times = max(1, USUAL_SIDE // max(height, width))
    large = picture.repeat(times, axis=0).repeat(times, axis=1) if times > 1 else picture
    odd = [(0, side % 2) for side in large.shape[:2]]
    return np.pad(large, (*odd, (0, 0)), mode="edge") if (0, 1) in odd else large
