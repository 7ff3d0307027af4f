"""Checkpoints of several processes as one process would have written them, and the part of one for each process.

Members lie side by side along the first axis.  Of one agent, the processes have the same parameters, and each its own
environments, which lie side by side in the rows of the replay.  Where simulators were is kept by process: they go on
there if there are as many processes again, and begin new episodes otherwise.

Axes: M members, N environments, L rows of the replay.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fastsac.acting.episodes import Episodes
from fastsac.checkpoint.reader import Tree
from fastsac.config.settings import Config
from fastsac.config.shares import PartOfAgent
from fastsac.learning.replay import Piece
from fastsac.run.run_state import PER_MEMBER, RunState

OF_ENVS = ("is_dummy", "oldest_valid")  # [M, N], of a replay's cursor


def merged(trees: Sequence[Tree], share: Config) -> Tree:
    """The tensors of all processes as those of one; `share` is that of any of them."""
    if len(trees) == 1:
        return trees[0]
    whole = _of_agent(trees) if isinstance(share, PartOfAgent) else _side_by_side([_without_envs(t) for t in trees])
    if "env" in trees[0]:
        whole["env"] = {str(rank): tree["env"] for rank, tree in enumerate(trees)}
    return whole


def own(tree: Tree, share: Config, rank: int, size: int) -> Tree:
    """The part of one of `size` processes of what `merged` gave, or a single process wrote; copies, to let go of it.

    Of one agent's replay the count of transitions is left out: it follows from the rows, see `own_piece`.
    """
    if (envs := _own_envs(tree.get("env"), rank, size)) is None:
        tree = _without_envs(tree)
    else:
        tree = {**tree, "env": envs}
    if size == 1:
        return tree
    mine = {**tree}
    environments = mine.pop("env", None)
    if isinstance(share, PartOfAgent):
        mine = _own_part(mine, _envs_of(share))
    else:
        members = _members_of(share)
        mine = pytree.tree_map(lambda t: t[members].clone() if t.dim() else t, mine)
    return mine if environments is None else {**mine, "env": environments}


def merged_rows(parts: Sequence[dict[str, Tensor]], share: Config) -> dict[str, Tensor]:
    """Rows [M, L, N, ...] of the replays of all processes as those of one."""
    axis = 2 if isinstance(share, PartOfAgent) else 0
    return {name: torch.cat([part[name] for part in parts], axis) for name in parts[0]}


def own_piece(piece: Piece, share: Config) -> Piece:
    """Of some rows that `merged_rows` gave the part of one process; views."""
    begin, rows = piece
    part = (slice(None), slice(None), _envs_of(share)) if isinstance(share, PartOfAgent) else _members_of(share)
    return begin, {name: value[part] for name, value in rows.items()}


def merged_state(states: Sequence[RunState], share: Config) -> RunState:
    """Counters and episodes of all processes as those of one: of one agent all have the same."""
    first = states[0]
    if isinstance(share, PartOfAgent):
        return first
    lists: dict[str, Any] = {name: [value for state in states for value in getattr(state, name)] for name in PER_MEMBER}
    episodes = (vars(state.episodes) for state in states)
    together = [
        [value for each in values for value in each] for values in zip(*(e.values() for e in episodes), strict=True)
    ]
    steps = {name: min(getattr(state.last_row, name) for state in states) for name in ("env_steps", "grad_steps")}
    return replace(first, **lists, episodes=Episodes(*together), last_row=replace(first.last_row, **steps))


def own_state(state: RunState, share: Config) -> RunState:
    """The part of one process of what `merged_state` gave; the rows of evaluations are those of all members."""
    if isinstance(share, PartOfAgent):
        return state
    members = _members_of(share)
    lists: dict[str, Any] = {name: getattr(state, name)[members] for name in PER_MEMBER}
    return replace(state, **lists, episodes=Episodes(*(values[members] for values in vars(state.episodes).values())))


def _without_envs(tree: Tree) -> Tree:
    return {name: value for name, value in tree.items() if name != "env"}


def _own_envs(saved: Any, rank: int, size: int) -> Tree | None:
    """Where the simulators of this process were; None if they were divided otherwise."""
    if saved is None:
        return None
    by_rank = all(name.isdigit() for name in saved)
    if size == 1:
        return None if by_rank else saved
    return saved.get(str(rank)) if by_rank and len(saved) == size else None


def _side_by_side(trees: Sequence[Tree]) -> Tree:
    """Members one after the other; what all have in common once."""
    whole: Tree = pytree.tree_map(lambda *parts: torch.cat(parts) if parts[0].dim() else parts[0], *trees)
    return whole


def _of_agent(trees: Sequence[Tree]) -> Tree:
    whole = _without_envs(trees[0])
    if "return_normalizer" in whole:
        returns = [tree["return_normalizer"]["returns"] for tree in trees]
        whole["return_normalizer"] = {**whole["return_normalizer"], "returns": torch.cat(returns, 1)}
    if "replay" in whole:
        cursors = [tree["replay"] for tree in trees]
        whole["replay"] = {
            **cursors[0],
            **{name: torch.cat([cursor[name] for cursor in cursors], 1) for name in OF_ENVS},
            "count": torch.stack([cursor["count"] for cursor in cursors]).sum(0),
            "tail": torch.zeros_like(cursors[0]["tail"]),  # the table is made anew from the rows
        }
    return whole


def _own_part(tree: Tree, envs: slice) -> Tree:
    mine = {**tree}
    if "return_normalizer" in mine:
        returns = mine["return_normalizer"]["returns"][:, envs]
        mine["return_normalizer"] = {**mine["return_normalizer"], "returns": returns}
    if "replay" in mine:
        cursor = {name: value for name, value in mine["replay"].items() if name != "count"}
        parts = {name: cursor[name][:, envs].clone() for name in OF_ENVS}
        mine["replay"] = {**cursor, **parts, "tail": torch.zeros_like(cursor["tail"])}
    return mine


def _envs_of(share: PartOfAgent) -> slice:
    """Its environments among those of the agent."""
    return slice(share.first_env, share.first_env + share.num_envs)


def _members_of(share: Config) -> slice:
    """Its members among those of the run."""
    return slice(share.first_member, share.first_member + share.num_members)
