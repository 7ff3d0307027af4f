"""Which states of an episode become frames, how fast they are shown, and how large.

Axes: H height, W width.
"""

import math
from collections.abc import Callable
from time import monotonic
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

    def num_states(self, seconds: float) -> int:
        """How many states pass in so many seconds on the screen."""
        return max(1, round(seconds * self.frames_per_s * self.stride))


class Screen(Protocol):
    """What shows frames."""

    def show(self, picture: Picture) -> None:
        """Show the next frame, [H, W, 3]."""

    def close(self) -> None:
        """There are no more."""


class Told:
    """A screen of another kind that says now and then how far it is: drawing may take longer than what is drawn.

    Args:
        screen: which shows the frames.
        frames_per_s: how many frames a second has.
        say: takes a line, every `EVERY_S` seconds.
        clock: gives the seconds.
    """

    EVERY_S = 5.0

    def __init__(
        self, screen: Screen, frames_per_s: float, say: Callable[[str], None], clock: Callable[[], float] = monotonic
    ) -> None:
        self._screen, self._frames_per_s, self._say, self._clock = screen, frames_per_s, say, clock
        self._num_frames, self._said_at = 0, clock()

    def show(self, picture: Picture) -> None:
        """Show the next frame, [H, W, 3]."""
        self._screen.show(picture)
        self._num_frames += 1
        if self._clock() - self._said_at >= self.EVERY_S:
            self._said_at = self._clock()
            self._say(f"{self._num_frames / self._frames_per_s:.1f} s filmed so far")

    def close(self) -> None:
        """There are no more."""
        self._screen.close()


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
