"""Checkpoints: folders of tensors and one JSON file, written so that no torn one is ever seen.

`checkpoints/step_000000012000/` holds `learner.pt` (parameters, moments, counters, normaliser), `replay.pt` (the
stream, in the newest one only) and `meta.json`.  Loading runs no code (`weights_only`).
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch

FORMAT = 3  # of the tensors' names and layouts; other versions are not read
_PREFIX = "step_"
_KEEP = 2


def checkpoint_dirs(run_dir: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first."""
    return sorted(p for p in (run_dir / "checkpoints").glob(f"{_PREFIX}*") if p.is_dir() and p.suffix != ".tmp")


def save(run_dir: Path, env_steps: int, learner: dict[str, Any], meta: dict[str, Any]) -> Path:
    """Write a checkpoint beside its final place, flush it to disk, then rename; older ones beyond two are removed.

    Args:
        run_dir: the run's folder.
        env_steps: names the checkpoint.
        learner: `Learner.state_dict()`.
        meta: JSON values: counters and sizes.
    """
    final = run_dir / "checkpoints" / f"{_PREFIX}{env_steps:012d}"
    partial = final.with_suffix(".tmp")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    rest = {k: v for k, v in learner.items() if k != "replay"}
    _write(partial / "learner.pt", _to_cpu(rest))
    if "replay" in learner:
        _write(partial / "replay.pt", _to_cpu(learner["replay"]))
    with (partial / "meta.json").open("w") as f:
        f.write(json.dumps({"format": FORMAT, **meta}, indent=2) + "\n")
        f.flush()
        os.fsync(f.fileno())
    _sync_dir(partial)
    replaced = final.with_suffix(".old.tmp")
    shutil.rmtree(replaced, ignore_errors=True)
    if final.exists():
        os.replace(final, replaced)
    os.replace(partial, final)
    _sync_dir(final.parent)
    shutil.rmtree(replaced, ignore_errors=True)
    for old in checkpoint_dirs(run_dir)[:-1]:
        (old / "replay.pt").unlink(missing_ok=True)
    for old in checkpoint_dirs(run_dir)[:-_KEEP]:
        shutil.rmtree(old)
    return final


def newest(run_dir: Path) -> Path:
    """The newest complete checkpoint of a run.

    Raises:
        ValueError: there is none.
    """
    dirs = checkpoint_dirs(run_dir)
    if not dirs:
        raise ValueError(f"{run_dir} has no checkpoint. Give a run directory that fastsac train has written to.")
    return dirs[-1]


def load_meta(run_dir: Path) -> dict[str, Any]:
    """The counters and sizes of a run's newest checkpoint.

    Raises:
        ValueError: there is none, or it cannot be read.
    """
    path = newest(run_dir) / "meta.json"
    try:
        meta: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error
    if meta.get("format") != FORMAT:
        raise ValueError(
            f"{path.parent} has checkpoint format {meta.get('format', 1)}, this version reads {FORMAT}. "
            "Use the version of fastsac that wrote it."
        )
    return meta


def load(run_dir: Path, with_replay: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    """The newest checkpoint of a run: learner state and meta, on the CPU.

    Raises:
        ValueError: there is none, or it cannot be read.
    """
    folder = newest(run_dir)
    meta = load_meta(run_dir)
    try:
        state = torch.load(folder / "learner.pt", map_location="cpu", weights_only=True)
        if with_replay:
            state["replay"] = torch.load(folder / "replay.pt", map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for damaged files
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"checkpoint {folder} cannot be read: {first_line}") from error
    return state, meta


def _to_cpu(tree: Any) -> Any:
    """The tensors on the CPU; views are copied, since they would drag their whole storage into the file."""
    if isinstance(tree, dict):
        return {k: _to_cpu(v) for k, v in tree.items()}
    value: torch.Tensor = tree.detach()
    if not value.is_contiguous():  # one part after the other: a GPU would make the whole contiguous first
        return torch.stack([part.cpu() for part in value])
    value = value.cpu()
    return value if value.nbytes == value.untyped_storage().nbytes() else value.clone()


def _write(path: Path, value: Any) -> None:
    with path.open("wb") as f:
        torch.save(value, f)
        f.flush()
        os.fsync(f.fileno())


def _sync_dir(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
