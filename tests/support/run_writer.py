"""Run directories as training writes them, without training."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastsac.config.settings import Config
from fastsac.report.csv_sink import CsvSink
from fastsac.report.sinks import EVAL_COLUMNS, METRIC_COLUMNS


def write_run(
    path: Path,
    returns: Sequence[float] = (-900.0, -500.0, -150.0),
    better: Callable[[int, Config], float] = lambda member, config: float(member),
    steps: Callable[[int, int], int] = lambda member, row: 1000 * row,
    **settings: Any,
) -> Path:
    """A run with an evaluation per return and member, to which `better` adds; by default member m scores m more.

    `steps` are those of a member in a row, from row 1 on.
    """
    config = Config(**{"env": "Pendulum-v1", **settings})
    path.mkdir()
    (path / "config.json").write_text(config.to_json())
    added = [better(member, config.of_member(member)) for member in range(config.num_members)]
    evals, metrics = CsvSink(path / "eval.csv", EVAL_COLUMNS), CsvSink(path / "metrics.csv", METRIC_COLUMNS)
    for i, value in enumerate(returns, start=1):
        for member in range(config.num_members):
            common = {"member": member, "env_steps": steps(member, i), "grad_steps": 900 * i, "wall_s": 2.5 * i}
            evals.write({**common, "return_mean": value + added[member], "return_std": 20.0, "episodes": 10})
            metrics.write({**common, "episode_return": math.nan if i == 1 else value - 50.0})
    evals.close()
    metrics.close()
    return path
