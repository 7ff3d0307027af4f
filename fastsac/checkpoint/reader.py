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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FORMAT = 4  # of names and layouts; other versions are not read
META, LEARNER = "meta.json", "learner.pt"
_NAME = re.compile(r"(?:(\d{6,})_)?step_\d{12,}")  # formats before 3 had no number
_SEGMENT = re.compile(r"rows_\d{12,}_\d{12,}_[0-9a-f]{16}\.pt")

_FILE = {"bytes": int, "sha256": str}
_SEGMENTS = [{**_FILE, "file": str, "first": int, "last": int}]
_SCHEMA = {
    "name": str, "env_id": str, "env_steps": [int], "grad_steps": [int], "vec_steps": int,
    "wall_s": float, "goal_at": [(int, None)], "evaluation_due": bool, "rollbacks": [int],
    "learn_from": [int], "last_evals": [{"return_mean": float, "return_std": float, "grad_steps": int}],
    "episodes": {"returns": [[float]], "lengths": [[float]], "last_returns": [[float]]},
    "rows": {"metrics.csv": int, "eval.csv": int},
    "last_row": {"env_steps": int, "grad_steps": int, "ago_s": float}, "waited": {"env": float, "device": float},
    "sizes": {"obs_dim": int, "action_dim": int, "algo": str}, "action_bounds": [[float]],
    "files": {LEARNER: _FILE}, "replay": ({"span": [int], "segments": _SEGMENTS}, None),
}  # fmt: skip


class DamagedError(ValueError):
    """Files of a checkpoint are missing, or not what was written."""


@dataclass(frozen=True)
class Found:
    """A checkpoint that can be read.

    Attributes:
        folder: where.
        meta: its meta.json.
        note: a line to tell the user, where newer ones were passed over; else empty.
        with_replay: whether the rows of its replay may be read.
    """

    folder: Path
    meta: dict[str, Any]
    note: str
    with_replay: bool = True


def checkpoint_dirs(run_dir: Path) -> list[Path]:
    """Checkpoints of a run in the order in which they were written; all of them have been complete at some time."""
    found = [p for p in (run_dir / "checkpoints").glob("*step_*") if is_checkpoint(p.name) and p.is_dir()]
    return sorted(found, key=lambda p: (serial(p), p.name))


def is_checkpoint(name: str) -> bool:
    """Whether a folder's name is that of a checkpoint."""
    return _NAME.fullmatch(name) is not None


def is_rows(name: str) -> bool:
    """Whether a file's name is that of rows of a replay."""
    return _SEGMENT.fullmatch(name) is not None


def serial(folder: Path) -> int:
    """How many checkpoints of the run had been written with this one."""
    match = _NAME.fullmatch(folder.name)
    return int(match[1] or 0) if match else 0


def replay_dir(run_dir: Path) -> Path:
    """Where the rows of the replay are."""
    return run_dir / "checkpoints" / "replay"


def find(run_dir: Path, with_replay: bool = True) -> Found:
    """The newest checkpoint of a run whose files are all as they were written.

    Args:
        run_dir: the run's folder.
        with_replay: check the rows of the replay, too.

    Raises:
        DamagedError: none is whole.
        ValueError: there is none, or the newest is of another version.
    """
    problems: list[str] = []
    for folder in reversed(checkpoint_dirs(run_dir)):
        try:
            meta = read_meta(folder)
            check_files(folder, meta, with_replay)
        except DamagedError as error:
            problems.append(str(error))
        else:
            note = f"{problems[0]} Taking {folder.name}, written before." if problems else ""
            return Found(folder, meta, note, with_replay)
    if problems:
        raise DamagedError(problems[0] + (" Those before it are damaged, too." if len(problems) > 1 else ""))
    raise ValueError(f"{run_dir} has no checkpoint. Give a run directory that fastsac train has written to.")


def load_meta(run_dir: Path) -> dict[str, Any]:
    """The counters and sizes of the checkpoint that `find` finds."""
    return find(run_dir).meta


