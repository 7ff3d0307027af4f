"""Writing checkpoints: beside their place, flushed, then renamed, so that the newest is whole whenever a run ends.

Only rows that the replay took in since the checkpoint before are written; the rest of them is on disk already, which
each checkpoint makes sure of: by size for all files, by content for some of them in turn.  The row before the last head
is written again, because a resumed run marks it as truncated.
"""

import errno
import io
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastsac.checkpoint.reader import (
    FORMAT,
    LEARNER,
    META,
    Found,
    checkpoint_dirs,
    is_checkpoint,
    is_rows,
    meta_sha256,
    read_meta,
    replay_dir,
    serial,
    sha256,
)
from fastsac.disk.files import sync_dir, write_file

PIECE = 64 << 20  # bytes of rows in one file, at most
MERGE = 8 << 20  # bytes up to which small files are merged into one
VERIFY = 64 << 20  # bytes of older files that each checkpoint reads again, about


@dataclass(frozen=True)
class Rows:
    """Rows of a replay that a checkpoint is to hold.

    Attributes:
        span: [first, last), counted since the replay's start.
        row_bytes: of one row.
        read: copies of rows [first, last), by name.
    """

    span: tuple[int, int]
    row_bytes: int
    read: Callable[[int, int], dict[str, Tensor]]

    @classmethod
    def of(cls, rows: dict[str, Tensor], first: int) -> "Rows":
        """Rows at hand, [M, L, ...], the first of which is row `first`."""
        length = next(iter(rows.values())).shape[1]
        size = sum(value.nbytes for value in rows.values()) // length
        read = lambda a, b: {name: value[:, a - first : b - first] for name, value in rows.items()}  # noqa: E731
        return cls((first, first + length), size, read)


@dataclass(frozen=True)
class Division:
    """How the rows of a replay come to be on disk.

    Attributes:
        parts: in order, files that go on to serve, and ranges [first, last) that are to be written.
        lost: files that should serve, and are gone or damaged.
    """

    parts: tuple[dict[str, Any] | tuple[int, int], ...]
    lost: tuple[str, ...]

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """What is to be written, one range for each file."""
        return [part for part in self.parts if isinstance(part, tuple)]


