"""What TensorBoard and Weights & Biases show: the same few tags for one member and for many (see docs/metrics.md).

Of several members a tag is their mean; the tables have the figures of each.
"""

import math
from collections.abc import Sequence

from fastsac.config.derived import INFO
from fastsac.report.csv_sink import Row
from fastsac.report.statistics import mean_of_finite

LEARNING = (
    "episode_return", "episode_length", "success_rate", "critic_loss", "actor_loss", "alpha_loss", "alpha", "entropy",
    "q_mean",
)  # fmt: skip
SPEED = "env_steps_per_s"
FINAL = ("eval/return_mean", "eval/success_rate")  # by which runs are compared

Scalars = dict[str, float]  # by tag


def of_metrics(rows: Sequence[Row]) -> Scalars:
    """Scalars of rows of metrics.csv, one per member."""
    tags = {f"train/{name}": name for name in LEARNING}
    tags |= {f"time/{SPEED}": SPEED, **{name: name for name in rows[0] if name.startswith(INFO)}}
    return finite({tag: mean_of_finite(_column(rows, name)) for tag, name in tags.items()})


def of_evaluation(rows: Sequence[Row]) -> Scalars:
    """Scalars of rows of eval.csv, one per member."""
    returns = _column(rows, "return_mean")
    spread = {"return_min": min(returns), "return_max": max(returns)}
    if len(rows) == 1:
        spread = {"return_std": _column(rows, "return_std")[0]}
    means = {name: mean_of_finite(_column(rows, name)) for name in ("return_mean", "success_rate")}
    return finite({f"eval/{name}": value for name, value in (means | spread).items()})


def _column(rows: Sequence[Row], name: str) -> list[float]:
    """The values of all members, NaN where a row has none."""
    return [float(row.get(name, math.nan)) for row in rows]


def finite(scalars: Scalars) -> Scalars:
    """Those that can be shown."""
    return {tag: value for tag, value in scalars.items() if math.isfinite(value)}
