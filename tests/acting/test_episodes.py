"""Episodes that are over: of parts of the environments as of all of them."""

import numpy as np
import pytest

from fastsac.acting.episodes import RECENT_EPISODES, EpisodeStats

N, STEPS = 6, 150


@pytest.fixture
def steps():
    """Reward, done, whether it is a transition, and success, [1, N], of a row of vector steps."""
    draw = np.random.default_rng(1)
    return [
        (
            draw.normal(size=(1, N)).astype(np.float32), draw.random((1, N)) < 0.3, draw.random((1, N)) < 0.9,
            draw.random((1, N)) < 0.5,
        )
        for _ in range(STEPS)
    ]  # fmt: skip


def add(stats, step, envs=slice(None)):
    stats.add(*(array[:, envs] for array in step))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_parts_count_as_all_environments_do_in_the_order_in_which_they_ended(steps, size):
    whole, parts = EpisodeStats(1, N), [EpisodeStats(1, N // size, is_part=True) for _ in range(size)]
    for number, step in enumerate(steps, 1):
        add(whole, step)
        for rank, part in enumerate(parts):
            add(part, step, slice(rank * N // size, (rank + 1) * N // size))
        if number % 20 == 0:
            handed = [part.hand_over() for part in parts]
            for part in parts:
                part.take_in(handed)
                assert part.finished() == whole.finished()
                assert part.last_means() == pytest.approx(whole.last_means(), nan_ok=True)
    taken = whole.take()
    assert len(whole.finished().last_returns[0]) == RECENT_EPISODES
    add(parts[0], steps[0], slice(0, N // size))
    assert [part.take() for part in parts] != [taken] * size, "ten steps are not handed over"


def test_no_episode_of_a_part_counts_before_it_is_handed_over(steps):
    part = EpisodeStats(1, N, is_part=True)
    for step in steps:
        add(part, step)
    assert part.finished().returns == [[]]
    assert np.isnan(part.last_means()).all()
    handed = part.hand_over()
    assert len(handed) > RECENT_EPISODES
    assert part.hand_over() == []
    part.take_in([handed])
    assert part.finished().returns == [[ended.total for ended in handed]]