class Writer:
    """Writes the checkpoints of one run, one after the other, and removes those that are no longer kept.

    Args:
        run_dir: the run's folder.
        keep: how many checkpoints stay.
        found: the checkpoint that the run continues from.  Newer ones are damaged, and go when the next is written.
        is_ours: whether the folder still is the run's; else nothing is written to it or removed.
    """

    def __init__(
        self, run_dir: Path, keep: int = 2, found: Found | None = None, is_ours: Callable[[], bool] = lambda: True
    ) -> None:
        self.run_dir, self.keep, self._is_ours = run_dir, keep, is_ours
        self._kept: dict[str, set[str]] = {}  # the checkpoints that count, oldest first, with the rows they need
        self._segments: list[dict[str, Any]] = []
        self._verified: set[str] = set()  # files of rows whose content was looked at, since all were
        self._damaged: set[str] = set()
        dirs = checkpoint_dirs(run_dir)
        self._serial = max(map(serial, dirs), default=0)
        if found is not None:
            for folder in dirs[: [p.name for p in dirs].index(found.folder.name)]:
                self._keep_older(folder)
            self._kept[found.folder.name] = _files(found.meta)
            if found.with_replay and found.meta["replay"] is not None:
                self._segments = found.meta["replay"]["segments"]

    def _keep_older(self, folder: Path) -> None:
        try:
            self._kept[folder.name] = _files(read_meta(folder))
        except ValueError:  # damaged: of no use
            return

    def write(
        self,
        env_steps: int,
        state: dict[str, Any],
        meta: dict[str, Any],
        rows: Rows | None,
        division: Division | None = None,
    ) -> Path:
        """Write a checkpoint; one that fails leaves nothing behind that would take room from the next.

        Args:
            env_steps: becomes part of its name.
            state: tensors, with the replay's cursor under "replay" where there are rows.
            meta: JSON values.
            rows: of the replay; None leaves it out.
            division: what `divide` said of these rows, if it was asked already.

        Returns:
            Its folder.
        """
        try:
            return self._write(env_steps, state, meta, rows, division)
        except Exception:
            with suppress(OSError):
                self._remove_others()
            raise

    def _write(
        self,
        env_steps: int,
        state: dict[str, Any],
        meta: dict[str, Any],
        rows: Rows | None,
        division: Division | None,
    ) -> Path:
        self._check_ours()
        folder = self.run_dir / "checkpoints"
        if not folder.exists():
            folder.mkdir()
            sync_dir(self.run_dir)
        segments: list[dict[str, Any]] = []
        if rows is not None:
            replay_dir(self.run_dir).mkdir(exist_ok=True)
            parts = (division or self.divide(rows)).parts
            segments = [self._write_rows(rows, *part) if isinstance(part, tuple) else part for part in parts]
        name = f"{self._serial + 1:06d}_step_{env_steps:012d}"
        learner = dump(state)
        meta = {
            **meta,
            "format": FORMAT,
            "name": name,
            "files": {LEARNER: _entry(learner)},
            "replay": None if rows is None else {"span": list(rows.span), "segments": segments},
        }
        partial = folder / f"{name}.tmp"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        write_file(partial / LEARNER, learner)
        text = json.dumps({**meta, "sha256": meta_sha256(meta)}, indent=1)
        write_file(partial / META, text.encode())
        os.replace(partial, folder / name)
        sync_dir(folder)
        self._serial += 1
        self._kept[name] = _files(meta)
        self._segments = segments
        self._remove_others()
        self._verify()
        return folder / name

    def _check_ours(self) -> None:
        if not self._is_ours():
            raise FileNotFoundError(errno.ENOENT, "the run directory is not this run's any more")

    @property
    def has_damage(self) -> bool:
        """Whether files that the newest checkpoint needs were found damaged after it was written."""
        return any(segment["file"] in self._damaged for segment in self._segments)

    def divide(self, rows: Rows) -> Division:
        """Which files of rows go on to serve, and what is to be written; looks whether the files are there."""
        first, last = rows.span
        old = [segment for segment in self._segments if segment["last"] > first]
        begin = first
        if old:  # nothing where nothing is new: files must follow each other
            begin = last if old[-1]["last"] == last else max(first, old[-1]["last"] - 2)
        while old:  # many small files become a few: a new one takes those in that are no larger
            both = last - max(first, old[-1]["first"])
            if old[-1]["last"] - old[-1]["first"] > last - begin or both * rows.row_bytes > MERGE:
                break
            begin = max(first, old.pop()["first"])
        step = max(3, PIECE // max(1, rows.row_bytes))  # more than the two rows that files have in common

        def pieces(begin: int, end: int) -> list[tuple[int, int]]:
            return [(a, min(a + step, end)) for a in range(begin, end, step)]

        parts: list[dict[str, Any] | tuple[int, int]] = []
        for segment in old:
            parts += [segment] if self._serves(segment) else pieces(max(first, segment["first"]), segment["last"])
        lost = tuple(segment["file"] for segment in self._segments if not self._serves(segment))
        return Division((*parts, *pieces(begin, last)), lost)

    def _serves(self, segment: dict[str, Any]) -> bool:
        """Whether a file of rows is there, of its size, and was not found damaged."""
        try:
            size = (replay_dir(self.run_dir) / segment["file"]).stat().st_size
        except OSError:
            return False
        return size == segment["bytes"] and segment["file"] not in self._damaged

    def _verify(self) -> None:
        """Read some of the files of rows again, in turn; the next checkpoint writes those anew that are damaged."""
        budget = VERIFY
        if all(segment["file"] in self._verified for segment in self._segments):
            self._verified.clear()
        for segment in self._segments:
            if budget <= 0:
                break
            if segment["file"] not in self._verified:
                budget -= segment["bytes"]
                self._verified.add(segment["file"])
                with suppress(OSError):  # it is missed when the next checkpoint looks for it
                    if sha256((replay_dir(self.run_dir) / segment["file"]).read_bytes()) != segment["sha256"]:
                        self._damaged.add(segment["file"])

    def _write_rows(self, rows: Rows, first: int, last: int) -> dict[str, Any]:
        data = dump(rows.read(first, last))
        entry = _entry(data)
        name = f"rows_{first:012d}_{last:012d}_{entry['sha256'][:16]}.pt"
        write_file(replay_dir(self.run_dir) / name, data)
        self._damaged.discard(name)
        self._verified.add(name)
        return {"file": name, "first": first, "last": last, **entry}

    def _remove_others(self) -> None:
        """Remove what is left of older checkpoints, of broken ones and of half-written ones."""
        self._check_ours()
        for name in list(self._kept)[: -self.keep]:
            del self._kept[name]
        folder, needed = self.run_dir / "checkpoints", set[str]().union(*self._kept.values())
        for old in folder.glob("*step_*"):
            name = old.name.removesuffix(".tmp").removesuffix(".old")
            if not is_checkpoint(name) or not old.is_dir() or old.name in self._kept:
                continue  # somebody else's: this program writes no other names
            gone = old if old.suffix == ".tmp" else old.with_name(f"{old.name}.old.tmp")
            if gone != old:
                os.replace(old, gone)  # at once: half a checkpoint is never seen
            shutil.rmtree(gone)
        for file in replay_dir(self.run_dir).glob("rows_*"):
            if is_rows(file.name.removesuffix(".tmp")) and file.name not in needed:
                file.unlink()


def save(run_dir: Path, env_steps: int, state: dict[str, Any], meta: dict[str, Any]) -> Path:
    """Write a whole state, as `checkpoint.load` gives it, as the first checkpoint of a run; see `Writer.write`."""
    rows = None
    if "replay" in state:
        parts = state["replay"]
        held = {name: value for name, value in parts.items() if name.startswith("rows.")}
        cursor = {name: value for name, value in parts.items() if name not in held}
        rows = Rows.of(held, int(cursor["added"]) + 1 - next(iter(held.values())).shape[1])
        state = {**state, "replay": cursor}
    return Writer(run_dir).write(env_steps, state, meta, rows)


def dump(tree: dict[str, Any]) -> bytes:
    """Tensors as bytes that `torch.load` reads."""
    buffer = io.BytesIO()
    torch.save(_to_cpu(tree), buffer)
    return buffer.getvalue()


def _to_cpu(tree: Any) -> Any:
    """The tensors on the CPU; views are copied, since they would drag their whole storage into the file."""
    if isinstance(tree, dict):
        return {k: _to_cpu(v) for k, v in tree.items()}
    value: Tensor = tree.detach()
    if not value.is_contiguous():  # one part after the other: a GPU would make the whole contiguous first
        return torch.stack([part.cpu() for part in value])
    value = value.cpu()
    return value if value.nbytes == value.untyped_storage().nbytes() else value.clone()


def _entry(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": sha256(data)}


def _files(meta: dict[str, Any]) -> set[str]:
    """Names of the files of rows that a checkpoint needs."""
    replay = meta["replay"]
    return set() if replay is None else {segment["file"] for segment in replay["segments"]}
