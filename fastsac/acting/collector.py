"""Stepping the environments: the update budget, and the seconds that the host waits.

Owns the training environments and the host's counters.  What it stores at vector step t is exactly what the
environments returned; dummy rows (see the contract in `fastsac.env`) count nowhere.

Where several processes train one agent, each has its environments, and env steps are counted over all of them: how many
rows of a vector step are transitions is known from the one before, and is added up while the environments step.  So
all processes count the same at the same vector step, and wait for nothing but environments.

Axes: M members, N environments per member.  The vector environment holds M * N environments, member by member.
"""

import time
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastsac.acting.actor import Actor
from fastsac.acting.episodes import EpisodeStats
from fastsac.acting.errors import ActionError, CheckedEnv, call_env, of_members
from fastsac.acting.store import Store
from fastsac.acting.tally import OwnTally, Tally
from fastsac.config.budget import update_budget
from fastsac.config.settings import Config
from fastsac.config.shares import PartOfAgent
from fastsac.env import FloatArray, SavesState, Step, VectorEnv
from fastsac.learning.learner import Learner, copy_tree_
from fastsac.learning.replay import Replay
from fastsac.nn.normalizer import Normalizer
from fastsac.nn.return_normalizer import ReturnNormalizer


class Collector:
    """Steps M * N environments by the learner's policy, and fills its replay and its normalisers.

    Attributes:
        env_steps: of each member, of all processes.
        wants_stop: whether this process wants the run to end; set from outside.
        is_stop_wanted: whether any process did at the vector step before; the same on all of them.
    """

    def __init__(
        self,
        config: Config,
        env: VectorEnv,
        learner: Learner,
        replay: Replay,
        normalizer: Normalizer,
        return_normalizer: ReturnNormalizer | None,
        tally: Tally | None = None,
    ) -> None:
        self.config, self.env, self._learner = config, env, learner
        self.actor = Actor(config, learner)
        self.store = Store(config, learner, self.actor, replay, normalizer, return_normalizer)
        self.env_steps = [0] * config.num_members
        self.wants_stop = self.is_stop_wanted = False
        self._tally = tally or OwnTally()
        is_part = isinstance(config, PartOfAgent)
        self._goes_back_with_others = is_part and config.on_nan == "rollback"
        self.learn_from = [0] * config.num_members  # env steps before which the replay holds too little to learn from
        self.stats = EpisodeStats(config.num_members, config.num_envs, is_part, config.info_metrics)
        self._on_cuda = learner.device.type == "cuda"
        self._overlap = self._on_cuda if config.overlap == "auto" else config.overlap == "on"
        self._is_dummy = np.zeros((config.num_members, config.num_envs), np.bool_)
        self._locate = of_members(config, config.num_envs, lambda: self.env_steps, first=config.first_env)
        self._early: Step | None = None
        self._saved: dict[str, Any] | None = None  # where the environments were, of a checkpoint
        self._env_s = self._act_s = 0.0

    @property
    def waited(self) -> dict[str, float]:
        """Seconds that the host spent waiting for the environments, and for the device (on a CPU: computing)."""
        return {"env": self._env_s, "device": self._act_s + self._learner.compute_s}

    @property
    def vec_steps(self) -> int:
        """Vector steps so far."""
        return self.actor.host_vec_steps

    def warm_up(self) -> None:
        """Compile and capture now; changes no number."""
        self.actor.warm_up()
        self.store.warm_up()

    def release(self) -> None:
        """Let go of the CUDA graphs."""
        self.actor.release()
        self.store.release()

    def start(self) -> None:
        """Resume the episodes of the loaded state, or else reset."""
        if self._saved is None:
            self.reset()
        else:
            self._resume(self._saved)

    def reset(self) -> None:
        """Reset all environments: the stream of rows begins, or goes on in new episodes."""
        self._checked = self._check_env()
        obs = self._checked.reset()
        self._is_dummy[:] = False
        self.stats.reset()
        self._begin_tally()
        self.store.reset(obs, self._is_random())

    def _resume(self, saved: dict[str, Any]) -> None:
        assert isinstance(self.env, SavesState)
        obs, simulator = saved["obs"].numpy(), saved["simulator"]
        copy_tree_(self._episodes(), {name: saved.get(name) for name in self._episodes()}, "env")
        arrays = {name: value.numpy() for name, value in simulator.items()}
        call_env(partial(self.env.load_state_dict, arrays), "load_state_dict", self._locate)
        self._checked = self._check_env()
        self._checked.check_obs(obs)
        self._begin_tally()
        self.store.resume(obs, self._is_random(), self._is_dummy)

    def state_dict(self) -> dict[str, Any]:
        """The actor's state, and that of the environments and their episodes if the back end can save it."""
        state = {"actor": self.actor.state_dict()}
        if isinstance(self.env, SavesState):
            saved = call_env(self.env.state_dict, "state_dict", self._locate)
            simulator = {name: torch.from_numpy(np.array(value)) for name, value in saved.items()}
            state["env"] = {**self._episodes(), "obs": torch.from_numpy(self.actor.obs()), "simulator": simulator}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave, among other parts, or raise a ValueError; environments do so in `start`."""
        self.actor.load_state_dict(state.get("actor", {}))
        self._saved = state.get("env") if isinstance(self.env, SavesState) else None

    def send(self) -> None:
        """Choose actions and start the environments' step.

        With overlap they step on CPU threads while the launches that follow run on the device.  On a CPU both want the
        same cores, and taking turns is faster, so the step is awaited here; its result is kept for `recv`.
        """
        began = time.perf_counter()
        action = self.actor.act()
        acted = time.perf_counter()
        try:
            if self._goes_back_with_others:
                self._check_with_others(action)
            self._checked.send(action)
        except ActionError:
            self.undo_act()
            raise
        if not self._overlap:
            self._early = self._checked.recv()
        self._act_s += acted - began
        self._env_s += time.perf_counter() - acted

    def _check_with_others(self, action: FloatArray) -> None:
        """Raise an ActionError in all processes where one has an action that is not finite.

        They have the same parameters, but for other observations these may give finite actions; one that went back
        alone would be a vector step behind.
        """
        failure: ActionError | None = None
        try:
            self._checked.check_action(action)
        except ActionError as error:
            failure = error
        if self._tally.add_up(int(failure is not None)) > 0:
            place = self._locate(0)
            elsewhere = f"the policy{place.owner} gave another process an action that is not finite{place.when}."
            raise failure or ActionError(elsewhere)

    def recv(self) -> None:
        """Wait for the environments, and store what they returned."""
        began = time.perf_counter()
        step, self._early = self._early or self._checked.recv(), None
        *num_valid, num_wanting = self._tally.finish()
        self._env_s += time.perf_counter() - began
        done = (step.terminated | step.truncated).reshape(self._is_dummy.shape)  # [M, N]
        valid = ~self._is_dummy
        success = None if step.success is None else step.success.reshape(done.shape)
        self.stats.add(step.reward.reshape(done.shape), done, valid, success)
        if step.info is not None:
            self.stats.info.add(step.info, valid)
        self.env_steps = [s + v for s, v in zip(self.env_steps, num_valid, strict=True)]
        self.is_stop_wanted = num_wanting > 0
        self._is_dummy = done
        self._begin_tally()
        self.store.add(step, self._is_random())
        if self._on_cuda and not self._overlap:
            torch.cuda.synchronize()  # overlap was switched off: wait for the launches

    def _begin_tally(self) -> None:
        """Begin to add up what the coming vector step counts for."""
        self._tally.begin([*(~self._is_dummy).sum(-1).tolist(), int(self.wants_stop)])

    def undo_act(self) -> None:
        """Forget the vector step that `send` began: the next one is it again."""
        self._early = None
        self.actor.undo_act()

    def due(self) -> list[int]:
        """Gradient steps that each member's budget allows and that are not launched yet.

        Steps beyond total_steps, which the last vector step may bring, give no updates: 1 and 64 environments do the
        same number.
        """
        due = []
        members = zip(self.config.members, self.env_steps, self.learn_from, self._learner.grad_steps, strict=True)
        for c, steps, start, done in members:
            budget = update_budget(min(steps, c.total_steps), c.learning_starts, c.utd_ratio)
            due.append(max(0, budget - done) if steps >= start else 0)
        return due

    def _is_random(self) -> list[bool]:
        return [steps < c.num_random_steps for c, steps in zip(self.config.members, self.env_steps, strict=True)]

    def _episodes(self) -> dict[str, Tensor]:
        """Views of the episodes that are under way."""
        return {**self.stats.running(), "is_dummy": torch.from_numpy(self._is_dummy)}

    def _check_env(self) -> CheckedEnv:
        shape = (self._is_dummy.size, self._learner.algorithm.encoder.obs_dim)
        return CheckedEnv(self.env, self._locate, self._ages, shape, self.config.info_metrics)

    def _ages(self) -> NDArray[np.int64]:
        """Steps that the episode of each environment has had, [M * N]; -1 where it is over."""
        return np.where(self._is_dummy, -1, self.stats.running_length).reshape(-1)
