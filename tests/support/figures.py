"""What a figure of matplotlib shows."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

PNG = b"\x89PNG\r\n\x1a\n"


def x_of(line: Line2D) -> list[float]:
    """Where the points of a line are from left to right."""
    return [float(value) for value in np.atleast_1d(np.asarray(line.get_xdata()))]


def y_of(line: Line2D) -> list[float]:
    """Where they are from below to above."""
    return [float(value) for value in np.atleast_1d(np.asarray(line.get_ydata()))]


def widths(axes: Axes) -> list[float]:
    """Of the bars, from the first to the last."""
    return [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)]


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(PNG) and path.stat().st_size > 10_000


def drawn(axes: Axes) -> list[list[float]]:
    """The y values of all lines."""
    return [y_of(line) for line in axes.lines]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]
