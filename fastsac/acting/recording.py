"""Transitions of a policy in environments of their own, exactly as they came.  Touches no training state.

Axes: K transitions, N environments, O obs_dim, A action_dim.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastsac.acting.episodes import EpisodeStats
from fastsac.acting.errors import CheckedEnv, of_nobody
from fastsac.env import BoolArray, FloatArray, ObsArray, VectorEnv


class Recording(NamedTuple):
    """Transitions, those of one environment after those of the one before, and the returns of episodes that ended."""

    obs: ObsArray  # [K, O]
    action: FloatArray  # [K, A], in [-1, 1] or one-hot
    reward: FloatArray  # [K]
    terminated: BoolArray  # [K]
    truncated: BoolArray  # [K]
    next_obs: ObsArray  # [K, O]
    returns: NDArray[np.float64]


def record(env: VectorEnv, act: Callable[[ObsArray], FloatArray], num_steps: int) -> Recording:
    """The first K = num_steps transitions; errors are those of `CheckedEnv`.

    Args:
        env: N environments; they are reset first.
        act: maps obs [N, O] to actions [N, A], as `VectorEnv.send` wants them.
        num_steps: K.
    """
    stats, is_dummy = EpisodeStats(1, env.num_envs), np.zeros(env.num_envs, np.bool_)

    def ages() -> NDArray[np.int64]:
        return np.where(is_dummy, -1, stats.running_length[0])

    checked = CheckedEnv(env, of_nobody, ages, (env.num_envs, env.spec.obs_dim))
    obs, places, steps, count = checked.reset(), [], [], 0
    while count < num_steps:
        action = act(obs)
        checked.send(action)
        step = checked.recv()
        valid = ~is_dummy
        places.append(np.flatnonzero(valid))
        columns = (obs, action, step.reward, step.terminated, step.truncated, step.obs)
        steps.append([column[valid] for column in columns])
        is_dummy = step.terminated | step.truncated
        stats.add(step.reward[None], is_dummy[None], valid[None])
        obs, count = step.obs, count + int(valid.sum())
    order = np.argsort(np.concatenate(places)[:num_steps], kind="stable")
    found = [np.concatenate(column)[:num_steps][order] for column in zip(*steps, strict=True)]
    return Recording._make([*found, np.array(stats.finished().returns[0])])
