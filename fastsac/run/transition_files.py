"""Files of transitions, with the names of Minari or D4RL for their arrays: .npz, HDF5, and data sets of Minari.

Reads arrays as they are.
"""

import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from fastsac.acting.recording import Recording
from fastsac.config.kinds import shown
from fastsac.disk.new_files import check_ending, check_place, write_new
from fastsac.env import AnyArray
from fastsac.runtime.versions import is_installed

NAMES = ("observations", "actions", "rewards", "terminations", "truncations")
NEXT = "next_observations"  # may be left out
OTHER_NAMES = {"terminals": "terminations", "timeouts": "truncations"}  # of D4RL
HDF5 = (".hdf5", ".h5")
MINARI = "minari:"
Opened = AbstractContextManager[Mapping[str, Any]]
Arrays = dict[str, Any]
"""By name; an observation of several parts is a dictionary of arrays."""


def read_transitions(name: str) -> Arrays:
    """The arrays of a file or data set, among them NAMES.

    Raises:
        ValueError: it cannot be read, or lacks one of them.
    """
    if name.startswith(MINARI):
        return _read_minari(name.removeprefix(MINARI))
    path = Path(name)
    openers = {".npz": _open_npz, **dict.fromkeys(HDF5, _open_hdf5)}
    if path.suffix.lower() not in openers:
        raise ValueError(f"must end in {', '.join(openers)}, or be {MINARI}ID, got {shown(name)}.")
    try:
        with openers[path.suffix.lower()](path) as file:
            names = {OTHER_NAMES.get(key, key): key for key in file}
            if missing := [each for each in NAMES if each not in names]:
                has = f"its arrays are {shown(', '.join(file))[1:-1]}" if len(file) else "it has no array"
                raise ValueError(f"lacks {', '.join(missing)}; {has}.")
            return {each: _array(file, names[each]) for each in (*NAMES, NEXT) if each in names}
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}.") from error
    except (EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"is damaged: {error}. Write or copy it again.") from error


def _array(file: Mapping[str, Any], name: str) -> AnyArray:
    """One of a file; a ValueError where it holds anything but numbers, which would take running its code."""
    try:
        value = file[name]
    except ValueError as error:
        raise ValueError(f"{name} must be an array of numbers; numpy says: {error}.") from error
    if isinstance(value, Mapping):  # a group of HDF5
        raise ValueError(f"{name} must be an array, got a group of {', '.join(value) or 'nothing'}.")
    return np.asarray(value)


def _open_npz(path: Path) -> Opened:
    with path.open("rb") as file:
        begins_well = file.read(2) == b"PK"
        if not zipfile.is_zipfile(file):
            end = "is damaged: its end is missing. Write or copy it again."
            raise ValueError(end if begins_well else "is no .npz: write it by numpy.savez.")
    opened: Opened = np.load(path)
    return opened


def _open_hdf5(path: Path) -> Opened:
    if not is_installed("h5py"):
        raise ValueError("is HDF5, which needs h5py. Run pip install h5py, or give a .npz.")
    import h5py

    opened: Opened = h5py.File(path, "r")
    return opened


def _read_minari(dataset_id: str) -> Arrays:
    """The episodes of a data set that is on this machine, one after the other."""
    if not is_installed("minari"):
        raise ValueError("is a data set of Minari, which is not installed. Run pip install minari.")
    import minari

    try:
        episodes = [*minari.load_dataset(dataset_id)]
    except FileNotFoundError as error:
        raise ValueError(f"is not on this machine. Run minari download {dataset_id}.") from error
    if not episodes:
        raise ValueError("has no episode.")
    observations = [episode.observations for episode in episodes]
    return {
        "observations": _concatenated([_mapped(lambda a: a[:-1], each) for each in observations]),
        NEXT: _concatenated([_mapped(lambda a: a[1:], each) for each in observations]),
        **{name: np.concatenate([getattr(each, name) for each in episodes]) for name in NAMES[1:]},
    }


def _mapped(function: Callable[[AnyArray], AnyArray], tree: Any) -> Any:
    """A function of each array of an observation."""
    if isinstance(tree, Mapping):
        return {name: _mapped(function, value) for name, value in tree.items()}
    return function(np.asarray(tree))


def _concatenated(trees: list[Any]) -> Any:
    if isinstance(trees[0], Mapping):
        return {name: _concatenated([tree[name] for tree in trees]) for name in trees[0]}
    return np.concatenate(trees)


def write_recording(path: Path, recording: Recording, actions: AnyArray) -> None:
    """Write a .npz of NAMES and NEXT, with actions [K, ...] in the task's own units; raises as `write_new`."""
    columns: tuple[Any, ...] = (recording.obs, actions, *recording[2:6])
    arrays: Arrays = dict(zip((*NAMES, NEXT), columns, strict=True))
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_new(path, content.getvalue())


def check_free(path: Path) -> None:
    """Raise a ValueError where `write_recording` could not write a new file."""
    check_ending("file", path, [".npz"])
    check_place(path)