def load(run_dir: Path, with_replay: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors, on the CPU, and meta of the checkpoint that `find` finds."""
    found = find(run_dir, with_replay)
    return read(found), found.meta


def read_meta(folder: Path) -> dict[str, Any]:
    """The meta.json of a checkpoint.

    Raises:
        DamagedError: it is not as it was written.
        ValueError: it is of another version.
    """
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
    if wrong := mismatch(meta, _SCHEMA, ""):
        raise _damaged(folder, f"{META} has no right value at {wrong}")
    if meta["name"] != folder.name:
        raise _damaged(folder, f"{META} belongs to {meta['name']}")
    return meta


def check_files(folder: Path, meta: dict[str, Any], with_replay: bool) -> None:
    """Read all files and compare them with what meta.json says.

    Raises:
        DamagedError: they differ.
    """
    content(folder, folder / LEARNER, meta["files"][LEARNER])
    if with_replay and meta["replay"] is not None:
        for segment in _segments(folder, meta):
            content(folder, segment_path(folder, segment), segment)


def read(found: Found) -> dict[str, Any]:
    """The tensors of a checkpoint, on the CPU; the rows of the replay oldest first, unless it was found without.

    Raises:
        ValueError: they cannot be read.
    """
    folder, meta = found.folder, found.meta
    state = _tensors(folder, folder / LEARNER, meta["files"][LEARNER])
    if meta["replay"] is None or not found.with_replay:
        state.pop("replay", None)
        return state
    first, last = meta["replay"]["span"]
    rows: dict[str, Tensor] = {}
    for segment in _segments(folder, meta):
        begin, end = max(first, segment["first"]), segment["last"]
        part = _tensors(folder, segment_path(folder, segment), segment)
        for name, value in part.items():
            if not isinstance(value, Tensor) or value.dim() < 3 or value.shape[1] != end - segment["first"]:
                raise _damaged(folder, f"{segment['file']} holds something else")
            if name not in rows:
                rows[name] = value.new_empty(len(value), last - first, *value.shape[2:])
            if rows[name][:, begin - first : end - first].shape != value[:, begin - segment["first"] :].shape:
                raise _damaged(folder, f"{segment['file']} has another shape than those before")
            rows[name][:, begin - first : end - first] = value[:, begin - segment["first"] :]
    return {**state, "replay": {**state.get("replay", {}), **rows}}


def _segments(folder: Path, meta: dict[str, Any]) -> list[dict[str, Any]]:
    """The files of the replay, which cover all its rows."""
    replay = meta["replay"]
    segments: list[dict[str, Any]] = replay["segments"]
    span = replay["span"]
    ends = [span[0]] if len(span) == 2 and 0 <= span[0] < span[1] <= span[0] + 2**31 else []
    for segment in segments:
        follows = ends and segment["first"] <= ends[-1] < segment["last"] <= span[1]
        if not follows or not is_rows(segment["file"]):
            raise _damaged(folder, f"{META} names rows that do not follow each other")
        ends.append(segment["last"])
    if not ends or ends[-1] != span[1]:
        raise _damaged(folder, f"{META} lacks rows of the replay")
    return segments


def segment_path(folder: Path, segment: dict[str, Any]) -> Path:
    """Where a file of the replay is."""
    return folder.parent / "replay" / str(segment["file"])


def content(folder: Path, path: Path, entry: dict[str, Any]) -> bytes:
    """A file's bytes, if they are what was written.

    Raises:
        DamagedError: they are not.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size == entry["bytes"] else b""
    except OSError as error:
        raise _damaged(folder, f"{path.name} cannot be read ({error.strerror})") from error
    if size != entry["bytes"]:
        raise _damaged(folder, f"{path.name} has {size} bytes instead of {entry['bytes']}")
    if sha256(data) != entry["sha256"]:
        raise _damaged(folder, f"{path.name} is not what was written")
    return data


def sha256(data: bytes) -> str:
    """Checksum in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def meta_sha256(meta: dict[str, Any]) -> str:
    """Checksum of what meta.json holds beside it."""
    return sha256(json.dumps(meta, sort_keys=True).encode())


def mismatch(value: Any, schema: Any, where: str) -> str | None:
    """Where a JSON value is not of the schema: a type, None, a tuple of choices, [of each], or {of some keys}."""
    if isinstance(schema, tuple):
        return None if any(mismatch(value, choice, where) is None for choice in schema) else where
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return where
        return next((w for k, s in schema.items() if (w := mismatch(value.get(k, ...), s, f"{where}.{k}"))), None)
    if isinstance(schema, list):
        if not isinstance(value, list):
            return where
        return next((w for i, v in enumerate(value) if (w := mismatch(v, schema[0], f"{where}[{i}]"))), None)
    if schema is None:
        return None if value is None else where
    kinds = (int, float) if schema is float else (schema,)
    return None if type(value) in kinds else where


def _tensors(folder: Path, path: Path, entry: dict[str, Any]) -> dict[str, Any]:
    data = content(folder, path, entry)
    try:
        tree = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for hostile files
        raise _damaged(folder, f"{path.name} holds no plain tensors ({type(error).__name__})") from error
    if not isinstance(tree, dict):
        raise _damaged(folder, f"{path.name} holds something else")
    return tree


def _damaged(folder: Path, what: str) -> DamagedError:
    return DamagedError(f"checkpoint {folder} is damaged: {what}.")
