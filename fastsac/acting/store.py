"""Storing: completes the rows of the replay with what came of the actions, and updates the normalisers.

A store is a launch on the learner's stream; `actor.py` says how it is ordered with what happens on the other one.

Axes: M members, N environments, O obs_dim.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastsac.acting.actor import Actor, Slot
from fastsac.config.settings import Config
from fastsac.env import ObsArray, Step
from fastsac.learning.learner import Learner, PolicyTensors
from fastsac.learning.replay import Replay
from fastsac.nn.normalizer import Normalizer
from fastsac.nn.reduction import ALONE, Reduction
from fastsac.nn.return_normalizer import ReturnNormalizer
from fastsac.runtime.launch import Launch


class Rules(NamedTuple):
    """What the replay holds other than the environments returned it."""

    reward_range: tuple[Tensor, Tensor] | None  # [M, 1] each, to which rewards are clipped; infinite for some members
    bootstrap_time_limits: bool

    @classmethod
    def from_config(cls, config: Config, device: torch.device) -> "Rules":
        """Those of the settings; without a member that clips there is no range."""
        clips = [member.reward_clip for member in config.members]
        limit = torch.tensor([[clip or math.inf] for clip in clips], device=device)
        return cls((-limit, limit) if any(clips) else None, config.bootstrap_time_limits)

    def reward(self, slot: Slot) -> Tensor:
        """Rewards [M, N] to store."""
        return slot.reward if self.reward_range is None else slot.reward.clamp(*self.reward_range)

    def terminated(self, slot: Slot) -> Tensor:
        """Where there is nothing to bootstrap from, [M, N]."""
        return slot.terminated if self.bootstrap_time_limits else slot.terminated | slot.truncated


class Intake(NamedTuple):
    """What takes in what the environments return; a normaliser that is off is None."""

    replay: Replay
    normalizer: Normalizer | None
    return_normalizer: ReturnNormalizer | None
    reduction: Reduction = ALONE  # statistics are of the environments of all processes

    def begin_(self, obs: Tensor) -> None:
        """Begin the stream at obs [M, N, O] of environments that were reset.  Waits for the device."""
        self.replay.reset_(obs)
        if self.normalizer is not None:
            self.normalizer.update_(obs, self.reduction)
        if self.return_normalizer is not None:
            self.return_normalizer.reset_()

    def add_(self, rules: Rules, gamma: Tensor, action: Tensor, came: Slot) -> None:
        """Take in what came of action [M, N, A]; gamma [M] discounts returns."""
        reward = rules.reward(came)
        if self.return_normalizer is not None:  # before the replay, whose is_dummy is still of the row that ends here
            done = came.terminated | came.truncated
            self.return_normalizer.update_(reward, done, ~self.replay.is_dummy, gamma, self.reduction)
        self.replay.add_(action, reward, rules.terminated(came), came.truncated, came.obs)
        if self.normalizer is not None:
            self.normalizer.update_(came.obs, self.reduction)


@torch.no_grad()
def store_step_(intake: Intake, rules: Rules, gamma: Tensor, policy: PolicyTensors, slots: list[Slot], p: int) -> None:
    """Complete the row of slot p with what the other one brought, and let its copy of the policy follow."""
    here, there = slots[p], slots[1 - p]
    intake.add_(rules, gamma, here.action, there)
    here.copy_policy_(policy, obs_norm=intake.normalizer is not None)


class Store:
    """Stores what comes of an actor's actions; its copies of the learner's policy follow."""

    def __init__(
        self,
        config: Config,
        learner: Learner,
        actor: Actor,
        replay: Replay,
        normalizer: Normalizer,
        return_normalizer: ReturnNormalizer | None,
    ) -> None:
        self._learner, self._actor = learner, actor
        used = normalizer if config.obs_norm else None
        self._intake = Intake(replay, used, return_normalizer, learner.algorithm.reduction)
        self._rules, self._gamma = Rules.from_config(config, learner.device), learner.buffers["hyper"]["gamma"]
        step = partial(store_step_, self._intake, self._rules, self._gamma, learner.policy, actor.slots)
        self._launch = Launch(step, {0: (0,), 1: (1,)}, [replay.added], learner.mode, compiled=False)
        self._stored = [torch.cuda.Event() if learner.device.type == "cuda" else None for _ in range(2)]

    def warm_up(self) -> None:
        """Capture now; changes no number."""
        if self._learner.mode == "captured":  # run the kernels once before, into memory of their own
            slots = self._actor.slots
            policy = PolicyTensors(*map(torch.clone, slots[0].policy))
            store_step_(self._scratch(), self._rules, self._gamma, policy, slots, 0)
        self._launch.warm_up([0, 1])

    def release(self) -> None:
        """Let go of the CUDA graphs."""
        self._launch.release()

    def _scratch(self) -> Intake:
        """One of the same sizes, with a replay of two rows."""
        slot, device = self._actor.slots[0], self._learner.device
        (m, n, obs_dim), action_dim = slot.obs.shape, slot.action.shape[-1]
        return Intake(
            Replay(m, n, n, obs_dim, action_dim, device, slot.obs.dtype),
            None if self._intake.normalizer is None else Normalizer(m, obs_dim, device),
            None if self._intake.return_normalizer is None else ReturnNormalizer(m, n, 1.0, device),
            self._intake.reduction,
        )

    def reset(self, obs: ObsArray, is_random: Sequence[bool]) -> None:
        """Begin the stream at obs [M * N, O] of environments that were reset.  Waits for the device."""
        with self._actor.idle():
            self._intake.begin_(self._actor.stage(obs, is_random))
            if self._actor.host_vec_steps == 0:
                for slot in self._actor.slots:
                    slot.copy_policy_(self._learner.policy, obs_norm=self._intake.normalizer is not None)

    def resume(self, obs: ObsArray, is_random: Sequence[bool], is_dummy: NDArray[np.bool_]) -> None:
        """Go on with the stream at obs [M * N, O] of environments that are again in that state.  Waits for the device.

        Should the replay have been left out of the checkpoint, it begins here.
        """
        with self._actor.idle():
            self._intake.replay.resume_(self._actor.stage(obs, is_random), torch.from_numpy(is_dummy))

    def add(self, step: Step, is_random: Sequence[bool]) -> None:
        """Take in what the environments returned for the last actions, and let the copy of the policy follow."""
        after = self._actor.coming
        before = 1 - after
        self._actor.copy_in(step, is_random, after=self._stored[after])
        self._launch([before])
        if (stored := self._stored[before]) is not None:
            stored.record()
