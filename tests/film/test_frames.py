"""Which states become frames, and how large they are."""

import numpy as np
import pytest

from fastsac.film.frames import Told, fit, pace_of


@pytest.mark.parametrize(
    ("steps_per_s", "speed", "stride", "frames_per_s"),
    [(20, 1, 1, 20), (50, 1, 1, 50), (100, 1, 2, 50), (125, 1, 3, 125 / 3), (100, 0.5, 1, 50), (20, 5, 2, 50)],
)
def test_an_episode_takes_its_own_time_in_at_most_50_frames_a_second(steps_per_s, speed, stride, frames_per_s):
    assert [*pace_of(steps_per_s, speed)] == pytest.approx([stride, frames_per_s])


def test_the_states_of_some_seconds_on_the_screen():
    assert [pace_of(*steps).num_states(2.0) for steps in ((20, 1), (125, 1), (100, 0.5))] == [40, 250, 100]
    assert pace_of(20).num_states(0.001) == 1


def test_a_screen_tells_now_and_then_how_far_it_is():
    now, said, shown = [0.0], list[str](), list[np.ndarray]()

    class Screen:
        def show(self, picture):
            shown.append(picture)
            now[0] += 2.0

        def close(self):
            shown.clear()

    told = Told(Screen(), 20, said.append, lambda: now[0])
    picture = np.zeros((2, 2, 3), np.uint8)
    for _ in range(7):
        told.show(picture)
    assert len(shown) == 7
    assert said == ["0.1 s filmed so far", "0.3 s filmed so far"]  # after 6 and 12 seconds
    told.close()
    assert not shown


@pytest.mark.parametrize(
    ("size", "fitted"),
    [((480, 480), (480, 480)), ((210, 160), (420, 320)), ((41, 30), (452, 330)), ((301, 601), (302, 602))],
)
def test_small_pictures_are_enlarged_and_sides_are_even(size, fitted):
    picture = np.zeros((*size, 3), np.uint8)
    picture[0] = 1
    picture[-1] = 2
    large = fit(picture)
    assert large.shape == (*fitted, 3)
    assert (large[0] == 1).all()
    assert (large[-1] == 2).all()  # also where a row was added
    assert (large[fitted[0] // 2] == 0).all()
