"""Interquartile means and their intervals, against numbers worked out by hand."""

import numpy as np
import pytest

from fastsac.report import statistics
from fastsac.report.statistics import iqm, iqm_interval


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([7.0], 7.0),
        ([1.0, 3.0], 2.0),
        ([1.0, 2.0, 6.0], 3.0),  # floor(3 / 4) = 0 are cut
        ([10.0, -900.0, 20.0, 999.0], 15.0),
        ([5.0, 1.0, 2.0, 90.0, 5.0], 4.0),
        ([-1e9, -1e9, 1.0, 2.0, 3.0, 6.0, 1e9, 1e9], 3.0),
    ],
)
def test_iqm_is_the_mean_of_the_middle_half(runs: list[float], expected: float) -> None:
    assert iqm(array(*runs)) == pytest.approx(expected)


def test_iqm_by_point_of_a_curve() -> None:
    runs = np.stack([array(0.0, 40.0), array(1.0, 30.0), array(3.0, 20.0), array(99.0, 10.0)])  # [R, P]
    assert iqm(runs).tolist() == [2.0, 25.0]


def test_no_runs() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        iqm(array())


@pytest.mark.parametrize("runs", [[4.0], [4.0, 6.0]])
def test_one_or_two_runs_have_no_interval(runs: list[float]) -> None:
    assert np.isnan(iqm_interval(array(*runs))).all()


@pytest.mark.parametrize("runs", [[2.0, 3.0, 7.0], [7.0, 2.0, 3.0, 5.0]])
def test_of_three_or_four_runs_it_is_the_range(runs: list[float]) -> None:
    """All of three draws are the worst in 1 of 27 cases, three of four in 13 of 256: both above 2.5%."""
    assert iqm_interval(array(*runs)) == (2.0, 7.0)


def test_of_five_runs_by_counting_all_draws() -> None:
    """All 5^5 resamples, whose quantiles the random ones must come near."""
    runs = array(0.0, 1.0, 2.0, 3.0, 10.0)
    draws = np.sort(runs[np.indices((5,) * 5).reshape(5, -1)], axis=0)[1:4].mean(0)
    low, high = iqm_interval(runs, resamples=20_000)
    assert (float(low), float(high)) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.05)


def test_equal_runs_leave_no_doubt() -> None:
    low, high = iqm_interval(np.full((5, 2), 3.0))
    assert low.tolist() == high.tolist() == [3.0, 3.0]


def test_shapes_and_the_same_numbers_again() -> None:
    runs = np.random.default_rng(1).normal(size=(6, 4, 3))
    low, high = iqm_interval(runs)
    assert low.shape == high.shape == (4, 3)
    assert ((low < iqm(runs)) & (iqm(runs) < high)).all()
    assert np.array_equal(low, iqm_interval(runs)[0])
    assert low[2, 1] == iqm_interval(runs[:, 2, 1])[0]  # points share the draws
    assert not np.array_equal(low, iqm_interval(runs, seed=1)[0])
    assert iqm_interval(np.empty((5, 0)))[0].shape == (0,)


def test_long_curves_are_resampled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = np.random.default_rng(2).normal(size=(4, 50))
    whole, _ = iqm_interval(runs)
    monkeypatch.setattr(statistics, "MOST_NUMBERS", 7 * runs.size)
    assert iqm_interval(runs)[0].tolist() == whole.tolist()


def test_coverage() -> None:
    """200 experiments of 20 seeds each: about 95% of the intervals have the true value, 0."""
    low, high = iqm_interval(np.random.default_rng(3).normal(size=(20, 200)), resamples=500)
    assert 0.90 <= np.mean((low < 0) & (high > 0)) <= 0.99
