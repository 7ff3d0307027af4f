"""Files that are whole or not there: written beside their place, flushed to disk, then renamed; and reading them."""

import errno
import os
from contextlib import suppress
from pathlib import Path


def read_file(path: Path) -> bytes:
    """The content of a regular file; an OSError for anything else: a pipe would be waited for without end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return path.read_bytes()


def write_file(path: Path, content: bytes) -> None:
    """Write or replace a file; whoever reads it, at any time and after any crash, finds the old one or the new one."""
    partial = path.with_name(f"{path.name}.tmp")
    try:
        with partial.open("wb") as f:
            f.write(content)
            f.flush()
            os.fsync(f.fileno())
        os.replace(partial, path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise
    sync_dir(path.parent)


def folder_bytes(folder: Path) -> int:
    """Of all files that lie in a folder, without those in folders within it."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def sync_dir(path: Path) -> None:
    """Flush the names in a folder to disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
