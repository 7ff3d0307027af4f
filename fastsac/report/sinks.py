"""Where numbers go at log points: CSV files, TensorBoard, Weights & Biases.  Never touches a device tensor."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
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
    """metrics.csv, eval.csv and the loggers of torchrl that were asked for.  Writing raises an OSError if it must.

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
        describing = (*MEMBER_COLUMNS, *swept)
        self._not_scalars = {"member", "env_steps", *describing}
        self._files = {
            name: CsvSink(run_dir / name, (*columns, *describing), keep.get(name, 0))
            for name, columns in (("metrics.csv", METRIC_COLUMNS), ("eval.csv", EVAL_COLUMNS))
        }
        self._events = EventFiles(run_dir) if tensorboard else None
        self._wandb: Any = None
        if wandb_config is not None:
            from torchrl.record.loggers.wandb import WandbLogger

            self._wandb = WandbLogger(exp_name=run_dir.name, project="fastsac", config=wandb_config)

    def metrics(self, rows: Sequence[Row]) -> None:
        """Write rows of metrics.csv, one per member, and their scalars."""
        self._write("metrics.csv", "train", rows)

    def evaluation(self, rows: Sequence[Row]) -> None:
        """Write rows of eval.csv, one per member, and their scalars."""
        self._write("eval.csv", "eval", rows)

    def _write(self, name: str, group: str, rows: Sequence[Row]) -> None:
        """Write all that can be written: after an error the rows follow with the next call, scalars are lost."""
        try:
            self._files[name].write(*rows)
        finally:
            for scalar, value, step in self._scalars(rows):
                if self._wandb is not None and not math.isnan(value):
                    self._wandb.log_scalar(f"{group}/{scalar}", value, step=step)
                if self._events is not None and not math.isnan(value):
                    self._events.log(f"{group}/{scalar}", value, step)

    def _scalars(self, rows: Sequence[Row]) -> Iterator[tuple[str, float, int]]:
        """Name, value and step: of one member plainly; of several the mean plainly, and each under its number."""
        steps = [int(row["env_steps"]) for row in rows]
        for name in [name for name in rows[0] if name not in self._not_scalars]:
            values = [float(row[name]) for row in rows]
            yield name, mean_of_finite(values), steps[0]
            if len(rows) == 1:
                continue
            for row, value, step in zip(rows, values, steps, strict=True):
                yield f"{name}/member{row['member']}", value, step
            if name == "return_mean":
                yield "return_iqm", iqm_of_finite(values), steps[0]
                yield "return_min", min(values), steps[0]
                yield "return_max", max(values), steps[0]

    @property
    def notes(self) -> list[str]:
        """Lines to tell the user: of tables that were damaged."""
        return [file.note for file in self._files.values() if file.note]

    def flush(self) -> None:
        """Write the rows that wait for room on the disk."""
        for file in self._files.values():
            file.flush()

    def are_there(self) -> bool:
        """Whether a table still lies where it was written."""
        return any(file.is_there() for file in self._files.values())

    def restore(self) -> list[str]:
        """Write tables anew that are gone, and new event files; returns those tables' names."""
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
        """Make the rows safe from a power cut."""
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
        self._open()

    def _open(self) -> None:
        from torchrl.record.loggers.tensorboard import TensorboardLogger

        self._writer: Any = TensorboardLogger(exp_name="tensorboard", log_dir=str(self._run_dir))

    def log(self, name: str, value: float, step: int) -> None:
        """Write one scalar; after an OSError none for a while."""
        if self._writer is None and time.monotonic() < self._reopen_at:
            return
        if self._writer is None:
            self._open()
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
