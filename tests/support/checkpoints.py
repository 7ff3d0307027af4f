"""A small checkpoint."""

import torch

from fastsac.acting.episodes import Episodes
from fastsac.checkpoint.writer import Rows
from fastsac.run.run_state import LastRow, RunState

META = RunState(
    env_id="x", sizes={"obs_dim": 1, "action_dim": 1, "algo": "sac"}, action_bounds=[], obs_parts=[], action_shape=None,
    action_start=0, env_steps=[7], grad_steps=[0], vec_steps=0, learn_from=[0], rollbacks=[0], goal_at=[None],
    goals=None, prefill=None, evaluation_due=False, last_evals=[], tables={},
    episodes=Episodes(returns=[[]], lengths=[[]], last_returns=[[]], successes=[[]], info=[{}]),
    last_row=LastRow(env_steps=0, grad_steps=0, ago_s=0.0, waited={}), wall_s=0.0,
).to_json()  # fmt: skip


STATE = {"state": {"a": torch.arange(3.0)}}


def rows_of(first: int, last: int) -> Rows:
    """One number per row, that of the row."""
    return Rows((first, last), 4, lambda a, b: {"rows.reward": torch.arange(float(a), b).view(1, -1, 1)})
