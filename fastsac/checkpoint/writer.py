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
from torch.utils import _pytree as pytree

from fastsac.checkpoint import reader
from fastsac.checkpoint.reader import File, Found, Meta, Parts, ReplayFiles, Segment, Tree, replay_dir, sha256
from fastsac.disk.files import sync_dir, write_file

PIECE = 64 << 20  # bytes of rows in one file, at most
VERIFY = 64 << 20  # bytes of older files that each checkpoint reads again, about
Span = tuple[int, int]  # [first, last)


@dataclass(frozen=True)
class Rows:
    """Rows of a replay that a checkpoint is to hold, counted since the replay's start."""

    span: Span
    row_bytes: int
    read: Callable[[int, int], dict[str, Tensor]]  # gives copies of rows [first, last), [M, last - first, ...], by name


@dataclass(frozen=True)
class Division:
    """How the rows of a replay come to be on disk."""

    parts: tuple[Segment | Span, ...]  # in order: files that go on to serve, and ranges of rows that are to be written
    lost: tuple[str, ...]  # files that should serve, and are gone or damaged

    @property
    def ranges(self) -> list[Span]:
        """The ranges that are to be written, one for each file."""
        return [part for part in self.parts if isinstance(part, tuple)]


class Writer:
    """Writes the checkpoints of one run, one after the other, and removes those that are no longer kept.

    Args:
        run_dir: where the checkpoints are.
        keep: how many of them stay.
        found: the one that the run continues from.  Newer ones are damaged, and go when the next is written.
        is_ours: whether the folder still is the run's; else nothing is written to it or removed.
    """

    def __init__(
        self, run_dir: Path, keep: int = 2, found: Found | None = None, is_ours: Callable[[], bool] = lambda: True
    ) -> None:
        self._folder, self._replay = run_dir / "checkpoints", replay_dir(run_dir)
        self._keep, self._is_ours = keep, is_ours
        self._kept: dict[str, set[str]] = {}  # the checkpoints that count, oldest first, with the rows they need
        self._segments: list[Segment] = []
        self._verified: set[str] = set()  # files of rows whose content was looked at, since all were
        self._damaged: set[str] = set()
        dirs = reader.checkpoint_dirs(run_dir)
        self._serial = max(map(reader.serial, dirs), default=0)
        if found is not None:
            for folder in dirs[: [p.name for p in dirs].index(found.folder.name)]:
                with suppress(ValueError):  # damaged: of no use
                    self._kept[folder.name] = Parts.of(reader.read_meta(folder)).row_files
            parts = Parts.of(found.meta)
            self._kept[found.folder.name] = parts.row_files
            if found.with_replay and parts.replay is not None:
                self._segments = parts.replay.segments

    def write(
        self, env_steps: int, state: Tree, meta: Meta, rows: Rows | None, division: Division | None = None
    ) -> Path:
        """Write a checkpoint, and return its folder; one that fails leaves nothing that takes room from the next.

        Where there are rows of a replay, `state` has its cursor under "replay", and `division` is what `divide` said of
        them, if it was asked already.
        """
        try:
            self._check_ours()
            if not self._folder.exists():
                self._folder.mkdir()
                sync_dir(self._folder.parent)
            replay = None if rows is None else self._write_replay(rows, division or self.divide(rows))
            name = f"{self._serial + 1:06d}_step_{env_steps:012d}"
            parts = self._write_parts(name, state, meta, replay)
        except Exception:
            with suppress(OSError):
                self._remove_others()
            raise
        self._serial += 1
        self._kept[name] = parts.row_files
        self._segments = [] if replay is None else replay.segments
        self._remove_others()
        self._verify()
        return self._folder / name

    def _write_parts(self, name: str, state: Tree, meta: Meta, replay: ReplayFiles | None) -> Parts:
        learner = dump(state)
        parts = Parts(name, _file_of(learner), replay)
        meta = {**meta, "format": reader.FORMAT, **asdict(parts)}
        meta["sha256"] = reader.meta_sha256(meta)
        partial = self._folder / f"{name}.tmp"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        write_file(partial / reader.LEARNER, learner)
        write_file(partial / reader.META, json.dumps(meta, indent=1).encode())
        os.replace(partial, self._folder / name)
        sync_dir(self._folder)
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
            size = (self._replay / segment.file).stat().st_size
        except OSError:
            return False
        return size == segment.bytes and segment.file not in self._damaged

    def _verify(self) -> None:
        """Read some of the files of rows again, in turn; the next checkpoint writes those anew that are damaged."""
        if all(segment.file in self._verified for segment in self._segments):
            self._verified.clear()
        budget = VERIFY
        for segment in [segment for segment in self._segments if segment.file not in self._verified]:
            if budget <= 0:
                break
            budget -= segment.bytes
            self._verified.add(segment.file)
            with suppress(OSError):  # it is missed when the next checkpoint looks for it
                if sha256((self._replay / segment.file).read_bytes()) != segment.sha256:
                    self._damaged.add(segment.file)

    def _write_replay(self, rows: Rows, division: Division) -> ReplayFiles:
        self._replay.mkdir(exist_ok=True)
        segments = [part if isinstance(part, Segment) else self._write_rows(rows, *part) for part in division.parts]
        return ReplayFiles(list(rows.span), segments)

    def _write_rows(self, rows: Rows, first: int, last: int) -> Segment:
        data = dump(rows.read(first, last))
        file = _file_of(data)
        name = f"rows_{first:012d}_{last:012d}_{file.sha256[:16]}.pt"
        write_file(self._replay / name, data)
        self._damaged.discard(name)
        self._verified.add(name)
        return Segment(file.bytes, file.sha256, name, first, last)

    def _remove_others(self) -> None:
        """Remove what is left of older checkpoints, of broken ones and of half-written ones."""
        self._check_ours()
        for name in list(self._kept)[: -self._keep]:
            del self._kept[name]
        needed = set[str]().union(*self._kept.values())
        for old in self._folder.glob("*step_*"):
            name = old.name.removesuffix(".tmp").removesuffix(".old")
            if not reader.NAME.fullmatch(name) or not old.is_dir() or old.name in self._kept:
                continue  # somebody else's: this program writes no other names
            gone = old if old.suffix == ".tmp" else old.with_name(f"{old.name}.old.tmp")
            if gone != old:
                os.replace(old, gone)  # at once: half a checkpoint is never seen
            shutil.rmtree(gone)
        for file in self._replay.glob("rows_*"):
            if reader.ROWS.fullmatch(file.name.removesuffix(".tmp")) and file.name not in needed:
                file.unlink()


