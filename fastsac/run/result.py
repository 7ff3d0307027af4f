"""What a run came to: the closing figures in Python and in summary.json."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from fastsac.config.kinds import conform, read_json
from fastsac.disk.files import read_file, write_file

NAME = "summary.json"
MEANS = ("eval_return_mean", "eval_return_std", "eval_success_rate")  # nan where not known, which JSON writes as null


@dataclass(frozen=True)
class Result:
    """What a run came to; summary.json holds the same."""

    run_dir: Path
    env_steps: int
    grad_steps: int
    wall_s: float
    compile_s: float
    eval_return_mean: float
    eval_return_std: float
    interrupted: bool
    stopped_by: str  # "total_steps", "goal", or what cut it short: "max_wall_time", "SIGINT", "callback: ...", "error"
    members: list[dict[str, Any]] = field(repr=False)
    eval_success_rate: float = math.nan  # nan where the environment does not tell
    threads_s: float = 0.0  # of wall_s: trials of one thread and of all

    def write(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write summary.json into a folder, with what else is to be known `about` the run as JSON values."""
        values: dict[str, Any] = {**about, **{name: getattr(self, name) for name in KINDS}}
        means = {name: values[name] if math.isfinite(values[name]) else None for name in MEANS}
        write_file(folder / NAME, (json.dumps({**values, **means}, indent=2) + "\n").encode())

    @classmethod
    def read(cls, run_dir: Path) -> "Result":
        """The closing figures of a run that is complete."""
        summary = read_summary(run_dir)
        means = {name: math.nan for name in MEANS if summary[name] is None}
        return cls(run_dir, **{**{name: summary[name] for name in KINDS}, **means})


KINDS = {name: kind for name, kind in get_type_hints(Result).items() if name != "run_dir"}  # of what summary.json holds


def read_summary(run_dir: Path) -> dict[str, Any]:
    """What summary.json of a run holds; nothing if there is none, half of one, or something else."""
    try:
        summary: dict[str, Any] = conform(NAME, read_json(read_file(run_dir / NAME)), dict[str, Any])
        summary = {"eval_success_rate": None, "threads_s": 0.0, **summary}  # earlier versions did not write these
        for name, kind in KINDS.items():
            conform(name, summary.get(name, ...), kind | None if name in MEANS else kind)
    except (OSError, ValueError):
        return {}
    return summary
