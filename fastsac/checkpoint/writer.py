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
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from fastsac.checkpoint.reader import (
    FORMAT,
    LEARNER,
    META,
    File,
    Found,
    Meta,
    Parts,
    ReplayFiles,
    Segment,
    Tree,
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
VERIFY = 64 << 20  # bytes of older files that each checkpoint reads again, about
Span = tuple[int, int]  # [first, last)


@dataclass(frozen=True)
class Rows:
    """Rows of a replay that a checkpoint is to hold.

    Attributes:
        span: [first, last), counted since the replay's start.
        row_bytes: of one row.
        read: copies of rows [first, last), by name.
    """

    span: Span
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
        parts: in order, files that go on to serve, and ranges of rows that are to be written.
        lost: files that should serve, and are gone or damaged.
    """

    parts: tuple[Segment | Span, ...]
    lost: tuple[str, ...]

    @property
    def ranges(self) -> list[Span]:
        """The ranges that are to be written, one for each file."""
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
        self._segments: list[Segment] = []
        self._verified: set[str] = set()  # files of rows whose content was looked at, since all were
        self._damaged: set[str] = set()
        dirs = checkpoint_dirs(run_dir)
        self._serial = max(map(serial, dirs), default=0)
        if found is not None:
            for folder in dirs[: [p.name for p in dirs].index(found.folder.name)]:
                with suppress(ValueError):  # damaged: of no use
                    self._kept[folder.name] = Parts.of(read_meta(folder)).row_files
            parts = found.parts
            self._kept[found.folder.name] = parts.row_files
            if found.with_replay and parts.replay is not None:
                self._segments = parts.replay.segments

    def write(
        self, env_steps: int, state: Tree, meta: Meta, rows: Rows | None, division: Division | None = None
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
            self._check_ours()
            folder = self.run_dir / "checkpoints"
            if not folder.exists():
                folder.mkdir()
                sync_dir(self.run_dir)
            replay = None if rows is None else self._write_replay(rows, division or self.divide(rows))
            name = f"{self._serial + 1:06d}_step_{env_steps:012d}"
            parts = self._write_parts(folder, name, state, meta, replay)
        except Exception:
            with suppress(OSError):
                self._remove_others()
            raise
        self._serial += 1
        self._kept[name] = parts.row_files
        self._segments = [] if replay is None else replay.segments
        self._remove_others()
        self._verify()
        return folder / name

    def _write_parts(self, folder: Path, name: str, state: Tree, meta: Meta, replay: ReplayFiles | None) -> Parts:
        learner = dump(state)
        parts = Parts(name, _entry(learner), replay)
        meta = {**meta, "format": FORMAT, **asdict(parts)}
        partial = folder / f"{name}.tmp"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        write_file(partial / LEARNER, learner)
        write_file(partial / META, json.dumps({**meta, "sha256": meta_sha256(meta)}, indent=1).encode())
        os.replace(partial, folder / name)
        sync_dir(folder)
        return parts

    def _check_ours(self) -> None:
        if not self._is_ours():
            raise FileNotFoundError(errno.ENOENT, "the run directory is not this run's any more")

    @property
    def has_damage(self) -> bool:
        """Whether files that the newest checkpoint needs were found damaged after it was written."""
        return any(segment.file in self._damaged for segment in self._segments)

    def divide(self, rows: Rows) -> Division:
        """Which files of rows go on to serve, and what is to be written; looks whether the files are there."""
        first, last = rows.span
        old = [segment for segment in self._segments if segment.last > first]
        begin = first
        if old:  # nothing where nothing is new: files must follow each other
            begin = last if old[-1].last == last else max(first, old[-1].last - 2)
        step = max(3, PIECE // max(1, rows.row_bytes))  # more than the two rows that files have in common

        def pieces(begin: int, end: int) -> list[Span]:
            return [(a, min(a + step, end)) for a in range(begin, end, step)]

        parts: list[Segment | Span] = []
        for segment in old:
            parts += [segment] if self._serves(segment) else pieces(max(first, segment.first), segment.last)
        lost = tuple(segment.file for segment in self._segments if not self._serves(segment))
        return Division((*parts, *pieces(begin, last)), lost)

    def _serves(self, segment: Segment) -> bool:
        """Whether a file of rows is there, of its size, and was not found damaged."""
        try:
            size = (replay_dir(self.run_dir) / segment.file).stat().st_size
        except OSError:
            return False
        return size == segment.bytes and segment.file not in self._damaged

    def _verify(self) -> None:
        """Read some of the files of rows again, in turn; the next checkpoint writes those anew that are damaged."""
        budget = VERIFY
        if all(segment.file in self._verified for segment in self._segments):
            self._verified.clear()
        for segment in self._segments:
            if budget <= 0:
                break
            if segment.file not in self._verified:
                budget -= segment.bytes
                self._verified.add(segment.file)
                with suppress(OSError):  # it is missed when the next checkpoint looks for it
                    if sha256((replay_dir(self.run_dir) / segment.file).read_bytes()) != segment.sha256:
                        self._damaged.add(segment.file)

    def _write_replay(self, rows: Rows, division: Division) -> ReplayFiles:
        replay_dir(self.run_dir).mkdir(exist_ok=True)
        segments = [part if isinstance(part, Segment) else self._write_rows(rows, *part) for part in division.parts]
        return ReplayFiles(list(rows.span), segments)

    def _write_rows(self, rows: Rows, first: int, last: int) -> Segment:
        data = dump(rows.read(first, last))
        file = _entry(data)
        name = f"rows_{first:012d}_{last:012d}_{file.sha256[:16]}.pt"
        write_file(replay_dir(self.run_dir) / name, data)
        self._damaged.discard(name)
        self._verified.add(name)
        return Segment(file.bytes, file.sha256, name, first, last)

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


def save(run_dir: Path, env_steps: int, state: Tree, meta: Meta) -> Path:
    """Write a whole state, as `checkpoint.load` gives it, as the first checkpoint of a run; see `Writer.write`."""
    rows = None
    if "replay" in state:
        parts = state["replay"]
        held = {name: value for name, value in parts.items() if name.startswith("rows.")}
        cursor = {name: value for name, value in parts.items() if name not in held}
        rows = Rows.of(held, int(cursor["added"]) + 1 - next(iter(held.values())).shape[1])
        state = {**state, "replay": cursor}
    return Writer(run_dir).write(env_steps, state, meta, rows)


def dump(tree: Tree) -> bytes:
    """Tensors as bytes that `torch.load` reads."""
    buffer = io.BytesIO()
    torch.save(_to_cpu(tree), buffer)
    return buffer.getvalue()


def _to_cpu(tree: Tree | Tensor) -> Tree | Tensor:
    """The tensors on the CPU; views are copied, since they would drag their whole storage into the file."""
    if isinstance(tree, dict):
        return {k: _to_cpu(v) for k, v in tree.items()}
    value = tree.detach()
    if not value.is_contiguous():  # one part after the other: a GPU would make the whole contiguous first
        return torch.stack([part.cpu() for part in value])
    value = value.cpu()
    return value if value.nbytes == value.untyped_storage().nbytes() else value.clone()


def _entry(data: bytes) -> File:
    return File(len(data), sha256(data))
