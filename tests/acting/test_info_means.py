"""Means of what environments tell of their steps, worked out by hand."""

import math

import numpy as np

from fastsac.acting.episodes import EpisodeStats
from fastsac.acting.info_means import InfoMeans, Total

NAN = math.nan


def add(means, heights, valid, speeds=(0, 0, 0, 0)):
    """A vector step of two members with two environments each."""
    info = {"height": np.array(heights, np.float32), "speed": np.array(speeds, np.float32)}
    means.add(info, np.array(valid, bool).reshape(2, 2))


def test_means_are_over_the_transitions_that_told_since_the_last_row():
    means = InfoMeans(["speed", "height"], 2)
    add(means, [1, 2, 3, 100], [1, 1, 1, 0])  # a dummy row
    add(means, [6, NAN, math.inf, NAN], [1, 1, 1, 1])
    assert means.totals() == [
        {"speed": Total(0.0, 4), "height": Total(9.0, 3)}, {"speed": Total(0.0, 3), "height": Total(3.0, 1)},
    ]  # fmt: skip
    assert means.take() == [{"info/speed": 0.0, "info/height": 3.0}] * 2
    np.testing.assert_equal(means.take(), [{"info/speed": NAN, "info/height": NAN}] * 2)


def test_sums_are_float64():
    means = InfoMeans(["height"], 1)
    for _ in range(3):
        means.add({"height": np.full(1, 2**24 + 2, np.float32)}, np.ones((1, 1), bool))
    assert means.take() == [{"info/height": 2**24 + 2}]


def test_sums_of_a_part_count_when_all_parts_have_theirs():
    parts = [InfoMeans(["speed", "height"], 2, is_part=True) for _ in range(2)]
    for part, heights in zip(parts, ([1, 2, 3, 4], [5, NAN, 7, 8]), strict=True):
        add(part, heights, [1, 1, 1, 1])
        assert part.totals() == [{"speed": Total(0.0, 0), "height": Total(0.0, 0)}] * 2
    handed = [part.hand_over() for part in parts]
    for part in parts:
        add(part, [100] * 4, [1, 1, 1, 1])  # of the next row
        part.take_in(handed)
        assert part.take() == [{"info/speed": 0.0, "info/height": 8 / 3}, {"info/speed": 0.0, "info/height": 5.5}]
    assert parts[0].hand_over().values.tolist() == [[0, 0], [200, 200]]


def test_they_go_into_another_run_which_may_ask_for_others():
    stats, other = (
        EpisodeStats(2, 2, info_metrics=["height", "speed"]),
        EpisodeStats(2, 2, info_metrics=["new", "height"]),
    )
    add(stats.info, [1, 2, 3, 4], [1, 1, 1, 1])
    kept = stats.finished()
    assert kept.info[1] == {"height": Total(7.0, 2), "speed": Total(0.0, 2)}
    other.load_finished(kept)
    np.testing.assert_equal(other.info.take(), [{"info/new": NAN, "info/height": mean} for mean in (1.5, 3.5)])
    assert stats.finished() == kept
