"""Where numbers go at log points: CSV files, TensorBoard, Weights & Biases.  Never touches a device tensor."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

METRIC_COLUMNS = (
    "member", "env_steps", "grad_steps", "wall_s", "env_steps_per_s", "grad_steps_per_s", "critic_loss", "actor_loss",
    "alpha_loss", "alpha", "entropy", "q_mean", "episode_return", "episode_length", "env_wait_s",
    "device_wait_s", "host_s",
)  # fmt: skip
"""The last three say where the seconds of the log interval went: waiting for the environments, waiting for the device
(on a CPU, computing actions and updates), and the rest."""
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
        num_members: with more than one, scalars are named by member.
        tensorboard: write event files.
        wandb_config: log to Weights & Biases with this configuration; None does not.
        keep_until: env_steps per member of the checkpoint that the run continues from.
    """

    def __init__(
        self,
        run_dir: Path,
        num_members: int,
        tensorboard: bool,
        wandb_config: dict[str, Any] | None,
        keep_until: Sequence[int],
    ) -> None:
        self._members = num_members
        self._metrics = CsvSink(run_dir / "metrics.csv", METRIC_COLUMNS, keep_until)
        self._evals = CsvSink(run_dir / "eval.csv", EVAL_COLUMNS, keep_until)
        self._loggers: list[Any] = []
        if tensorboard:
            from torchrl.record.loggers.tensorboard import TensorboardLogger

            self._loggers.append(TensorboardLogger(exp_name="tensorboard", log_dir=str(run_dir)))
        if wandb_config is not None:
            from torchrl.record.loggers.wandb import WandbLogger

            self._loggers.append(WandbLogger(exp_name=run_dir.name, project="fastsac", config=wandb_config))

    def metrics(self, row: Mapping[str, Any]) -> None:
        """A row of metrics.csv and its scalars."""
        self._metrics.write(row)
        self._scalars("train", row)

    def evaluation(self, row: Mapping[str, Any]) -> None:
        """A row of eval.csv and its scalars."""
        self._evals.write(row)
        self._scalars("eval", row)

    def _scalars(self, group: str, row: Mapping[str, Any]) -> None:
        suffix = f"/member{row['member']}" if self._members > 1 else ""
        for logger in self._loggers:
            for name, value in row.items():
                if name not in ("member", "env_steps") and not math.isnan(value):
                    logger.log_scalar(f"{group}/{name}{suffix}", value, step=row["env_steps"])

    def close(self) -> None:
        """Close all files."""
        self._metrics.close()
        self._evals.close()
        for logger in self._loggers:
            experiment = getattr(logger, "experiment", None)
            finish = getattr(experiment, "close", None) or getattr(experiment, "finish", None)
            if finish:
                finish()
