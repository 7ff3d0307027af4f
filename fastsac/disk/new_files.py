"""Files that users name: whether one can be written is told before any work, and a failure in one line."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from fastsac.disk.files import write_file


def check_ending(name: str, path: Path, endings: Sequence[str]) -> None:
    """Raise a ValueError where the path of that name has none of these endings."""
    if path.suffix.lower() not in endings:
        raise ValueError(f"{name} must end in {' or '.join(endings)}, got {path}.")


def check_place(path: Path, overwrite: bool | None = None) -> None:
    """Raise a ValueError where a file cannot be written.

    Args:
        path: of the file.
        overwrite: whether one that is there may be written over; None where there is no such choice.
    """
    try:
        if path.is_dir() or (path.exists() and not overwrite):
            choice = "" if overwrite is None or path.is_dir() else ", or overwrite it (--overwrite)"
            raise ValueError(f"{path} exists. Give another path{choice}.")
        if not path.absolute().parent.is_dir():
            raise ValueError(f"{path.parent} is not a folder. Make it, or give another path.")
        check_writable(path.absolute().parent)
    except OSError as error:
        raise ValueError(f"{path} cannot be written ({error.strerror}). Give another path.") from None


def check_writable(folder: Path) -> None:
    """Make a file there, or raise an OSError: root may all and a file system may be read-only, so modes do not tell."""
    with tempfile.TemporaryFile(dir=folder):
        pass


def write_new(path: Path, content: bytes) -> None:
    """As `write_file`, where `check_place` has let it pass; a ValueError, and no file, where it fails all the same."""
    try:
        write_file(path, content)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}.") from error
