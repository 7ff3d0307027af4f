"""An episode that is shown: one environment, drawn as it goes, on a screen of any kind.

Axes: H height, W width, O obs_dim, A action_dim.
"""

import itertools
import math
from collections.abc import Callable
from contextlib import closing

import numpy as np

from fastsac.acting.errors import BadStepError, Locate, call_env, of_nobody, try_make
from fastsac.acting.evaluation import Rollout, rollout
from fastsac.env import FloatArray, RenderedEnv, first_line
from fastsac.film.frames import Picture, Screen


def show_episode(
    env: RenderedEnv,
    act: Callable[[FloatArray], FloatArray],
    screen: Screen,
    stride: int,
    locate: Locate = of_nobody,
    num_states: float = math.inf,
) -> Rollout:
    """One episode, every `stride`-th state of which is shown, and the last; errors are those of `rollout`.

    Args:
        env: one environment; it is reset first.
        act: maps obs [1, O] to actions [1, A].
        screen: shows the frames; what it raises ends the episode.
        stride: 1 shows every state.
        locate: whose environment it is, for the errors.
        num_states: from how many of the first the shown ones are; the rest of the episode is played unseen.
    """
    count = itertools.count()

    def look(is_over: bool) -> None:
        number = next(count)
        if number < num_states and (number % stride == 0 or is_over):
            screen.show(draw(env, locate))

    return rollout(env, act, locate, look)


def draw(env: RenderedEnv, locate: Locate = of_nobody) -> Picture:
    """A picture of the state, [H, W, 3]; a BadStepError where there is none."""
    picture = call_env(env.render, "render", locate)
    if not (isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.shape[2:] == (3,)):
        got = f"{picture.dtype} {list(picture.shape)}" if isinstance(picture, np.ndarray) else type(picture).__name__
        raise BadStepError(f"{env.spec.env_id} must draw itself as uint8 [H, W, 3], got {got}.")
    return picture


def check_drawing(make: Callable[[], RenderedEnv]) -> float:
    """Draw one picture with an environment of its own; returns its steps per second, or raises a ValueError."""
    with closing(try_make(make)) as env:
        try:
            call_env(env.reset, "reset", of_nobody)
            draw(env)
        except (BadStepError, ValueError) as error:
            reason = error if error.__cause__ is None else error.__cause__
            raise ValueError(f"{env.spec.env_id} cannot be drawn: {first_line(reason)}.") from error
        speed = env.steps_per_s
        if not 0 < speed < math.inf:
            raise ValueError(f"{env.spec.env_id} must have steps_per_s above 0 and finite, got {speed}.")
        return speed