def save(run_dir: Path, env_steps: int, state: Tree, meta: Meta) -> Path:
    """Write a whole state, as `checkpoint.load` gives it, as the first checkpoint of a run; see `Writer.write`."""
    rows = None
    if "replay" in state:
        parts = state["replay"]
        held = {name: value for name, value in parts.items() if name.startswith("rows.")}  # [M, L, ...]
        cursor = {name: value for name, value in parts.items() if name not in held}
        last = int(cursor["added"]) + 1
        length = next(iter(held.values())).shape[1]
        first = last - length
        row_bytes = sum(value.nbytes for value in held.values()) // length
        read = lambda a, b: {name: value[:, a - first : b - first] for name, value in held.items()}  # noqa: E731
        rows = Rows((first, last), row_bytes, read)
        state = {**state, "replay": cursor}
    return Writer(run_dir).write(env_steps, state, meta, rows)


def dump(tree: Tree) -> bytes:
    """Tensors, and plain values among them, as bytes that `torch.load` reads."""
    buffer = io.BytesIO()
    torch.save(pytree.tree_map_only(Tensor, _to_cpu, tree), buffer)
    return buffer.getvalue()


def _to_cpu(value: Tensor) -> Tensor:
    """The tensor on the CPU; a view is copied, since it would drag its whole storage into the file."""
    value = value.detach()
    if not value.is_contiguous():  # one part after the other: a GPU would make the whole contiguous first
        return torch.stack([part.cpu() for part in value])
    value = value.cpu()
    return value if value.nbytes == value.untyped_storage().nbytes() else value.clone()


def _file_of(data: bytes) -> File:
    return File(len(data), sha256(data))
