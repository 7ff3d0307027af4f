"""What a figure of matplotlib shows."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle


def x_of(line: Line2D) -> list[float]:
    """Where the points of a line are from left to right."""
    return [float(value) for value in np.atleast_1d(np.asarray(line.get_xdata()))]


def y_of(line: Line2D) -> list[float]:
    """Where they are from below to above."""
    return [float(value) for value in np.atleast_1d(np.asarray(line.get_ydata()))]


def widths(axes: Axes) -> list[float]:
    """Of the bars, from the first to the last."""
    return [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)]
