"""A policy alone in a small folder: enough to load, evaluate, play and export it, not to train on.

    config.json    settings of the member as of a run of its own
    policy.npz     float32 arrays by name: parameters and statistics of the network that acts, and obs_mean and obs_rstd
                   where observations are normalised
    eval.csv       the evaluations of its run, if there were any
    resumed.json   how its run was continued, if it was
    policy.json    the task, the card, and the SHA-256 of policy.npz; written last

Reading it runs no code.
"""

import io
import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastsac.checkpoint import DamagedError, sha256
from fastsac.config.kinds import conform, read_json
from fastsac.config.settings import Config
from fastsac.config.stored import read_text
from fastsac.disk.files import write_file
from fastsac.nn.vectors import Params, Shapes
from fastsac.run.task_record import TaskRecord

FORMAT = 1  # of names and layouts; other versions are not read
ABOUT, NUMBERS = "policy.json", "policy.npz"


@dataclass(frozen=True)
class Evaluated:
    """Episodes with the policy, by its best actions, in environments of the run's evaluations."""

    episodes: int
    seed: int
    return_mean: float
    return_std: float
    return_min: float
    return_max: float
    length_mean: float
    success_rate: float | None  # None where the environment does not tell


@dataclass(frozen=True)
class Card:
    """What is told of a policy; None for what is not known."""

    command: str  # trains it again
    env_steps: int  # that it had been trained for
    checkpoint: str  # last, or best: that of the best evaluation until the end
    num_members: int  # that were trained side by side
    device: str | None
    versions: dict[str, str]  # of the packages that the run was made with
    git_commit: str | None
    evaluation: Evaluated | None


@dataclass(frozen=True)
class About:
    """What policy.json holds."""

    format: int
    sha256: str
    task: TaskRecord
    card: Card


def is_policy_dir(folder: Path) -> bool:
    """Whether a folder holds a policy alone."""
    return (folder / ABOUT).is_file()


def read_about(folder: Path) -> About:
    """What policy.json holds; a DamagedError where that is not what was written, a ValueError for another version."""
    source = folder / ABOUT
    try:
        values = conform(ABOUT, read_json(read_text(source)), dict[str, Any])
        version = values.get("format")
        if version == FORMAT:
            about: About = conform(ABOUT, values, About)
            about.task.check(ABOUT)
            return about
    except ValueError as error:
        raise DamagedError(f"{source} is damaged: {error}") from error
    raise ValueError(f"{source} has format {version}, this version reads {FORMAT}. Use the fastsac that wrote it.")


def read_numbers(folder: Path, sha256_of_file: str) -> Params:
    """The arrays of policy.npz by name; raises DamagedError where they are not what was written."""
    path = folder / NUMBERS
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path} is damaged: it cannot be read ({error.strerror}).") from error
    if sha256(data) != sha256_of_file:
        raise DamagedError(f"{path} is damaged: it is not what was written.")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays.files}
    except (ValueError, TypeError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DamagedError(f"{path} is damaged: it holds no plain arrays ({type(error).__name__}).") from error


def check_shapes(folder: Path, numbers: Params, shapes: Shapes) -> None:
    """Raise a ValueError where the arrays are not those of a network of these shapes."""
    found = {name: tuple(value.shape) for name, value in numbers.items()}
    if found != shapes:
        raise ValueError(f"{folder / NUMBERS} is not of the network in {folder / 'config.json'}. Extract it again.")


def write(folder: Path, config: Config, task: TaskRecord, numbers: Params, card: Card) -> None:
    """Write a policy into a folder that is there; policy.json comes last, and makes it one.

    Args:
        folder: where.
        config: the settings of the member alone.
        task: that it was trained in.
        numbers: what it acts by, by name.
        card: what to tell of it.
    """
    arrays: dict[str, Any] = {name: value.numpy() for name, value in numbers.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # of numbers, without pickle
    about = About(FORMAT, sha256(buffer.getvalue()), task, card)
    write_file(folder / "config.json", config.of_no_call().to_json().encode())
    write_file(folder / NUMBERS, buffer.getvalue())
    write_file(folder / ABOUT, (json.dumps(asdict(about), indent=1) + "\n").encode())
