"""Deterministic rollouts: the first episode of each of a set of fresh environments.  Touches no training state."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fastsac.env import FloatArray, VectorEnv

Returns = NDArray[np.float64]

NO_LIMIT = 10_000  # steps after which an episode is cut off where the task has no time limit


def rollout(env: VectorEnv, act: Callable[[FloatArray], FloatArray]) -> tuple[Returns, NDArray[np.int64]]:
    """Undiscounted return and length of one episode per environment.

    Counting exactly the first episode of each avoids the bias towards short episodes that "the first k to finish" has.

    Args:
        env: N environments; they are reset first.
        act: maps obs [N, O] to actions [N, A], as `VectorEnv.send` wants them.

    Returns:
        returns [N], lengths [N].
    """
    obs = env.reset()
    returns = np.zeros(env.num_envs)
    lengths = np.zeros(env.num_envs, np.int64)
    running = np.ones(env.num_envs, np.bool_)
    for _ in range(env.spec.max_episode_steps or NO_LIMIT):
        env.send(act(obs))
        step = env.recv()
        returns += np.where(running, step.reward, 0.0)
        lengths += running
        running &= ~(step.terminated | step.truncated)
        obs = step.obs
        if not running.any():
            break
    return returns, lengths
