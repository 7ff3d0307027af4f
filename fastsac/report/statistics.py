"""Robust averages of a few seeds: the interquartile mean and its bootstrap interval.

Both as Agarwal et al. 2021 (arXiv 2108.13264) recommend and their package rliable computes them.  Numbers in, numbers
out: knows neither runs nor pictures.

Axes: R runs (seeds) of a stratum, P any further axes, such as the points of a curve.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, trim_mean

Array = NDArray[np.float64]

LEVEL = 0.95
"""Of the intervals."""
RESAMPLES = 2_000
"""Per interval: another random seed then moves its ends by about two hundredths of its width."""
LEAST_RUNS = 3
"""Per stratum, for an interval: two runs say next to nothing of how a third would do."""
MOST_NUMBERS = 4_000_000
"""Resampled at a time, which bounds the memory (32 MB)."""


def iqm(*strata: Array) -> Array:
    """Interquartile mean: the mean without the floor(R / 4) lowest and as many of the highest.

    It ignores a seed that fails or shines as the median does, and wastes less of the rest.  With up to three runs
    nothing is cut, and it is the mean.  Source: arXiv 2108.13264, section 4.3; rliable's `aggregate_iqm`.

    Args:
        strata: [R, *P] each; several tasks are one pool, so their returns must have a common scale.

    Returns:
        [*P].

    Raises:
        ValueError: no runs.
    """
    pool = np.concatenate(strata)
    if not len(pool):
        raise ValueError("iqm needs at least one run, got none.")
    return np.asarray(trim_mean(pool, 0.25, axis=0))


def iqm_interval(*strata: Array, resamples: int = RESAMPLES, seed: int = 0) -> tuple[Array, Array]:
    """Percentile interval of the interquartile mean from the stratified bootstrap, at `LEVEL`.

    Runs are drawn with replacement within each stratum (task), as many as there are, and the interquartile mean is
    taken anew; the interval is between the quantiles of those.  With one stratum it is the plain bootstrap over runs.
    All points P of a curve share the draws, so that bands are as smooth as their curves.  Source: arXiv 2108.13264,
    section 4.1; rliable's `get_interval_estimates`.

    Few runs give intervals that are too narrow: of three or four runs it is exactly the range from the worst to the
    best, which has the true value less often than `LEVEL` says; ten runs come near.

    Args:
        strata: [R, *P] each; R may differ.
        resamples: draws.
        seed: of the draws; the same runs give the same interval.

    Returns:
        Lower and upper ends, [*P] each; NaN where a stratum has fewer than `LEAST_RUNS` runs.

    Raises:
        ValueError: no runs.
    """
    shape = iqm(*strata).shape
    if min(map(len, strata)) < LEAST_RUNS or 0 in shape:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    result = bootstrap(
        [stratum.reshape(len(stratum), -1).T for stratum in strata],  # [P, R] each, drawn from independently
        lambda *drawn, axis: trim_mean(np.concatenate(drawn, axis), 0.25, axis),
        n_resamples=resamples,
        batch=max(1, MOST_NUMBERS // sum(stratum.size for stratum in strata)),
        confidence_level=LEVEL,
        method="percentile",
        vectorized=True,
        axis=-1,
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return np.reshape(low, shape), np.reshape(high, shape)
