"""What learning curves show, as numbers: lines, bands, and where they lie along the axes.  Draws nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fastsac.report.runs import OTHER, Curve, Group
from fastsac.report.statistics import LEAST_RUNS, Array, iqm, iqm_interval

AXES = ("env_steps", "wall_s")
ROOMY = 4  # groups of a panel that leave room for markers and training episodes


@dataclass(frozen=True)
class Trace:
    """A line, or a band around one.

    kind: training episodes; evaluations, of a group in colour or of another one; their band; or the tail of one
    member's evaluations, after those of another have ended.
    """

    kind: Literal["episodes", "evaluations", "others", "band", "tail"]
    x: Mapping[str, Array]  # along each of `AXES`, [rows]
    y: Array  # [rows]; of a band its lower and upper edge, [2, rows]


def traces(group: Group, roomy: bool, seeds_of_bands: int) -> Iterator[Trace]:
    """All of a group, those that are drawn first first.

    Args:
        group: members that are repeats of one another.
        roomy: whether there is room for training episodes.
        seeds_of_bands: see `most_seeds`.
    """
    if shows_episodes(group, roomy):
        yield from _mean("episodes", group.episodes)
    if not group.evals:
        return
    if group.colour == OTHER:
        yield from _mean("others", group.evals)
        return
    yield from _band(group.evals, seeds_of_bands)
    yield from _tails(group.evals)
    yield from _mean("evaluations", group.evals)


def shows_episodes(group: Group, roomy: bool) -> bool:
    """Training episodes are drawn where there is room for them and a line of them, or where they are all there is."""
    if not group.episodes or group.colour == OTHER:
        return False
    return not group.evals or (roomy and len(stack(group.episodes)[0]) > 1)


def most_seeds(groups: list[Group]) -> int:
    """Members of the largest group that is in colour, `LEAST_RUNS` at most: what the bands of a picture mean by."""
    return min(LEAST_RUNS, max((len(group.evals) for group in groups if group.colour != OTHER), default=0))


def _mean(kind: Literal["episodes", "evaluations", "others"], curves: Sequence[Curve]) -> Iterator[Trace]:
    places, returns = stack(curves)
    if places.size:
        yield Trace(kind, _x(curves, places), iqm(returns))


def _band(curves: Sequence[Curve], seeds: int) -> Iterator[Trace]:
    """Around the mean of the curves; none with fewer than `seeds` of them."""
    places, returns = stack(curves)
    if len(curves) < seeds or not places.size:
        return
    if seeds == 1:
        edges = returns[0] - curves[0].std, returns[0] + curves[0].std
    else:
        edges = iqm_interval(returns) if seeds == LEAST_RUNS else (returns.min(0), returns.max(0))
    yield Trace("band", _x(curves, places), np.stack(edges))


def _tails(curves: Sequence[Curve]) -> Iterator[Trace]:
    places, _ = stack(curves)
    for curve, place in zip(curves, places_of(curves), strict=True):
        tail = place >= (places[-1] if places.size else 0.0)
        if tail.sum() > 1:
            yield Trace("tail", {axis: getattr(curve, axis)[tail] for axis in AXES}, curve.mean[tail])


def _x(curves: Sequence[Curve], places: Array) -> dict[str, Array]:
    return {axis: along(curves, places, axis) for axis in AXES}


def stack(curves: Sequence[Curve]) -> tuple[Array, Array]:
    """Places [places] as far as all curves go, and their returns [curves, places] there: those of `places_of`."""
    places = common(places_of(curves))
    return places, _at(places, curves, "mean")


def along(curves: Sequence[Curve], places: Array, axis: str) -> Array:
    """Where the places lie on an axis: the mean over curves, [places]."""
    x: Array = _at(places, curves, axis).mean(0)
    return x


def places_of(curves: Sequence[Curve]) -> list[Array]:
    """What the rows of each curve are put together by, [rows] each: their order, or the clock where it differs.

    Where episodes differ in length, members stand at different steps in the same row.  Runs may be evaluated at
    different intervals.
    """
    rows = [curve.row for curve in curves]
    return rows if in_step(curves, common(rows)) else [curve.clock for curve in curves]


def in_step(curves: Sequence[Curve], rows: Array) -> bool:
    """Each row lies closer together in all curves, by the clock, than half its distance from the row before."""
    clocks = np.stack([np.interp(rows, curve.row, curve.clock) for curve in curves])
    first, last = clocks.min(0), clocks.max(0)
    distance = np.diff(first, prepend=0.0)
    return bool(rows.size and (2 * (last - first) <= distance).all())


def common(places: Sequence[Array]) -> Array:
    """Of places, [rows] of each curve, those of the curve with the most, as far as all of them go."""
    start, end = max(place[0] for place in places), min(place[-1] for place in places)
    longest = max(places, key=len)
    shared: Array = longest[(longest >= start) & (longest <= end)]
    return shared


def _at(places: Array, curves: Sequence[Curve], name: str) -> Array:
    own = places_of(curves)
    return np.stack([np.interp(places, x, getattr(c, name)) for x, c in zip(own, curves, strict=True)])
