"""Where numbers go at log points: CSV files, TensorBoard, Weights & Biases.  Never touches a device tensor."""

import csv
import io
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastsac.disk.files import write_file
from fastsac.disk.tables import read_table, set_aside

METRIC_COLUMNS = (
    "member", "env_steps", "grad_steps", "wall_s", "env_steps_per_s", "grad_steps_per_s", "critic_loss", "actor_loss",
    "alpha_loss", "alpha", "entropy", "q_mean", "episode_return", "episode_length", "env_wait_s",
    "device_wait_s", "host_s",
)  # fmt: skip
"""The last three say where the seconds of the log interval went: waiting for the environments, waiting for the device
(on a CPU, computing actions and updates), and the rest."""
MEMBER_COLUMNS = ("seed",)  # and one for each setting that a sweep changes
REOPEN_AFTER_S = 60.0  # where TensorBoard's writer met a full disk, of which its thread prints a page
EVAL_COLUMNS = ("member", "env_steps", "grad_steps", "wall_s", "return_mean", "return_std", "episodes")


class CsvSink:
    """Rows of one CSV file, on disk as soon as they are written; floats are written so that they read back exactly.

    Args:
        path: the file; rows that are there already are kept, with an empty cell for each column that they lack.
        columns: names, in order.
        keep: how many of the rows that are there to keep: those of the checkpoint that a run continues from.

    Attributes:
        note: a line to tell the user, where some of these could not be kept; else empty.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], keep: int = 0) -> None:
        kept, self.note = rows_to_keep(path, columns, keep)
        self.num_rows = len(kept)  # in the file
        self._num_waiting = 0
        self._waiting = io.StringIO(newline="")  # rows that are not in the file
        self._writer = csv.DictWriter(self._waiting, columns, restval="", lineterminator="\n", extrasaction="ignore")
        self._writer.writeheader()
        self._header = self._waiting.getvalue().encode()
        self._writer.writerows(kept)
        self._path = path.absolute()
        self._size = len(self._waiting.getvalue().encode())  # of the file
        write_file(path, self._waiting.getvalue().encode())
        self._empty()
        self._file = path.open("a+b", buffering=0)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row; keys that are not columns are ignored, columns without a key stay empty.

        Raises:
            OSError: it cannot be written now; the next call writes it, too.
        """
        self._writer.writerow({k: repr(v) if isinstance(v, float) else v for k, v in row.items()})
        self._num_waiting += 1
        self.flush()

    def is_there(self) -> bool:
        """Whether the path still leads to the file that the rows go to, and nobody cut it short."""
        try:
            there = self._path.stat()
            return os.path.samestat(there, os.fstat(self._file.fileno())) and there.st_size >= self._size
        except OSError:
            return False

    def restore(self) -> None:
        """Write the file anew with its rows: one that was removed or moved can still be read while it is open.

        Another file that lies in its place is set aside, and one that was cut short.

        Raises:
            OSError: it cannot be written now.
        """
        self._file.seek(0)
        content = self._file.read()
        if self._path.exists():
            set_aside(self._path)
        write_file(self._path, content if len(content) >= self._size else self._header)
        before, self._file = self._file, self._path.open("a+b", buffering=0)
        before.close()
        self._size = len(content) if len(content) >= self._size else len(self._header)
        self.flush()

    def sync(self) -> None:
        """Wait until all rows are on the disk, safe from a power cut."""
        os.fsync(self._file.fileno())

    def flush(self) -> None:
        """Write the rows that wait, all of them or none.

        Raises:
            OSError: they cannot be written now.
        """
        rows, size = memoryview(self._waiting.getvalue().encode()), self._file.seek(0, os.SEEK_END)
        try:
            while rows:
                rows = rows[self._file.write(rows) :]
        except OSError:
            self._file.truncate(size)
            self._file.seek(size)
            raise
        self._size = self._file.tell()
        self.num_rows += self._num_waiting
        self._num_waiting = 0
        self._empty()

    def _empty(self) -> None:
        """No row waits."""
        self._waiting.seek(0)
        self._waiting.truncate()

    def close(self) -> None:
        """Close the file, with the rows that wait if that is possible."""
        with suppress(OSError):
            self.flush()
        self._file.close()


