"""How a run is evaluated: episodes of deterministic actions, in environments of their own."""

from typing import TYPE_CHECKING, Protocol

import torch

from fastsac.acting.errors import call_env
from fastsac.acting.evaluation import rollout
from fastsac.env import FloatArray

if TYPE_CHECKING:
    from fastsac.run.trainer import Run

Returns = list[list[float]]
"""Undiscounted returns of the episodes of each member."""


class Evaluator(Protocol):
    """Evaluates the policies that a run has now."""

    def __call__(self, run: "Run") -> Returns:
        """Returns of the episodes of each member.

        Raises:
            EvaluationStoppedError: the run was interrupted meanwhile.
        """
        ...


class EvaluationStoppedError(Exception):
    """An interruption came while an evaluation went on."""


def evaluate(run: "Run") -> Returns:
    """`Evaluator` of training runs: eval_episodes of each member, all stepped together.

    The environments are made each time, so that a resumed run evaluates as the other would have.
    """
    m, n = run.config.num_members, run.config.eval_episodes
    locate = run.environments.locate_in_evaluation()

    def act(obs: FloatArray) -> FloatArray:
        if not run.update_stop_rule():
            raise EvaluationStoppedError
        members = torch.from_numpy(obs).view(m, n, -1).to(run.plan.device)
        return run.learner.act_deterministic(members).flatten(0, 1).cpu().numpy()

    env = run.environments.make_for_evaluation(run.collector.vec_steps)
    try:
        returns: Returns = rollout(env, act, locate)[0].reshape(m, n).tolist()
    finally:
        call_env(env.close, "close", locate)
    return returns
