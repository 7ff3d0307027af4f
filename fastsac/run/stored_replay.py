"""The transitions in the replay of a run's newest checkpoint.

Axes: M members, L rows, N environments, K transitions, O obs_dim, A action_dim.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fastsac import checkpoint
from fastsac.acting.recording import Recording
from fastsac.checkpoint.reader import Tree
from fastsac.config.settings import Config
from fastsac.config.stored import check_run_dir
from fastsac.run.policy_dir import is_policy_dir
from fastsac.run.run_state import find

COLUMNS = ("obs", "action", "reward", "terminated", "truncated")


def read_replay(run_dir: Path, member: int) -> Recording:
    """All transitions of a member, with their true next observations; no returns.

    Raises:
        ValueError: no such member, no checkpoint that is whole, or none with a replay.
    """
    check_run_dir(run_dir)
    Config.load(run_dir).check_member(member)
    replay = {} if is_policy_dir(run_dir) else checkpoint.read(find(run_dir)).get("replay", {})
    if not replay:
        raise ValueError(
            f"{run_dir} holds no replay: it is a policy alone, or a run with checkpoint_replay none. Leave out "
            "--replay to collect transitions of its policy."
        )
    return transitions_of(replay, member)


def transitions_of(replay: Tree, member: int) -> Recording:
    """Those of a member in a replay's rows [M, L, N, ...] and cursor, one environment after the other."""
    rows = {name: replay[f"rows.{name}"][member] for name in COLUMNS}  # [L, N, ...]
    done = rows["terminated"] | rows["truncated"]
    follows = torch.cat([replay["oldest_valid"][member].unsqueeze(0), ~done[:-1]])[:-1]  # [L - 1, N], without the head
    is_transition = follows.T  # [N, L - 1]

    def taken(column: Tensor) -> np.ndarray:
        return column.transpose(0, 1)[is_transition].numpy()

    now = [taken(rows[name][:-1]) for name in COLUMNS]
    return Recording._make([*now, taken(rows["obs"][1:]), np.zeros(0)])
