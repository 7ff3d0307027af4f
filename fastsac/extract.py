"""One member of a run as a run of its own, which can be evaluated, plotted, loaded and continued like any other."""

import csv
import json
import math
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from fastsac import checkpoint, checkpoint_writer
from fastsac.config import Config
from fastsac.run_dir import RunDir


def best_member(run_dir: Path) -> int:
    """The member with the highest return at its last evaluation.

    Raises:
        ValueError: there was none.
    """
    path = run_dir / "eval.csv"
    last: dict[int, float] = {}
    if path.is_file():
        with path.open(newline="") as f:
            last = {int(row["member"]): float(row["return_mean"]) for row in csv.DictReader(f)}
    finite = {member: value for member, value in last.items() if math.isfinite(value)}
    if not finite:
        raise ValueError(f"{run_dir} has no evaluation by which a member could be the best. Give its number.")
    return max(finite, key=lambda member: finite[member])


def extract(run_dir: Path, member: int, out: Path) -> Config:
    """Write a run directory with one member of `run_dir`: settings, newest checkpoint and rows.

    Args:
        run_dir: what `fastsac train` wrote.
        member: its number.
        out: the folder to write, new or empty.

    Returns:
        The settings of the member.

    Raises:
        ValueError: no such member, no checkpoint, or `out` is not empty.
    """
    place = RunDir(out)
    if not place.is_free:
        raise ValueError(f"{out} exists and is not empty. Give another folder.")
    config = Config.load(run_dir)
    if not 0 <= member < config.num_members:
        raise ValueError(f"member must be best or in [0, {config.num_members - 1}], got {member}.")
    state, meta = checkpoint.load(run_dir)
    alone = config.of_member(member).replace(run_dir=str(out))

    def cut(value: Any) -> Any:
        """What members have of their own is [M, ...]; counters that they share are []."""
        return value[member : member + 1] if isinstance(value, Tensor) and value.dim() else value

    state = pytree.tree_map(cut, state)
    state.pop("env", None)  # of all members together: the one alone begins new episodes
    own = ("env_steps", "grad_steps", "goal_at", "rollbacks", "learn_from")
    mine: dict[str, Any] = {key: [meta[key][member]] for key in own}
    mine["last_evals"] = [{**row, "member": 0} for row in meta["last_evals"][member : member + 1]]
    mine["episodes"] = {name: values[member : member + 1] for name, values in meta["episodes"].items()}
    mine["rows"] = {name: count // config.num_members for name, count in meta["rows"].items()}
    same = {name: getattr(alone, name) for name in ("seed", "seeds")}
    sizes = {**meta["sizes"], **same, "sweep": []}
    place.acquire()
    place.start()
    checkpoint_writer.save(out, min(mine["env_steps"]), state, {**meta, **mine, "sizes": sizes})
    (out / "config.json").write_text(alone.to_json())
    for name in ("metrics.csv", "eval.csv"):
        copy_rows(run_dir / name, out / name, member)
    write_summary(run_dir, out, alone, member)
    place.release()
    return alone


def copy_rows(source: Path, target: Path, member: int) -> None:
    """The member's rows of a CSV file, as member 0."""
    if not source.is_file():
        return
    with source.open(newline="") as f, target.open("w", newline="") as g:
        reader = csv.DictReader(f)
        writer = csv.DictWriter(g, reader.fieldnames or [], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "member": 0} for row in reader if row["member"] == str(member))


def write_summary(run_dir: Path, out: Path, config: Config, member: int) -> None:
    """summary.json of the whole run with this member's figures, and where they come from."""
    path = run_dir / "summary.json"
    if not path.is_file():
        return
    summary = json.loads(path.read_text())
    mine = {**summary["members"][member], "member": 0}
    figures = ("env_steps", "grad_steps", "eval_return_mean", "eval_return_std")
    summary |= {key: mine[key] for key in figures} | {"members": [mine]}
    summary |= {"extracted_from": {"run_dir": str(run_dir), "member": member}}
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
