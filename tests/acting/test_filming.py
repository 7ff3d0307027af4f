"""One episode on a screen: which states are shown, and what is said of environments that cannot be drawn."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastsac.acting.errors import BadStepError
from fastsac.acting.filming import check_drawing, show_episode
from fastsac.env import make_rendered_env

SCRIPTED = "tests.support.scripted_env:5c"


class Screen:
    def __init__(self) -> None:
        self.pictures: list[Any] = []

    def show(self, picture: Any) -> None:
        self.pictures.append(picture)

    def close(self) -> None:
        pass


def zeros(obs: Any) -> Any:
    return np.zeros((1, 2), np.float32)


@pytest.mark.parametrize(("stride", "steps"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4, 5]), (5, [0, 5]), (9, [0, 5])])
def test_every_so_many_states_are_shown_and_the_last_one(stride, steps):
    screen = Screen()
    episode = show_episode(make_rendered_env(SCRIPTED, 3), zeros, screen, stride)
    assert [picture[-1, -1, 0] // 10 for picture in screen.pictures] == steps
    assert (episode.lengths.tolist(), episode.returns.tolist()) == ([5], [pytest.approx(15 + 5 * 3 / 1024)])


def test_of_the_first_states_alone_the_episode_is_the_same():
    screen = Screen()
    episode = show_episode(make_rendered_env(SCRIPTED, 3), zeros, screen, 2, num_states=3)
    assert [picture[-1, -1, 0] // 10 for picture in screen.pictures] == [0, 2]
    assert (episode.lengths.tolist(), episode.returns.tolist()) == ([5], [pytest.approx(15 + 5 * 3 / 1024)])


def test_an_environment_that_cannot_be_drawn_is_refused_with_its_reason():
    assert check_drawing(partial(make_rendered_env, SCRIPTED, 0)) == 100
    with pytest.raises(ValueError, match=r"^tests.support.scripted_env:5c cannot be drawn: the lamp broke\.$"):
        check_drawing(partial(make_rendered_env, SCRIPTED, 0, {"bad_picture": 1}))
    with pytest.raises(ValueError, match=r"^back end 'tests.support.chain_env' draws no pictures: it has no function"):
        check_drawing(partial(make_rendered_env, "tests.support.chain_env:random:5,3,0", 0))


def test_a_picture_that_fails_in_an_episode_is_an_error_of_the_environment():
    env = make_rendered_env(SCRIPTED, 0, {"bad_picture": 3})
    with pytest.raises(BadStepError, match=r"^the environments failed in render: RuntimeError: the lamp broke"):
        show_episode(env, zeros, Screen(), 1)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_that_no_film_can_have_is_named(speed):
    env = make_rendered_env(SCRIPTED, 0)
    env.steps_per_s = speed
    message = rf"^tests.support.scripted_env:5c must have steps_per_s above 0 and finite, got {speed}\.$"
    with pytest.raises(ValueError, match=message):
        check_drawing(lambda: env)


@pytest.mark.parametrize(
    ("picture", "got"),
    [
        (None, "NoneType"),
        (np.zeros((3, 4), np.uint8), r"uint8 \[3, 4\]"),
        (np.zeros((3, 4, 3)), r"float64 \[3, 4, 3\]"),
    ],
)
def test_what_is_no_picture_is_named(picture, got):
    env: Any = SimpleNamespace(
        spec=SimpleNamespace(env_id="x:Y"), reset=lambda: None, render=lambda: picture, close=lambda: None
    )
    with pytest.raises(ValueError, match=rf"x:Y must draw itself as uint8 \[H, W, 3\], got {got}\.$"):
        check_drawing(lambda: env)
