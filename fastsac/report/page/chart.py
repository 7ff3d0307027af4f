"""Charts as SVG within HTML: as wide as there is room, with text of one size, in the colours of the page.

Places are percentages of the plot, lines keep their width, and labels lie outside of it: nothing is scaled but lengths.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator

from fastsac.report.page.html import Html, element
from fastsac.report.progress import number
from fastsac.report.statistics import Array
from fastsac.report.style import COLOURS, short_number
from fastsac.report.traces import Trace

MOST_DOTS = 40
SIDE = 1000  # units of lines and bands along a side of the plot
DOT = 3.5  # pixels
ROOM = 0.04  # of the range of values, above and below


@dataclass(frozen=True)
class Coloured:
    """A trace of a group: its colour, and the group's name."""

    trace: Trace
    colour: str
    name: str


@dataclass(frozen=True)
class Scale:
    """What a side of the plot spans."""

    low: float
    high: float

    def share(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round numbers within."""
        found = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        return [float(tick) for tick in found if self.low <= tick <= self.high]


def colour_class(colour: str) -> str:
    """The name under which the page has a colour, for a dark and for a light background."""
    return f"c{COLOURS.index(colour)}" if colour in COLOURS else "other"


def chart(title: str, x_name: str, axis: str, shown: Sequence[Coloured], most: float | None = None) -> Html:
    """Lines and bands over an axis.

    Args:
        title: what the values are.
        x_name: what the axis is.
        axis: one of `traces.AXES`.
        shown: from below to above.
        most: the largest place of the axis; that of the traces by default.
    """
    x = Scale(0.0, most or max((float(each.trace.x[axis].max()) for each in shown), default=0.0) or 1.0)
    y = value_scale([each.trace.y for each in shown])
    plot = element(
        "svg", *_grid(x, y), _lines(axis, shown, x, y), *_dots(axis, shown, x, y),
        role="img", aria_label=f"{title} over {x_name}: {summary(shown)}",
    )  # fmt: skip
    words = element("figcaption", element("b", title), element("span", f"over {x_name}"))
    return element("figure", words, element("div", plot, class_="plot"), class_="chart")


def value_scale(values: Sequence[Array]) -> Scale:
    """From the smallest to the largest, and a little more."""
    low = min((float(y.min()) for y in values), default=0.0)
    high = max((float(y.max()) for y in values), default=1.0)
    margin = ROOM * (high - low) or max(abs(high), 1.0) * ROOM
    return Scale(low - margin, high + margin)


def summary(shown: Iterable[Coloured]) -> str:
    """The last value of each line, in words."""
    ends = [(each.name, each.trace.y[-1]) for each in shown if each.trace.kind == "evaluations"]
    return "; ".join(f"{name or 'the line'} ends at {number(float(end))}" for name, end in ends) or "no evaluations"


def _grid(x: Scale, y: Scale) -> list[Html]:
    marks = []
    for tick in y.ticks():
        at = _percent(1 - y.share(tick))
        marks += [
            element("line", x1="0", x2="100%", y1=at, y2=at, class_="grid"),
            element("text", short_number(tick), x=-8, y=at, dy="0.35em", text_anchor="end"),
        ]
    for tick in x.ticks():
        at = _percent(x.share(tick))
        marks += [
            element("line", y1="0", y2="100%", x1=at, x2=at, class_="grid"),
            element("text", short_number(tick), x=at, y="100%", dy="1.5em", text_anchor="middle"),
        ]
    return marks


def _lines(axis: str, shown: Sequence[Coloured], x: Scale, y: Scale) -> Html:
    def points(xs: Array, ys: Array) -> str:
        return " ".join(
            f"{SIDE * x.share(float(a)):.1f},{SIDE * (1 - y.share(float(b))):.1f}" for a, b in zip(xs, ys, strict=True)
        )

    paths = []
    for each in shown:
        kind, colour = each.trace.kind, colour_class(each.colour)
        xs, ys = each.trace.x[axis], each.trace.y
        if kind == "band":
            around = points(np.concatenate([xs, xs[::-1]]), np.concatenate([ys[0], ys[1][::-1]]))
            paths.append(element("polygon", points=around, class_=f"band {colour}"))
        else:
            paths.append(element("polyline", points=points(xs, ys), class_=f"{kind} {colour}"))
    return element("svg", *paths, viewBox=f"0 0 {SIDE} {SIDE}", preserveAspectRatio="none", width="100%", height="100%")


def _dots(axis: str, shown: Sequence[Coloured], x: Scale, y: Scale) -> list[Html]:
    """On each evaluation, and where a line is one point: it tells its numbers to a pointer."""
    dots = []
    for each in shown:
        trace = each.trace
        if not has_dots(trace):
            continue
        for at, value in zip(trace.x[axis].tolist(), trace.y.tolist(), strict=True):
            told = element("title", f"{each.name + ': ' if each.name else ''}{number(value)} at {at:,.0f}")
            place = {"cx": _percent(x.share(at)), "cy": _percent(1 - y.share(value))}
            dots.append(element("circle", told, **place, r=DOT, class_=f"dot {colour_class(each.colour)}"))
    return dots


def has_dots(trace: Trace) -> bool:
    """Whether each point of a trace is marked."""
    size = trace.y.shape[-1]
    return trace.kind != "band" and (size == 1 or (trace.kind == "evaluations" and size <= MOST_DOTS))


def interval(low: float, middle: float, high: float, returns: Sequence[float], scale: Scale, colour: str) -> Html:
    """A value on its interval, which may be unknown, with small dots for the seeds, in one line of text."""

    def at(value: float) -> str:
        return _percent(scale.share(value))

    marks = [element("circle", cx=at(value), cy="50%", r=2.5, class_=f"seed {colour}") for value in returns]
    if math.isfinite(low):
        marks.append(element("line", x1=at(low), x2=at(high), y1="50%", y2="50%", class_=f"range {colour}"))
    marks.append(element("circle", cx=at(middle), cy="50%", r=5, class_=f"dot {colour}"))
    return element("svg", *marks, class_="interval", aria_hidden="true")


def stacked(parts: Sequence[tuple[str, float]]) -> Html:
    """One bar of shares, from left to right, each in the colour of its place."""
    total, start, bars = sum(share for _, share in parts) or 1.0, 0.0, []
    for place, (name, share) in enumerate(parts):
        told = element("title", f"{name}: {share / total:.0%}")
        where = {"x": _percent(start / total), "width": _percent(share / total)}
        bars.append(element("rect", told, **where, height="100%", class_=f"c{place}"))
        start += share
    words = ", ".join(f"{name} {share / total:.0%}" for name, share in parts)
    return element("svg", *bars, class_="stacked", role="img", aria_label=f"Shares of time: {words}")


def legend(names: Iterable[tuple[str, str]]) -> Html:
    """Colours and what they are."""
    items = [element("li", swatch(colour), name) for colour, name in names]
    return element("ul", *items, class_="legend")


def swatch(colour: str) -> Html:
    """A little square of a colour."""
    return element("i", class_=f"swatch {colour_class(colour)}", aria_hidden="true")


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"
