"""Where numbers go at log points: CSV files, TensorBoard, Weights & Biases.  Never touches a device tensor."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

METRIC_COLUMNS = (
    "member", "env_steps", "grad_steps", "wall_s", "env_steps_per_s", "grad_steps_per_s", "critic_loss", "actor_loss",
    "alpha_loss", "alpha", "entropy", "q_mean", "episode_return", "episode_length", "env_wait_s",
    "device_wait_s", "host_s",
)  # fmt: skip
"""The last three say where the seconds of the log interval went: waiting for the environments, waiting for the device
(on a CPU, computing actions and updates), and the rest."""
MEMBER_COLUMNS = ("seed",)  # and one for each setting that a sweep changes
EVAL_COLUMNS = ("member", "env_steps", "grad_steps", "wall_s", "return_mean", "return_std", "episodes")


class CsvSink:
    """Rows of one CSV file, on disk as soon as they are written; floats are written so that they read back exactly.

    Args:
        path: the file; rows that are there already are kept, with an empty cell for each column that they lack.
        columns: names, in order.
        keep_until: per member, drop rows whose env_steps is above this: those after the checkpoint that a run
            continues from.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], keep_until: Sequence[int] = ()) -> None:
        self._columns = columns
        kept = []
        if path.exists():
            with path.open(newline="") as f:
                whole = [row for row in csv.DictReader(f) if None not in row.values()]  # the last may be torn
            kept = [row for row in whole if int(row["env_steps"]) <= keep_until[int(row["member"])]]
        self._file: TextIO = path.open("w", newline="")
        self._writer = csv.DictWriter(self._file, columns, restval="", lineterminator="\n", extrasaction="ignore")
        self._writer.writeheader()
        self._writer.writerows(kept)
        self._file.flush()

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row; keys that are not columns are ignored, columns without a key stay empty."""
        self._writer.writerow({k: repr(v) if isinstance(v, float) else v for k, v in row.items()})
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Sinks:
    """metrics.csv, eval.csv and the loggers of torchrl that were asked for.

    Args:
        run_dir: where the files go.
        swept: the settings that members differ in, which become columns.
        tensorboard: write event files.
        wandb_config: log to Weights & Biases with this configuration; None does not.
        keep_until: env_steps per member of the checkpoint that the run continues from.
    """

    def __init__(
        self,
        run_dir: Path,
        swept: Sequence[str],
        tensorboard: bool,
        wandb_config: dict[str, Any] | None,
        keep_until: Sequence[int],
    ) -> None:
        self._describing = (*MEMBER_COLUMNS, *swept)
        self._metrics = CsvSink(run_dir / "metrics.csv", (*METRIC_COLUMNS, *self._describing), keep_until)
        self._evals = CsvSink(run_dir / "eval.csv", (*EVAL_COLUMNS, *self._describing), keep_until)
        self._loggers: list[Any] = []
        if tensorboard:
            from torchrl.record.loggers.tensorboard import TensorboardLogger

            self._loggers.append(TensorboardLogger(exp_name="tensorboard", log_dir=str(run_dir)))
        if wandb_config is not None:
            from torchrl.record.loggers.wandb import WandbLogger

            self._loggers.append(WandbLogger(exp_name=run_dir.name, project="fastsac", config=wandb_config))

    def metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of metrics.csv, one per member, and their scalars."""
        for row in rows:
            self._metrics.write(row)
        self._scalars("train", rows)

    def evaluation(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of eval.csv, one per member, and their scalars."""
        for row in rows:
            self._evals.write(row)
        self._scalars("eval", rows)

    def _scalars(self, group: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Of one member plainly; of several the mean plainly, of evaluations more, and each under its number."""
        names = [name for name in rows[0] if name not in ("member", "env_steps", *self._describing)]
        for name in names:
            values = [row[name] for row in rows]
            self._scalar(f"{group}/{name}", mean_of_finite(values), rows[0]["env_steps"])
            if len(rows) > 1:
                for row in rows:
                    self._scalar(f"{group}/{name}/member{row['member']}", row[name], row["env_steps"])
            if len(rows) > 1 and name == "return_mean":
                spread = {"iqm": interquartile_mean(values), "min": min(values), "max": max(values)}
                for kind, value in spread.items():
                    self._scalar(f"{group}/return_{kind}", value, rows[0]["env_steps"])

    def _scalar(self, name: str, value: float, step: int) -> None:
        for logger in self._loggers:
            if not math.isnan(value):
                logger.log_scalar(name, value, step=step)

    def close(self) -> None:
        """Close all files."""
        self._metrics.close()
        self._evals.close()
        for logger in self._loggers:
            experiment = getattr(logger, "experiment", None)
            finish = getattr(experiment, "close", None) or getattr(experiment, "finish", None)
            if finish:
                finish()


def mean_of_finite(values: Iterable[float]) -> float:
    """Mean of the finite values; nan where there is none."""
    finite = [v for v in values if math.isfinite(v)]
    return sum(finite) / len(finite) if finite else math.nan


def interquartile_mean(values: Iterable[float]) -> float:
    """Mean of the middle half of the finite values (rliable, arXiv 2108.13264); nan where there is none.

    A quarter of them, rounded down, is left out at each end.
    """
    finite = sorted(v for v in values if math.isfinite(v))
    cut = len(finite) // 4
    return mean_of_finite(finite[cut : len(finite) - cut])
