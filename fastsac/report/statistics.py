"""Robust averages of a few seeds, as Agarwal et al. 2021 (arXiv 2108.13264) and their package rliable compute them.

Numbers in, numbers out: knows neither runs nor pictures.

Axes: R runs (seeds), P any further axes, such as the points of a curve.
"""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEVEL = 0.95  # of the intervals
RESAMPLES = 2_000  # per interval: another random seed then moves its ends by about two hundredths of its width
LEAST_RUNS = 3  # for an interval: two runs say next to nothing of how a third would do
MOST_NUMBERS = 4_000_000  # resampled at a time, which bounds the memory (32 MB)


def iqm(runs: Array, axis: int = 0) -> Array:
    """Interquartile mean [*P] of runs [R, *P]: without the floor(R / 4) lowest and as many of the highest.

    It ignores a seed that fails or shines as the median does, and wastes less of the rest.  Source: section 4.3.

    Raises:
        ValueError: no runs.
    """
    if runs.shape[axis] == 0:
        raise ValueError("iqm needs at least one run, got none.")
    values = np.sort(np.moveaxis(runs, axis, -1), axis=-1)
    cut = values.shape[-1] // 4
    mean: Array = values[..., cut : values.shape[-1] - cut].mean(-1)
    return mean


def iqm_interval(runs: Array, resamples: int = RESAMPLES, seed: int = 0) -> tuple[Array, Array]:
    """Percentile interval of the interquartile mean from the bootstrap over runs, at `LEVEL`.  Source: section 4.1.

    Of runs [R, *P], lower and upper ends, [*P] each; NaN for fewer than `LEAST_RUNS` runs.  All points P of a curve
    share the draws, so that bands are as smooth as their curves.  Few runs give intervals that are too narrow: of three
    or four it is the range from the worst to the best, which holds the true value less often than `LEVEL`; ten come
    near.

    Raises:
        ValueError: no runs.
    """
    shape = iqm(runs).shape
    if len(runs) < LEAST_RUNS or 0 in shape:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    rng = np.random.default_rng(seed)
    points, most = np.moveaxis(runs, 0, -1), max(1, MOST_NUMBERS // runs.size)
    means = []  # [*P, draws] each
    for start in range(0, resamples, most):
        drawn = rng.integers(len(runs), size=(min(most, resamples - start), len(runs)))
        means.append(iqm(points[..., drawn], axis=-1))
    low, high = np.quantile(np.concatenate(means, axis=-1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=-1)
    return low, high


def mean_of_finite(values: Iterable[float]) -> float:
    """Mean of the finite values; nan where there is none."""
    finite = list(filter(math.isfinite, values))
    return sum(finite) / len(finite) if finite else math.nan


def iqm_of_finite(values: Iterable[float]) -> float:
    """Interquartile mean of the finite values; nan where there is none."""
    finite = np.array(list(filter(math.isfinite, values)))
    return float(iqm(finite)) if finite.size else math.nan
