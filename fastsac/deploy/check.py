"""Whether a file does what the policy does: on observations that the policy has seen in its task.

Axes: N environments, B recorded observations, O obs_dim, A action_dim.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastsac.acting.recording import record
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
class Reference:
    """Observations of a policy in its task, the noise that it drew, if it did, and its actions."""

    policy: Policy
    rows: Array  # [B, O]
    noise: Array | None  # [B, A]
    actions: Array  # [B, A], or [B] of choices, in the task's units

    def inputs(self, rows: slice = slice(None)) -> list[Array]:
        """What the program takes, of some of the rows."""
        obs = batch_of(self.policy.spec, torch.from_numpy(self.rows[rows])).numpy()
        return [obs] if self.noise is None else [obs, self.noise[rows]]


def observe(policy: Policy, env: VectorEnv, stochastic: bool) -> Reference:
    """Step the policy in its task for NUM_RECORDED observations, then ask it for its actions in all of them.

    Raises:
        BadStepError: the environment failed.
        NotFiniteError: a number of the environment or the policy is not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        rows = record(env, partial(policy.choose_rows, deterministic=not stochastic), NUM_RECORDED).obs
        torch.manual_seed(SEED)
        actions = policy.act(rows, deterministic=not stochastic)
        torch.manual_seed(SEED)  # what `act` has drawn
        noise = torch.randn(len(rows), policy.spec.action_dim).numpy() if stochastic else None
    return Reference(policy, rows, noise, actions.reshape(len(rows), *([] if policy.spec.discrete else [-1])))


def largest_error(call: Call, reference: Reference) -> float:
    """Of a program's actions against the policy's, for all rows in one batch, and for the first one alone.

    Of continuous actions it is relative to their range; of choices, how far the score of the program's lies below that
    of the policy's, relative to the largest score of its row: two that are equal up to rounding are equally good.
    """
    alone = slice(1)
    errors = [
        _error(reference, slice(None), call(*reference.inputs())),
        _error(reference, alone, call(*reference.inputs(alone))),
    ]
    return float(np.max(errors))  # NaN where one of them is


def _error(reference: Reference, rows: slice, actions: Array) -> float:
    policy, expected = reference.policy, reference.actions[rows]
    if actions.shape != expected.shape or actions.dtype != expected.dtype:
        return np.inf
    if not policy.spec.discrete:
        low, high = action_range(policy.spec)
        return float((np.abs(actions - expected) / (high - low)).max())
    noise = None if reference.noise is None else torch.from_numpy(reference.noise[rows])
    scores = policy.scores(torch.from_numpy(reference.rows[rows]), noise).numpy()  # [B, A]
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
