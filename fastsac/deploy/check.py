"""Whether a file does what the policy does: on observations that the policy has seen in its task.

Axes: N environments, B recorded observations, O obs_dim, A action_dim.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastsac.acting.errors import CheckedEnv, of_nobody
from fastsac.deploy.formats import Call
from fastsac.deploy.program import batch_of
from fastsac.env import VectorEnv, action_range
from fastsac.policy import Policy

NUM_RECORDED, NUM_ENVS = 1000, 4
TOLERANCE = 1e-5  # of the range of actions, or of the scores that choices are made by
SEED = 0
TIMED_S = 0.2  # about how long calls are timed

Array = NDArray[Any]


@dataclass(frozen=True)
class Recording:
    """What a policy did in its task: observations, the noise that it drew, if it did, and its actions."""

    policy: Policy
    rows: Array  # [B, O]
    noise: Array | None  # [B, A]
    actions: Array  # [B, A], or [B] of choices, in the task's units

    def inputs(self, rows: slice = slice(None)) -> list[Array]:
        """What the program takes, of some of the rows."""
        obs = batch_of(self.policy.spec, torch.from_numpy(self.rows[rows])).numpy()
        return [obs] if self.noise is None else [obs, self.noise[rows]]


def record(policy: Policy, env: VectorEnv, stochastic: bool) -> Recording:
    """Step the policy in its task for NUM_RECORDED observations, then ask it for its actions in all of them.

    Raises:
        BadStepError: the environment failed.
        NotFiniteError: a number of the environment or the policy is not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        rows = _observe(policy, env, stochastic)
        torch.manual_seed(SEED)
        actions = policy.act(rows, deterministic=not stochastic)
        torch.manual_seed(SEED)  # what `act` has drawn
        noise = torch.randn(len(rows), policy.spec.action_dim).numpy() if stochastic else None
    return Recording(policy, rows, noise, actions.reshape(len(rows), *([] if policy.spec.discrete else [-1])))


def _observe(policy: Policy, env: VectorEnv, stochastic: bool) -> Array:
    """NUM_RECORDED observations, [B, O]."""
    age = np.zeros(env.num_envs, np.int64)  # of the running episodes; -1 where one is over
    checked = CheckedEnv(env, of_nobody, lambda: age, (env.num_envs, env.spec.obs_dim))
    seen = [checked.reset()]
    while len(seen) * env.num_envs < NUM_RECORDED:
        checked.send(policy.choose(torch.from_numpy(seen[-1]), not stochastic).numpy())
        step = checked.recv()
        age[:] = np.where(step.terminated | step.truncated, -1, age + 1)
        seen.append(step.obs)
    return np.concatenate(seen)[:NUM_RECORDED]


def largest_error(call: Call, recording: Recording) -> float:
    """Of a program's actions against the policy's, for all rows in one batch, and for the first one alone.

    Of continuous actions it is relative to their range; of choices, how far the score of the program's lies below that
    of the policy's, relative to the largest score of its row: two that are equal up to rounding are equally good.
    """
    alone = slice(1)
    return max(
        _error(recording, slice(None), call(*recording.inputs())),
        _error(recording, alone, call(*recording.inputs(alone))),
    )


def _error(recording: Recording, rows: slice, actions: Array) -> float:
    policy, expected = recording.policy, recording.actions[rows]
    if actions.shape != expected.shape or actions.dtype != expected.dtype:
        return np.inf
    if not policy.spec.discrete:
        low, high = action_range(policy.spec)
        return float((np.abs(actions - expected) / (high - low)).max())
    noise = None if recording.noise is None else torch.from_numpy(recording.noise[rows])
    scores = policy.scores(torch.from_numpy(recording.rows[rows]), noise).numpy()  # [B, A]
    chosen, best = (np.take_along_axis(scores, a[:, None] - policy.spec.action_start, 1) for a in (actions, expected))
    return float((np.abs(best - chosen)[:, 0] / np.abs(scores).max(1).clip(min=1e-30)).max())


def call_ms(call: Callable[[], object]) -> float:
    """Milliseconds of a call, the median; torch has one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        call()  # the first prepares what the others use
        taken: list[float] = []
        while sum(taken) < TIMED_S:
            began = time.perf_counter()
            call()
            taken.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return 1000 * float(np.median(taken))
