"""Checkpoints as bytes on disk: reading, writing, and the thread that writes.  Knows no learner."""

from fastsac.checkpoint.reader import (
    FORMAT,
    DamagedError,
    Found,
    check_files,
    checkpoint_dirs,
    find,
    load,
    load_meta,
    meta_sha256,
    read,
    read_meta,
    replay_dir,
    segment_path,
    serial,
    sha256,
)

__all__ = [
    "FORMAT", "DamagedError", "Found", "check_files", "checkpoint_dirs", "find", "load", "load_meta", "meta_sha256",
    "read", "read_meta", "replay_dir", "segment_path", "serial", "sha256",
]  # fmt: skip
