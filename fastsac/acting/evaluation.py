"""Deterministic rollouts: the first episode of each of a set of fresh environments.  Touches no training state."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastsac.acting.errors import CheckedEnv, Locate, of_nobody
from fastsac.env import FloatArray, VectorEnv

MAX_STEPS = 10_000  # after which an episode is cut off where the task has no time limit


class Rollout(NamedTuple):
    """One episode in each of N environments."""

    returns: NDArray[np.float64]  # [N], undiscounted
    lengths: NDArray[np.int64]  # [N]
    success: NDArray[np.float64]  # [N], 1 or 0; NaN where that is not known
    cut: NDArray[np.bool_]  # [N], not over after MAX_STEPS, in a task without a time limit


def rollout(
    env: VectorEnv,
    act: Callable[[FloatArray], FloatArray],
    locate: Locate = of_nobody,
    look: Callable[[bool], None] = lambda is_over: None,
) -> Rollout:
    """One episode per environment; errors are those of `CheckedEnv`.

    Taking the first episode of each avoids the bias towards short episodes that "the first k to finish" has.

    Args:
        env: N environments; they are reset first.
        act: maps obs [N, O] to actions [N, A], as `VectorEnv.send` wants them.
        locate: whose environments these are, for the errors.
        look: called after the reset and after each step, with whether all episodes are over.
    """
    age = np.zeros(env.num_envs, np.int64)  # of the running episodes; -1 where one is over
    checked = CheckedEnv(env, locate, lambda: age, (env.num_envs, env.spec.obs_dim))
    obs = checked.reset()
    look(False)
    returns = np.zeros(env.num_envs)
    lengths = np.zeros(env.num_envs, np.int64)
    success = np.full(env.num_envs, np.nan)
    running = np.ones(env.num_envs, np.bool_)
    for _ in range(env.spec.max_episode_steps or MAX_STEPS):
        checked.send(act(obs))
        step = checked.recv()
        done = step.terminated | step.truncated
        returns += np.where(running, step.reward, 0.0)
        lengths += running
        if step.success is not None:
            success = np.where(running & done, step.success, success)
        running &= ~done
        age[:] = np.where(done, -1, age + 1)
        obs = step.obs
        look(not running.any())
        if not running.any():
            break
    return Rollout(returns, lengths, success, running)
