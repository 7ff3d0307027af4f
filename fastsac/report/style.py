"""The look of all pictures: colours, axes, numbers, legends, and how they are written.  Knows no run."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

# Told apart by colour-blind readers too (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#4D4D4D")
INK, FAINT = "#333333", "#D9D9D9"
MINUS = "\N{MINUS SIGN}"
LETTERS_PER_INCH = 13.6  # of legends


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """An empty figure, in inches, that arranges itself and needs no display."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    if title:
        figure.suptitle(title, fontsize=13, fontweight="bold", color=INK)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write the picture, and its folder; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def tidy(axes: Axes, x_name: str) -> None:
    """Few ticks, short numbers, and `frame`."""
    frame(axes)
    axes.set_xlabel(x_name, color=INK)
    axes.set_xlim(left=0)
    for ticks in (axes.xaxis, axes.yaxis):
        ticks.set_major_formatter(FuncFormatter(short_number))
        ticks.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))


def frame(axes: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """A light grid below the data, no lines on top and right, no tick marks."""
    axes.grid(axis=grid, color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(which="both", colors=INK, length=0, labelsize=9)


def short_number(value: float, _: object = None) -> str:
    """`2.5k`, `12M`, `150`, with a real minus sign."""
    units = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
    size, unit = next((u for u in units if abs(value) >= u[0]), (1.0, ""))
    return f"{value / size:g}{unit}".replace("-", MINUS)


def add_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Below the panels, where no data is, in as many columns as fit; the figure grows by its height."""
    widths = [len(str(handle.get_label())) + 8 for handle in handles]
    columns = len(handles)
    room = LETTERS_PER_INCH * figure.get_figwidth()
    while columns > 1 and sum(map(max, np.array_split(widths, columns))) > room:
        columns -= 1
    figure.set_figheight(figure.get_figheight() + 0.1 + 0.2 * math.ceil(len(handles) / columns))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, labelcolor=INK, fontsize=9)
