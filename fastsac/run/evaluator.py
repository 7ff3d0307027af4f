"""The environments of a run, made from its seeds; the evaluation of its policies in some of their own; and the best.

Axes: M members, N episodes of each, P parameters of the policy, O obs_dim.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastsac.acting.errors import call_env, of_members, try_make
from fastsac.acting.evaluation import rollout
from fastsac.config.settings import Config
from fastsac.env import FloatArray, ReportsInfo, VectorEnv, make_env
from fastsac.learning.learner import Learner
from fastsac.nn.philox import Purpose, derive_seeds

if TYPE_CHECKING:
    from fastsac.run.trainer import Run


class Evaluation(NamedTuple):
    """Episodes of each member, [M, N]."""

    returns: NDArray[np.float64]  # undiscounted
    success: NDArray[np.float64] | None = None  # 1 or 0; NaN where that is not known
    cut: NDArray[np.bool_] | None = None  # as of `Rollout`


Evaluator = Callable[["Run"], Evaluation]
"""Evaluates the policies that a run has now; raises EvaluationStoppedError if the run was interrupted meanwhile."""


class EvaluationStoppedError(Exception):
    """An interruption came while an evaluation went on."""


def make_training_envs(config: Config, counter: int) -> VectorEnv:
    """num_envs of each member, or a ValueError; another counter gives other episodes."""
    span = config.first_env, config.first_env + config.num_envs
    env = try_make(partial(_make, config, Purpose.ENV_SEED, span, counter, config.env_kwargs_of_training))
    if config.info_metrics and isinstance(env, ReportsInfo):
        try_make(partial(env.report_info, config.info_metrics))
    return env


def evaluate(run: "Run") -> Evaluation:
    """`Evaluator` of training runs: eval_episodes of each member, or this process's part of them, stepped together.

    The environments are made each time, so that a resumed run evaluates as the other would have.
    """
    config, vec_steps = run.config, run.collector.vec_steps
    first, last = config.eval_span
    m, n = config.num_members, last - first
    if n == 0:
        return Evaluation(np.zeros((m, 0)), np.zeros((m, 0)), np.zeros((m, 0), np.bool_))
    locate = of_members(config, n, lambda: run.collector.env_steps, " in an evaluation", first)

    def act(obs: FloatArray) -> FloatArray:
        if run.together.interrupts():
            raise EvaluationStoppedError
        members = torch.from_numpy(obs).view(m, n, -1).to(run.plan.device)
        return run.learner.act_deterministic(members).flatten(0, 1).cpu().numpy()

    make = partial(_make, config, Purpose.EVAL_SEED, (first, last), vec_steps, config.env_kwargs_of_evaluation)
    env = call_env(make, "make", locate)
    try:
        episodes = rollout(env, act, locate)
    finally:
        call_env(env.close, "close", locate)
    return Evaluation(episodes.returns.reshape(m, n), episodes.success.reshape(m, n), episodes.cut.reshape(m, n))


def _make(
    config: Config, purpose: Purpose, span: tuple[int, int], counter: int, env_kwargs: dict[str, Any]
) -> VectorEnv:
    """The environments [first, last) of each member, of those that all processes have."""
    first, last = span
    seeds = [s for seed in config.member_seeds for s in derive_seeds(seed, purpose, last - first, counter, first)]
    return make_env(config.env, seeds, config.num_env_threads, env_kwargs, config.action_limit)


class BestPolicies:
    """Copies of the policies with which members of `learner` had their best evaluations."""

    def __init__(self, learner: Learner) -> None:
        m, device = learner.config.num_members, learner.device
        self._learner = learner
        self._policy = {name: value.clone() for name, value in learner.policy._asdict().items()}
        self._return = torch.full((m,), -math.inf, dtype=torch.float64, device=device)  # [M]
        self._env_steps = torch.zeros(m, dtype=torch.int64, device=device)  # [M]

    def update_(self, returns: Sequence[float], env_steps: Sequence[int]) -> None:
        """Take in an evaluation of the policies as they are now: returns and env steps of each member."""
        now = torch.tensor(returns, dtype=torch.float64, device=self._return.device)
        better = now > self._return  # [M]; NaN never is
        self._return.copy_(torch.where(better, now, self._return))
        steps = torch.tensor(env_steps, device=better.device)
        self._env_steps.copy_(torch.where(better, steps, self._env_steps))
        for name, value in self._learner.policy._asdict().items():
            self._policy[name].copy_(torch.where(better.unsqueeze(-1), value, self._policy[name]))

    def state_dict(self) -> dict[str, Tensor]:
        """params [M, P], mean and rstd [M, O], return [M] (minus infinity before any evaluation), env_steps [M]."""
        return {**self._policy, "return": self._return, "env_steps": self._env_steps}
