"""The loggers of others that a run can write to: TensorBoard's event files, and Weights & Biases.

Both get the scalars of `fastsac.report.scalars` over environment steps, and the settings of the run.
"""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastsac.config.settings import Config
from fastsac.film.film import thumbnails
from fastsac.report.scalars import FINAL, Scalars

FILM = "eval/film"  # the tag of films
REOPEN_AFTER_S = 60.0  # where TensorBoard's writer met a full disk, of which its thread prints a page


@contextmanager
def keeping_start_method() -> Iterator[None]:
    """Leave it to the user's script how it starts processes: torchrl, when imported, sets "spawn" for all."""
    method = multiprocessing.get_start_method(allow_none=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method(method, force=True)


class EventFiles:
    """TensorBoard's event files, in `tensorboard/`.  A writer ends with its first error; later another one begins.

    Each file has the settings as the text "config" and as hyper-parameters.

    Args:
        run_dir: where the folder goes.
        config: the settings.
        goes_on_at: env steps from which on earlier files hold what a resumed run does again, which is not to be shown.
    """

    def __init__(self, run_dir: Path, config: Config, goes_on_at: int | None = None) -> None:
        self._run_dir, self._config, self._reopen_at = run_dir, config, 0.0
        self._open(goes_on_at)

    def _open(self, goes_on_at: int | None = None) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from torch.utils.tensorboard.summary import hparams

        with keeping_start_method():
            from torchrl.record.loggers.tensorboard import TensorboardLogger

        self._writer: Any = TensorboardLogger(exp_name="tensorboard", log_dir=str(self._run_dir))
        if goes_on_at is not None:  # as SummaryWriter(purge_step=...) does, which torchrl does not take
            began = Event(session_log=SessionLog(status=SessionLog.START))
            self._writer.experiment.file_writer.add_event(began, goes_on_at)
        self._writer.experiment.add_text("config", f"```json\n{self._config.to_json()}```")
        for summary in hparams(hyper_parameters(self._config), dict.fromkeys(FINAL)):
            self._writer.experiment.file_writer.add_summary(summary)

    def log(self, scalars: Scalars, step: int) -> None:
        """Write scalars; after an OSError none for a while."""
        if self._writer is None and time.monotonic() < self._reopen_at:
            return
        try:
            if self._writer is None:
                self._open()
            for tag, value in scalars.items():
                self._writer.log_scalar(tag, value, step=step)
        except OSError:
            self._writer, self._reopen_at = None, time.monotonic() + REOPEN_AFTER_S
            raise

    def film(self, path: Path, step: int) -> None:
        """Write a film as a small moving picture, which is what TensorBoard can show."""
        if self._writer is None:
            return
        from tensorboard.compat.proto.summary_pb2 import Summary

        content, (width, height) = thumbnails(path)
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=content)
        summary = Summary(value=[Summary.Value(tag=FILM, image=image)])
        self._writer.experiment.file_writer.add_summary(summary, step)

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


class WandbRun:
    """A run of Weights & Biases, under the names that the settings give it."""

    def __init__(self, run_dir: Path, config: Config) -> None:
        with keeping_start_method():
            from torchrl.record.loggers.wandb import WandbLogger

        self._logger: Any = WandbLogger(
            exp_name=config.wandb_name or run_dir.name,
            project=config.wandb_project,
            entity=config.wandb_entity,
            group=config.wandb_group,
            tags=list(config.wandb_tags),
            config=asdict(config),
        )

    def log(self, scalars: Scalars, step: int) -> None:
        """Send scalars."""
        for tag, value in scalars.items():
            self._logger.log_scalar(tag, value, step=step)

    def film(self, path: Path, step: int) -> None:
        """Send a film as it is."""
        from wandb import Video

        self._logger.log_scalar(FILM, Video(str(path), format="mp4"), step=step)

    def close(self) -> None:
        """Tell the service that the run is over."""
        self._logger.experiment.finish()


def hyper_parameters(config: Config) -> dict[str, int | float | str]:
    """The settings that affect learning, and the seed; of a swept one the values of all members, as text."""
    values = {name: getattr(config, name) for name in (*Config.names(affects="learning"), "seed", "seeds")}
    for name in config.member_setting(0):
        values[name] = ", ".join(dict.fromkeys(f"{setting[name]:g}" for setting in config.settings))
    return {name: value if isinstance(value, int | float | str) else str(value) for name, value in values.items()}
