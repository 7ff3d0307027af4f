"""A learning curve as lines of text, for a terminal.

Axes: P points of the curve, W columns.
"""

import numpy as np

from fastsac.report.statistics import Array

BLOCKS = "▁▂▃▄▅▆▇█"  # a row of the curve in eighths
PLAIN = "#"  # where the terminal has no such letters
WIDTH, HEIGHT = 56, 8  # in letters


def text_curve(env_steps: Array, returns: Array, mark: float, blocks: str = BLOCKS) -> list[str]:
    """Columns as high as the returns [P] at env_steps [P], which rise, and an arrow at the return `mark`.

    Raises:
        ValueError: no points.
    """
    if not len(returns):
        raise ValueError("a curve needs at least one evaluation, got none.")
    low, high = min(returns.min(), mark), max(returns.max(), mark)
    columns = np.interp(np.linspace(env_steps[0], env_steps[-1], WIDTH), env_steps, returns)  # [W]
    parts = _parts(columns, low, high, len(blocks))
    marked = (int(_parts(np.array([mark]), low, high, len(blocks))[0]) - 1) // len(blocks)
    labels = {0: f"{low:,.0f}", HEIGHT - 1: f"{high:,.0f}"}
    margin = max(map(len, labels.values()))
    lines = []
    for row in reversed(range(HEIGHT)):
        filled = np.clip(parts - row * len(blocks), 0, len(blocks))
        text = "".join(f" {blocks}"[part] for part in filled)
        arrow = f" <- {mark:,.0f}" if row == marked else ""
        lines.append(f"{labels.get(row, ''):>{margin}} |{text}{arrow}".rstrip())
    first, last = f"{env_steps[0]:,.0f}", f"{env_steps[-1]:,.0f} env steps"
    return [*lines, f"{'':{margin}}  {first}{last:>{WIDTH - len(first)}}"]


def _parts(values: Array, low: float, high: float, per_row: int) -> np.ndarray:
    """Heights of values in parts of a row, from 1 for `low` to all for `high`."""
    share = (values - low) / ((high - low) or 1.0)
    return 1 + np.rint(share * (HEIGHT * per_row - 1)).astype(int)
