"""Checkpoints as they lie on disk, and reading them: the newest whole one, checked to the last bit before use.

    checkpoints/000007_step_000000012000/    the seventh that was written
        meta.json      counters, sizes, settings; names, sizes and SHA-256 of all other parts, and its own
        learner.pt     parameters, moments, counters, normaliser, copies of the policy, the replay's cursor
    checkpoints/replay/rows_FIRST_LAST_HASH.pt
        rows [FIRST, LAST) of the replay, counted since its start; what two files hold both is right in the later one

Writing is `fastsac.checkpoint.writer`'s.  Loading runs no code (`weights_only`).
"""

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastsac.config.kinds import conform

FORMAT = 5  # of names and layouts; other versions are not read
META, LEARNER = "meta.json", "learner.pt"
NAME = re.compile(r"(?:(\d{6,})_)?step_\d{12,}")  # of a checkpoint; formats before 3 had no number
ROWS = re.compile(r"rows_\d{12,}_\d{12,}_[0-9a-f]{16}\.pt")  # names of files with rows of the replay

Tree = dict[str, Any]
"""Tensors by name, in dictionaries within dictionaries."""
Meta = dict[str, Any]
"""JSON values: those of `Parts`, and whatever else the run wants to find again."""


@dataclass(frozen=True)
class File:
    """A file as it was written."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Segment(File):
    """A file with rows [first, last) of the replay."""

    file: str
    first: int
    last: int


@dataclass(frozen=True)
class ReplayFiles:
    """The files of the rows [first, last) of a replay, in order."""

    span: list[int]
    segments: list[Segment]


@dataclass(frozen=True)
class Parts:
    """The files of a checkpoint; its name is that of the folder."""

    name: str
    learner: File
    replay: ReplayFiles | None

    @classmethod
    def of(cls, meta: Meta) -> "Parts":
        """Those that a meta.json names; a ValueError where it does not."""
        parts: Parts = conform(META, meta, cls)
        return parts

    @property
    def row_files(self) -> set[str]:
        """Names of the files with rows of the replay."""
        return set() if self.replay is None else {segment.file for segment in self.replay.segments}


class DamagedError(ValueError):
    """Files of a checkpoint are missing, or not what was written."""


@dataclass(frozen=True)
class Found:
    """A checkpoint that can be read."""

    folder: Path
    meta: Meta
    note: str  # a line to tell the user, where newer ones were passed over; else empty
    with_replay: bool = True  # whether the rows of its replay may be read


def checkpoint_dirs(run_dir: Path) -> list[Path]:
    """Checkpoints of a run in the order in which they were written; all of them have been complete at some time."""
    found = [p for p in (run_dir / "checkpoints").glob("*step_*") if NAME.fullmatch(p.name) and p.is_dir()]
    return sorted(found, key=lambda p: (serial(p), p.name))


def serial(folder: Path) -> int:
    """How many checkpoints of the run had been written with this one."""
    match = NAME.fullmatch(folder.name)
    return int(match[1] or 0) if match else 0


def replay_dir(run_dir: Path) -> Path:
    """Where the rows of the replay are."""
    return run_dir / "checkpoints" / "replay"


def find(run_dir: Path, with_replay: bool = True, check: Callable[[Meta], object] = bool) -> Found:
    """The newest checkpoint of a run whose files, with the rows of the replay or without, are as they were written.

    Args:
        run_dir: folder of the run.
        with_replay: whether the rows of the replay must be whole, too.
        check: raises a ValueError for a meta.json that is not that of a run.

    Raises:
        DamagedError: none is whole.
        ValueError: there is none, or the newest is of another version.
    """
    problems: list[str] = []
    for folder in reversed(checkpoint_dirs(run_dir)):
        try:
            meta = read_meta(folder)
            _check_meta(folder, meta, check)
            check_files(folder, meta, with_replay)
        except DamagedError as error:
            problems.append(str(error))
        else:
            note = f"{problems[0]} Taking {folder.name}, written before." if problems else ""
            return Found(folder, meta, note, with_replay)
    if problems:
        raise DamagedError(problems[0] + (" Those before it are damaged, too." if len(problems) > 1 else ""))
    raise ValueError(f"{run_dir} has no checkpoint. Give a run directory that fastsac train has written to.")


def load_meta(run_dir: Path) -> Meta:
    """The meta of the checkpoint that `find` finds."""
    return find(run_dir).meta


def load(run_dir: Path, with_replay: bool = True) -> tuple[Tree, Meta]:
    """The tensors, on the CPU, and meta of the checkpoint that `find` finds."""
    found = find(run_dir, with_replay)
    return read(found), found.meta


def read_meta(folder: Path) -> Meta:
    """The meta.json of a checkpoint; a DamagedError, or a ValueError where it is of another version."""
    try:
        meta = json.loads((folder / META).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder, f"{META} cannot be read") from error
    if not isinstance(meta, dict) or type(meta.get("format", 1)) is not int:
        raise _damaged(folder, f"{META} holds something else")
    if meta.get("format", 1) != FORMAT:
        raise ValueError(
            f"{folder} has checkpoint format {meta.get('format', 1)}, this version reads {FORMAT}. "
            "Use the version of fastsac that wrote it."
        )
    if meta.pop("sha256", None) != meta_sha256(meta):
        raise _damaged(folder, f"{META} is not what was written")
    try:
        name = Parts.of(meta).name
    except ValueError:
        raise _damaged(folder, f"{META} names no files") from None
    if name != folder.name:
        raise _damaged(folder, f"{META} belongs to {name}")
    return meta


def _check_meta(folder: Path, meta: Meta, check: Callable[[Meta], object]) -> None:
    try:
        check(meta)
    except ValueError as error:
        raise _damaged(folder, f"{META} is not that of a run") from error


def check_files(folder: Path, meta: Meta, with_replay: bool) -> None:
    """Read all files; a DamagedError where they are not what meta.json says."""
    parts = Parts.of(meta)
    _content(folder, folder / LEARNER, parts.learner)
    if with_replay and parts.replay is not None:
        for path, segment in _segments(folder, parts.replay):
            _content(folder, path, segment)


def read(found: Found) -> Tree:
    """The tensors of a checkpoint, on the CPU; the rows of the replay oldest first, unless it was found without."""
    state, replay = read_state(found), Parts.of(found.meta).replay
    if replay is None or not found.with_replay:
        return state
    first, last = replay.span
    rows: dict[str, Tensor] = {}
    for begin, piece in read_rows(found):
        for name, value in piece.items():
            if name not in rows:
                rows[name] = value.new_empty(len(value), last - first, *value.shape[2:])
            mine = rows[name][:, begin - first : begin - first + value.shape[1]]
            if mine.shape != value.shape:
                raise _damaged(found.folder, f"files with rows of the replay have {name} of several shapes")
            mine.copy_(value)
    return {**state, "replay": {**state["replay"], **rows}}


def read_state(found: Found) -> Tree:
    """As `read`, without the rows: of the replay there is the cursor."""
    parts = Parts.of(found.meta)
    state = _tensors(found.folder, found.folder / LEARNER, parts.learner)
    replay = state.pop("replay", {})
    return state if parts.replay is None or not found.with_replay else {**state, "replay": replay}


def read_rows(found: Found) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """The rows of the replay, oldest first and a file at a time, so that all are never held at once.

    Yields:
        The number of the first row, counted since the replay's start, and the rows from there on by name, on the CPU,
        [M, L, N, ...].  Rows that come again are right the second time.

    Raises:
        DamagedError: a file is missing, or not what was written.
    """
    replay = Parts.of(found.meta).replay
    if replay is not None and found.with_replay:
        for path, segment in _segments(found.folder, replay):
            begin = max(replay.span[0], segment.first)
            yield begin, _rows(found.folder, path, segment, begin)


def _rows(folder: Path, path: Path, segment: Segment, begin: int) -> dict[str, Tensor]:
    """The rows of a file from number `begin` on."""
    rows = _tensors(folder, path, segment)
    for value in rows.values():
        if not isinstance(value, Tensor) or value.dim() < 3 or value.shape[1] != segment.last - segment.first:
            raise _damaged(folder, f"{segment.file} holds something else")
    return {name: value[:, begin - segment.first :] for name, value in rows.items()}


def _segments(folder: Path, replay: ReplayFiles) -> list[tuple[Path, Segment]]:
    """The files of the replay, which cover all its rows, and where they are."""
    span = replay.span
    ends = [span[0]] if len(span) == 2 and 0 <= span[0] < span[1] <= span[0] + 2**31 else []
    for segment in replay.segments:
        follows = ends and segment.first <= ends[-1] < segment.last <= span[1]
        if not follows or not ROWS.fullmatch(segment.file):
            raise _damaged(folder, f"{META} names rows that do not follow each other")
        ends.append(segment.last)
    if not ends or ends[-1] != span[1]:
        raise _damaged(folder, f"{META} lacks rows of the replay")
    return [(folder.parent / "replay" / segment.file, segment) for segment in replay.segments]


def _content(folder: Path, path: Path, file: File) -> bytes:
    """A file's bytes, if they are those that were written."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size == file.bytes else b""
    except OSError as error:
        raise _damaged(folder, f"{path.name} cannot be read ({error.strerror})") from error
    if size != file.bytes:
        raise _damaged(folder, f"{path.name} has {size} bytes instead of {file.bytes}")
    if sha256(data) != file.sha256:
        raise _damaged(folder, f"{path.name} is not what was written")
    return data


def sha256(data: bytes) -> str:
    """In hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def meta_sha256(meta: Meta) -> str:
    """Checksum of what meta.json holds beside it."""
    return sha256(json.dumps(meta, sort_keys=True).encode())


def _tensors(folder: Path, path: Path, file: File) -> Tree:
    data = _content(folder, path, file)
    try:
        tree = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for hostile files
        raise _damaged(folder, f"{path.name} holds no plain tensors ({type(error).__name__})") from error
    if not isinstance(tree, dict):
        raise _damaged(folder, f"{path.name} holds something else")
    return tree


def _damaged(folder: Path, what: str) -> DamagedError:
    return DamagedError(f"checkpoint {folder} is damaged: {what}.")
