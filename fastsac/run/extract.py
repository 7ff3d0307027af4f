"""One member of a run as a run of its own, which can be evaluated, plotted, loaded and continued like any other."""

import json
import math
from dataclasses import replace
from pathlib import Path

from torch import Tensor
from torch.utils import _pytree as pytree

from fastsac import checkpoint
from fastsac.checkpoint.writer import save
from fastsac.config.settings import Config
from fastsac.disk.tables import Table, read_numbers, table_with
from fastsac.report.csv_sink import CsvSink
from fastsac.run.result import read_summary
from fastsac.run.run_dir import RunDir
from fastsac.run.run_state import RunState, find


def best_member(run_dir: Path) -> int:
    """The member with the highest return at its last evaluation; a ValueError where there was none, or no table."""
    rows = read_numbers(run_dir / "eval.csv", ("member", "return_mean"))
    members = range(Config.load(run_dir).num_members if len(rows) else 0)
    last = {int(member): float(value) for member, value in rows if member in members}
    finite = {member: value for member, value in last.items() if math.isfinite(value)}
    if not finite:
        raise ValueError(f"{run_dir} has no evaluation by which a member could be the best. Give its number.")
    return max(finite, key=lambda member: finite[member])


def extract(run_dir: Path, member: int, out: Path) -> Config:
    """Write one member of `run_dir` into the run directory `out`: settings, which it returns, newest checkpoint, rows.

    Raises:
        ValueError: no such member, no checkpoint, a table that cannot be read, or `out` is not empty.
    """
    place = RunDir(out)
    if not place.is_free:
        raise ValueError(f"{out} exists and is not empty. Give another folder.")
    config = Config.load(run_dir)
    if not 0 <= member < config.num_members:
        raise ValueError(f"member must be best or in [0, {config.num_members - 1}], got {member}.")
    found = find(run_dir)
    tensors, state = checkpoint.read(found), RunState.from_json(found.meta)
    alone = config.of_member(member).replace(run_dir=str(out))

    def cut(value: Tensor) -> Tensor:
        """What members have of their own is [M, ...]; counters that they share are []."""
        return value[member : member + 1] if value.dim() else value

    tensors = pytree.tree_map(cut, tensors)
    tensors.pop("env", None)  # of all members together: the one alone begins new episodes
    tables = {name: table_of(run_dir / name, member) for name in state.tables}
    kept = {name: len(table_of(run_dir / name, member, count).rows) for name, count in state.tables.items()}
    swept = {name: value for name, value in config.member_setting(member).items() if name in state.sizes}
    sizes = {**state.sizes, **swept, "seed": alone.seed, "seeds": alone.seeds, "sweep": []}
    mine = state.of_member(member, sizes, kept)
    place.acquire()
    place.start()
    save(out, min(mine.env_steps), tensors, mine.to_json())
    (out / "config.json").write_text(alone.to_json())
    for name, table in tables.items():
        if table.columns:
            columns = (column for column in table.columns if column not in config.member_setting(member))
            sink = CsvSink(out / name, tuple(columns))
            sink.write(*table.rows)
            sink.close()
    write_summary(run_dir, out, member)
    place.release()
    return alone


def table_of(path: Path, member: int, limit: int | None = None) -> Table:
    """A table with the member's rows, as member 0, among its first `limit` or among all; ValueError if unreadable."""
    table = table_with(path, ("member",), limit)
    return replace(table, rows=[{**row, "member": "0"} for row in table.rows if row["member"] == str(member)])


def write_summary(run_dir: Path, out: Path, member: int) -> None:
    """summary.json of the whole run with this member's figures, and where they come from, if it has them."""
    summary = read_summary(run_dir)
    figures = ("env_steps", "grad_steps", "eval_return_mean", "eval_return_std", "eval_success_rate")
    members = [{"eval_success_rate": None, **each} for each in summary.get("members", [])]
    if member >= len(members) or not set(figures) <= set(members[member]):
        return
    mine = {**members[member], "member": 0}
    summary |= {key: mine[key] for key in figures} | {"members": [mine]}
    summary["extracted_from"] = {"run_dir": str(run_dir), "member": member}
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
