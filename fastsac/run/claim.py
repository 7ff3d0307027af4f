"""Which folder a run writes to: a new one, its own, or one to go on in; held by this process from then on."""

import itertools
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fastsac import checkpoint
from fastsac.config.settings import Config
from fastsac.run.result import read_summary
from fastsac.run.run_dir import InUseError, RunDir, last_steps
from fastsac.run.run_state import before_first_checkpoint
from fastsac.runtime.world import World


def claim(config: Config) -> tuple[RunDir, bool]:
    """The folder to write to, held by this process, and whether to go on from a checkpoint in it.

    Raises:
        ValueError: another process has it, it holds something else, or settings exclude each other.
    """
    if config.resume not in (None, "auto"):
        if config.run_dir is not None and Path(config.run_dir) != Path(config.resume):
            raise ValueError("resume and run_dir exclude each other: a run continues in its own folder.")
        return _held(Path(config.resume), config.wait_for_lock, _check_resumable), True
    if config.run_dir is None:
        if config.resume == "auto":
            raise ValueError("resume auto needs run_dir, the folder that every start of the run uses. Give --run-dir.")
        return _new_one(config), False
    path = Path(config.run_dir)
    place = _held(path, config.wait_for_lock, _check_auto if config.resume == "auto" else _check_free)
    return place, bool(checkpoint.checkpoint_dirs(path))


def of_restart(config: Config, world: World) -> Config:
    """The settings as given; where torchrun has started the run again, those with which it goes on by itself.

    Raises:
        ValueError: restarts were asked for, and the run has no folder by which it would be found again.
    """
    if world.max_restarts and config.run_dir is None and config.resume is None:
        raise ValueError("--max-restarts needs a run directory that a restart finds again. Give --run-dir.")
    if world.restarts == 0 or config.resume == "auto":
        return config
    return config.replace(resume="auto", run_dir=config.run_dir or config.resume)


def claim_together(config: Config, world: World) -> tuple[RunDir, bool]:
    """As `claim`, by rank 0, which holds the folder for all.

    Raises:
        ValueError: as `claim`.
    """
    found = world.agreed(lambda: claim(config) if world.is_first else None)
    path, is_resumed = world.tell(None if found is None else (found[0].path, found[1])) or (Path(), False)
    return (RunDir(path) if found is None else found[0]), is_resumed


def _held(path: Path, wait_s: float, check: Callable[[RunDir], None]) -> RunDir:
    """The folder, held; checked before anything is written to it, and again when nobody else writes there."""
    place = RunDir(path)
    try:
        if not place.is_run():
            check(place)
    except OSError as error:
        raise ValueError(f"run_dir {path} cannot be looked at ({error.strerror}).") from None
    place.acquire(wait_s)
    try:
        check(place)
    except BaseException:
        place.release()
        raise
    return place


def _new_one(config: Config) -> RunDir:
    """A folder of its own below runs/."""
    name = f"{config.task.replace('/', '-')}-s{config.seed_list[0]}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count(1):
        place = RunDir(Path("runs") / (name if number == 1 else f"{name}-{number}"))
        if not place.path.exists():
            with suppress(InUseError):  # another process was quicker
                place.acquire()
                return place
    raise AssertionError("there is always another number")


def settings_before(config: Config) -> Config | None:
    """The settings that the run which goes on has had; None where there are none that can be read."""
    folder = folder_before(config)
    if folder is not None:
        with suppress(ValueError):
            return Config.load(folder)
    return None


def folder_before(config: Config) -> Path | None:
    """Where the run is that goes on, if there is one; None of a new run."""
    folder = config.run_dir if config.resume == "auto" else config.resume
    return None if config.resume is None or folder is None else Path(folder)


def _check_free(place: RunDir) -> None:
    if place.is_free:
        return
    _check_has_begun(place)
    raise ValueError(
        f"run_dir {place.path} exists and is not empty. Give another one, or --resume {place.path} to continue."
    )


def _check_resumable(place: RunDir) -> None:
    """Refuse what is no run; what is wrong with a run is told by who reads its checkpoints."""
    _check_has_begun(place)
    if not place.is_run():
        checkpoint.find(place.path, with_replay=False)
        raise ValueError(f"{place.path} is not a run directory: it has no config.json that this version reads.")


def _check_has_begun(place: RunDir) -> None:
    """Refuse a run of ours that ended before its first checkpoint, which nothing but a new start leads out of."""
    is_ours = place.is_marked and (place.path / "config.json").is_file()
    if is_ours and not checkpoint.checkpoint_dirs(place.path) and not worth_keeping(place.path):
        about = before_first_checkpoint(place.path)
        raise ValueError(f"run_dir {place.path} has no checkpoint: {about} Or give another --run-dir.")


def _check_auto(place: RunDir) -> None:
    """Refuse what is neither free nor a run of ours that has a checkpoint or nothing worth keeping."""
    if place.is_free:
        return
    if not place.is_run():
        _check_free(place)
    if not checkpoint.checkpoint_dirs(place.path) and (lost := worth_keeping(place.path)):
        raise ValueError(
            f"run_dir {place.path} holds {lost}, and no checkpoint of it. Bring its folder checkpoints back, or give "
            "another --run-dir."
        )


def worth_keeping(path: Path) -> str | None:
    """What a run without checkpoints has come to, in words; None if it was only started.

    A run that was ended before, or while, its first checkpoint was written had no chance: it starts again.
    """
    summary, reached = read_summary(path), last_steps(path / "metrics.csv")
    if summary and summary.get("stopped_by") != "error":
        return f"a run that ended at {summary.get('env_steps')} steps"
    if reached == 0:
        return None
    try:
        every = Config.load(path).checkpoint_every
    except ValueError:
        return f"a run that came to {reached:,} steps, with a config.json that cannot be read"
    return f"a run that came to {reached:,} steps" if every == 0 or reached > 2 * every else None