def rows_to_keep(path: Path, columns: Sequence[str], keep: int) -> tuple[list[dict[str, str]], str]:
    """The first `keep` rows of a table, those that can be read, and a line to tell the user if that is not all.

    A table that holds what is not kept is set aside.
    """
    try:
        table = read_table(path, keep)
    except FileNotFoundError:
        return [], f"{path} is gone, and with it {keep:,} row(s); a new one begins here" if keep else ""
    except OSError as error:
        return [], f"{path} cannot be read ({error.strerror}): it is now {set_aside(path).name}, a new one begins here"
    rows = table.rows if set(columns) & set(table.columns) else []
    if keep == 0 or (len(rows) == keep and set(table.columns) <= set(columns)):
        return rows, ""
    have = f"{len(rows):,} of the {keep:,} row(s) that the checkpoint counts on"
    return rows, f"{path} is damaged: {have} go on in a new one, what it was is in {set_aside(path).name}"


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
        wandb_config: dict[str, Any] | None,
        keep: Mapping[str, int],
    ) -> None:
        self._describing = (*MEMBER_COLUMNS, *swept)
        columns = {"metrics.csv": METRIC_COLUMNS, "eval.csv": EVAL_COLUMNS}
        self._files = {
            name: CsvSink(run_dir / name, (*own, *self._describing), keep.get(name, 0)) for name, own in columns.items()
        }
        self._loggers: list[Any] = []
        self._run_dir = run_dir
        self._reopen_at = math.inf
        self._events: Any = None
        if tensorboard:
            self._loggers.append(self._tensorboard())
        if wandb_config is not None:
            from torchrl.record.loggers.wandb import WandbLogger

            self._loggers.append(WandbLogger(exp_name=run_dir.name, project="fastsac", config=wandb_config))

    def metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of metrics.csv, one per member, and their scalars; for errors see `_write`."""
        self._write(self._files["metrics.csv"], "train", rows)

    def evaluation(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of eval.csv, one per member, and their scalars; for errors see `_write`."""
        self._write(self._files["eval.csv"], "eval", rows)

    def _write(self, sink: CsvSink, group: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write what can be written.

        Raises:
            OSError: some could not; rows of the CSV file follow with the next call, scalars are lost.
        """
        failed: OSError | None = None
        for row in rows:
            try:
                sink.write(row)
            except OSError as error:
                failed = error
        try:
            if time.monotonic() >= self._reopen_at:
                self._reopen_at = math.inf
                self._loggers.append(self._tensorboard())
            self._scalars(group, rows)
        except OSError as error:
            failed = error
        if failed is not None:
            raise failed

    def _tensorboard(self) -> Any:
        """A writer of event files, each in a file of its own."""
        from torchrl.record.loggers.tensorboard import TensorboardLogger

        self._events = TensorboardLogger(exp_name="tensorboard", log_dir=str(self._run_dir))
        return self._events

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
                try:
                    logger.log_scalar(name, value, step=step)
                except OSError:  # TensorBoard's writer has ended
                    self._loggers.remove(logger)
                    self._reopen_at = time.monotonic() + REOPEN_AFTER_S
                    raise

    @property
    def notes(self) -> list[str]:
        """Lines to tell the user: of tables that were damaged."""
        return [file.note for file in self._files.values() if file.note]

    def flush(self) -> None:
        """Write the rows that wait for room on the disk.

        Raises:
            OSError: they cannot be written now.
        """
        for file in self._files.values():
            file.flush()

    def are_there(self) -> bool:
        """Whether a table still lies where it was written."""
        return any(file.is_there() for file in self._files.values())

    def restore(self) -> list[str]:
        """Write tables anew that are gone, and event files from now on; returns the names of those tables.

        Raises:
            OSError: they cannot be written.
        """
        gone = [name for name, file in self._files.items() if not file.is_there()]
        for name in gone:
            self._files[name].restore()
        if self._events in self._loggers and not (self._run_dir / "tensorboard").is_dir():
            self._loggers.remove(self._events)
            self._close_logger(self._events)
            self._reopen_at = 0.0  # with the next row
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
        for logger in self._loggers:
            self._close_logger(logger)

    def _close_logger(self, logger: Any) -> None:
        experiment = getattr(logger, "experiment", None)
        finish = getattr(experiment, "close", None) or getattr(experiment, "finish", None)
        if finish:
            with suppress(OSError):
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
