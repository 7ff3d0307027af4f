"""Where numbers go at log points: CSV files, TensorBoard, Weights & Biases.  Never touches a device tensor."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastsac.report.csv_sink import CsvSink, Row
from fastsac.report.statistics import iqm_of_finite, mean_of_finite

METRIC_COLUMNS = (
    "member", "env_steps", "grad_steps", "wall_s", "env_steps_per_s", "grad_steps_per_s", "critic_loss", "actor_loss",
    "alpha_loss", "alpha", "entropy", "q_mean", "episode_return", "episode_length", "env_wait_s",
    "device_wait_s", "host_s",
)  # fmt: skip
"""The last three divide the seconds of the log interval: waiting for the environments, waiting for the device (on a
CPU, computing actions and updates), and the rest."""
EVAL_COLUMNS = ("member", "env_steps", "grad_steps", "wall_s", "return_mean", "return_std", "episodes")
MEMBER_COLUMNS = ("seed",)  # of both, and one for each setting that a sweep changes
REOPEN_AFTER_S = 60.0  # where TensorBoard's writer met a full disk, of which its thread prints a page


class Sinks:
    """metrics.csv, eval.csv and the loggers of torchrl that were asked for.

    Args:
        run_dir: where the files go.
        swept: the settings that members differ in, which become columns.
        tensorboard: write event files.
        wandb_config: log to Weights & Biases with this configuration; None does not.
        keep: rows of each file that the checkpoint knew of which the run continues from, as `num_rows` gave them.
    """

    def __init__(
        self,
        run_dir: Path,
        swept: Sequence[str],
        tensorboard: bool,
        wandb_config: Mapping[str, object] | None,
        keep: Mapping[str, int],
    ) -> None:
        self._describing = (*MEMBER_COLUMNS, *swept)
        columns = {"metrics.csv": METRIC_COLUMNS, "eval.csv": EVAL_COLUMNS}
        self._files = {
            name: CsvSink(run_dir / name, (*own, *self._describing), keep.get(name, 0)) for name, own in columns.items()
        }
        self._events = EventFiles(run_dir) if tensorboard else None
        self._wandb: Any = None
        if wandb_config is not None:
            from torchrl.record.loggers.wandb import WandbLogger

            self._wandb = WandbLogger(exp_name=run_dir.name, project="fastsac", config=wandb_config)

    def metrics(self, rows: Sequence[Row]) -> None:
        """Write rows of metrics.csv, one per member, and their scalars; for errors see `_write`."""
        self._write("metrics.csv", "train", rows)

    def evaluation(self, rows: Sequence[Row]) -> None:
        """Write rows of eval.csv, one per member, and their scalars; for errors see `_write`."""
        self._write("eval.csv", "eval", rows)

    def _write(self, name: str, group: str, rows: Sequence[Row]) -> None:
        """Write all that can be written, or raise an OSError: the rows follow with the next call, scalars are lost."""
        try:
            self._files[name].write(*rows)
        finally:
            for scalar, (value, step) in self._scalars(rows).items():
                self._log(f"{group}/{scalar}", value, step)

    def _scalars(self, rows: Sequence[Row]) -> dict[str, tuple[float, int]]:
        """Value and step by name: of one member plainly; of several the mean plainly, and each under its number."""
        scalars: dict[str, tuple[float, int]] = {}
        steps = [int(row["env_steps"]) for row in rows]
        for name in [name for name in rows[0] if name not in ("member", "env_steps", *self._describing)]:
            values = [float(row[name]) for row in rows]
            scalars[name] = mean_of_finite(values), steps[0]
            if len(rows) > 1:
                each = zip(rows, values, steps, strict=True)
                scalars |= {f"{name}/member{row['member']}": (value, step) for row, value, step in each}
            if len(rows) > 1 and name == "return_mean":
                spread = {"iqm": iqm_of_finite(values), "min": min(values), "max": max(values)}
                scalars |= {f"return_{kind}": (value, steps[0]) for kind, value in spread.items()}
        return scalars

    def _log(self, name: str, value: float, step: int) -> None:
        if math.isnan(value):
            return
        if self._wandb is not None:
            self._wandb.log_scalar(name, value, step=step)
        if self._events is not None:
            self._events.log(name, value, step)

    @property
    def notes(self) -> list[str]:
        """Lines to tell the user: of tables that were damaged."""
        return [file.note for file in self._files.values() if file.note]

    def flush(self) -> None:
        """Write the rows that wait for room on the disk; an OSError where there is none."""
        for file in self._files.values():
            file.flush()

    def are_there(self) -> bool:
        """Whether a table still lies where it was written."""
        return any(file.is_there() for file in self._files.values())

    def restore(self) -> list[str]:
        """Write tables anew that are gone, or raise an OSError, and new event files; returns those tables' names."""
        gone = [name for name, file in self._files.items() if not file.is_there()]
        for name in gone:
            self._files[name].restore()
        if self._events is not None:
            self._events.restore()
        return gone

    @property
    def num_rows(self) -> dict[str, int]:
        """Rows in each file."""
        return {name: file.num_rows for name, file in self._files.items()}

    def sync(self) -> None:
        """Wait until all rows are on the disk."""
        for file in self._files.values():
            file.sync()

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()
        if self._events is not None:
            self._events.close()
        if self._wandb is not None:
            self._wandb.experiment.finish()


class EventFiles:
    """TensorBoard's event files, in `tensorboard/`.  A writer ends with its first error; later another one begins."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir, self._reopen_at = run_dir, 0.0
        self._writer = self._open()

    def _open(self) -> Any:
        from torchrl.record.loggers.tensorboard import TensorboardLogger

        return TensorboardLogger(exp_name="tensorboard", log_dir=str(self._run_dir))

    def log(self, name: str, value: float, step: int) -> None:
        """Write one scalar, or leave it out for a while after an error, which is an OSError."""
        if self._writer is None:
            if time.monotonic() < self._reopen_at:
                return
            self._writer = self._open()
        try:
            self._writer.log_scalar(name, value, step=step)
        except OSError:
            self._writer, self._reopen_at = None, time.monotonic() + REOPEN_AFTER_S
            raise

    def restore(self) -> None:
        """Begin a new file with the next scalar if the folder is gone."""
        if not (self._run_dir / "tensorboard").is_dir():
            self.close()
            self._reopen_at = 0.0

    def close(self) -> None:
        """Close the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(OSError):
                writer.experiment.close()
