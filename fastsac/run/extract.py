"""One member of a run as a run of its own, evaluated, loaded and continued like any other; or its policy alone."""

import json
import math
from collections.abc import Container
from dataclasses import replace
from pathlib import Path

from torch import Tensor
from torch.utils import _pytree as pytree

from fastsac import checkpoint
from fastsac.checkpoint.writer import save
from fastsac.config.history import read_history, write_history
from fastsac.config.settings import Config
from fastsac.config.stored import check_run_dir
from fastsac.disk.tables import Table, read_numbers, table_with
from fastsac.report.csv_sink import CsvSink
from fastsac.run import policy_dir
from fastsac.run.result import read_summary
from fastsac.run.run_dir import RunDir
from fastsac.run.run_state import RunState, find
from fastsac.run.stored_policy import StoredPolicy


def best_member(run_dir: Path) -> int:
    """The member with the highest return at its last evaluation; a ValueError where there was none, or no table."""
    check_run_dir(run_dir)
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
    place = free_place(out)
    config = Config.load(run_dir)
    config.check_member(member)
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
    write_history(out, read_history(run_dir))
    (out / "config.json").write_text(alone.to_json())
    for name, table in tables.items():
        write_table(out / name, table, without=config.member_setting(member))
    write_summary(run_dir, out, member)
    place.release()
    return alone


def extract_policy(stored: StoredPolicy, run_dir: Path, out: Path, card: policy_dir.Card) -> None:
    """Write the policy of a member of `run_dir` alone into the folder `out`, as `policy_dir` describes it.

    Raises:
        ValueError: a table that cannot be read, or `out` is not empty or cannot be written.
    """
    free_place(out)
    config, setting = stored.config.of_member(stored.member), stored.config.member_setting(stored.member)
    evals = table_of(run_dir / "eval.csv", stored.member)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_table(out / "eval.csv", evals, without=setting)
        write_history(out, read_history(run_dir))
        policy_dir.write(out, config, stored.task.of_policy(), stored.numbers, card)
    except OSError as error:
        raise ValueError(f"cannot write {out}: {error.strerror}.") from error


def free_place(out: Path) -> RunDir:
    """A folder that is to be written; a ValueError where something is in it."""
    place = RunDir(out)
    if not place.is_free:
        raise ValueError(f"{out} exists and is not empty. Give another folder.")
    return place


def write_table(path: Path, table: Table, without: Container[str]) -> None:
    """Write a table, if there is one, without some of its columns."""
    if table.columns:
        sink = CsvSink(path, tuple(column for column in table.columns if column not in without))
        sink.write(*table.rows)
        sink.close()


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
