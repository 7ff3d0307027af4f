"""What spoils rewards, as a hook for `go_wrong`, and policies, of runs on scripted environments."""

import math

from torch import Tensor

from fastsac.nn.linear import num_rows
from fastsac.run.trainer import Run
from tests.support.scripted_env import STEP


class Poison:
    """All rewards of one member are NaN for one vector step."""

    def __init__(self, at: float, member: int = 0) -> None:
        self.at, self.member = at, member
        self.kept: Tensor | None = None

    def __call__(self, training: Run) -> None:
        reward = training.replay.rows.reward[self.member]
        if self.kept is not None:
            reward[self.kept.isfinite()] = self.kept[self.kept.isfinite()]
            self.kept, self.at = None, math.inf
        elif training.collector.env_steps[self.member] >= self.at:
            self.kept = reward.clone()
            reward.fill_(math.nan)
            self.kept[training.replay.host_head] = math.nan  # is written in between


def spoil_first_steps(training: Run) -> None:
    """Give the actor a parameter with which its actions are NaN at the first step of an episode, and finite later.

    The observation has the number of the step: -inf * 0 is NaN, and the rectifier makes 0 of -inf.
    """
    learner, config = training.learner, training.config
    first_layer = num_rows(learner.algorithm.encoder.obs_dim), config.hidden_dims[0]
    vector = learner.buffers["state"]["params"]["actor"][0]
    vector[: math.prod(first_layer)].view(first_layer)[STEP] = -math.inf
    training.collector.actor.sync_policy(0)


def spoil_policy_copies(training: Run) -> None:
    """All actions are NaN, although the parameters of the learner are finite."""
    for slot in training.collector.actor.slots:
        slot.policy.params.fill_(math.nan)
