"""Files that are whole or not there: written beside their place, flushed to disk, then renamed."""

import os
from pathlib import Path


def write_file(path: Path, content: bytes) -> None:
    """Write or replace a file; whoever reads it, at any time and after any crash, finds the old one or the new one."""
    partial = path.with_name(f"{path.name}.tmp")
    with partial.open("wb") as f:
        f.write(content)
        f.flush()
        os.fsync(f.fileno())
    os.replace(partial, path)
    sync_dir(path.parent)


def sync_dir(path: Path) -> None:
    """Flush the names in a folder to disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
