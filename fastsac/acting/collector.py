"""Stepping the environments: episode statistics, the update budget, where time goes.

Owns the training environments and the host's counters.  What it stores at vector step t is exactly what the
environments returned; dummy rows (see the contract in `fastsac.env`) count nowhere.

Axes: M members, N environments per member.  The vector environment holds M * N environments, member by member.
"""

import math
import time
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastsac.acting.behaviour import Behaviour
from fastsac.acting.errors import ActionError, CheckedEnv, of_members, told
from fastsac.config.settings import Config, update_budget
from fastsac.env import SavesState, Step, VectorEnv
from fastsac.learning.learner import Learner, copy_tree_

RECENT_EPISODES = 100


class EpisodeStats:
    """Returns and lengths of finished episodes, per member.

    Args:
        num_members: M.
        num_envs: N.
    """

    def __init__(self, num_members: int, num_envs: int) -> None:
        self._running_return = np.zeros((num_members, num_envs))  # [M, N]
        self._running_length = np.zeros((num_members, num_envs), np.int64)
        self._returns: list[list[float]] = [[] for _ in range(num_members)]
        self._lengths: list[list[int]] = [[] for _ in range(num_members)]
        self.last_returns = [deque[float](maxlen=RECENT_EPISODES) for _ in range(num_members)]

    def begin(self) -> None:
        """All episodes begin now."""
        self._running_return[:] = 0.0
        self._running_length[:] = 0

    def add(self, reward: NDArray[np.float32], done: NDArray[np.bool_], valid: NDArray[np.bool_]) -> None:
        """Take in one vector step: reward, done and whether the row is a transition, each [M, N]."""
        self._running_return += np.where(valid, reward, 0.0)
        self._running_length += valid
        if not done.any():
            return
        for m, n in np.argwhere(done):
            self._returns[m].append(float(self._running_return[m, n]))
            self._lengths[m].append(int(self._running_length[m, n]))
            self.last_returns[m].append(float(self._running_return[m, n]))
        self._running_return[done] = 0.0
        self._running_length[done] = 0

    def last_means(self) -> list[float]:
        """Mean return of the last 100 episodes, per member; nan where there were fewer."""
        return [sum(r) / RECENT_EPISODES if len(r) == RECENT_EPISODES else math.nan for r in self.last_returns]

    def take(self) -> list[dict[str, float]]:
        """Means over the episodes that ended since the last call, per member; nan where none did."""
        means = [
            {
                "episode_return": float(np.mean(returns)) if returns else math.nan,
                "episode_length": float(np.mean(lengths)) if lengths else math.nan,
            }
            for returns, lengths in zip(self._returns, self._lengths, strict=True)
        ]
        self._returns = [[] for _ in self._returns]
        self._lengths = [[] for _ in self._lengths]
        return means

    def finished(self) -> dict[str, list[list[float]]]:
        """JSON values, per member: episodes since the last `take`, and the last 100 returns."""

        def numbers(members: Iterable[Iterable[float]]) -> list[list[float]]:
            return [[float(x) for x in member] for member in members]

        return {
            "returns": numbers(self._returns),
            "lengths": numbers(self._lengths),
            "last_returns": numbers(self.last_returns),
        }

    def load_finished(self, episodes: dict[str, list[list[float]]]) -> None:
        """Take over what `finished` gave."""
        self._returns = [*map(list, episodes["returns"])]
        self._lengths = [[int(length) for length in lengths] for lengths in episodes["lengths"]]
        self.last_returns = [deque(returns, maxlen=RECENT_EPISODES) for returns in episodes["last_returns"]]

    def running(self) -> dict[str, Tensor]:
        """Returns and lengths so far of the episodes that are under way, [M, N] each; views."""
        return {name: torch.from_numpy(getattr(self, f"_{name}")) for name in ("running_return", "running_length")}


class Collector:
    """Steps the environments and feeds the learner's replay and normaliser.

    Args:
        config: settings.
        env: M * N environments.
        learner: owns the replay, and the policy that acts.
    """

    def __init__(self, config: Config, env: VectorEnv, learner: Learner) -> None:
        self.config, self.env, self.learner = config, env, learner
        self.behaviour = Behaviour(config, learner)
        self.env_steps = [0] * config.num_members
        self.learn_from = [0] * config.num_members  # env_steps before which the replay holds too little
        self.stats = EpisodeStats(config.num_members, config.num_envs)
        on_cuda = learner.device.type == "cuda"
        self._overlap = on_cuda if config.overlap == "auto" else config.overlap == "on"
        self._shape = (config.num_members, config.num_envs)
        self._is_dummy = np.zeros(self._shape, np.bool_)
        self._locate = of_members(config, config.num_envs, lambda: self.env_steps)
        self._checked = self._check_env()
        self._early: Step | None = None
        self._env_s = self._act_s = 0.0

    @property
    def waited(self) -> dict[str, float]:
        """Seconds that the host spent waiting for the environments, and for the device (on a CPU: computing)."""
        return {"env": self._env_s, "device": self._act_s + self.learner.compute_s}

    def warm_up(self) -> None:
        """Compile and capture now; changes no number."""
        self.behaviour.warm_up()

    @property
    def vec_steps(self) -> int:
        """Vector steps so far."""
        return self.behaviour.host_vec_steps

    def begin(self) -> None:
        """Reset all environments and start the stream, or start it anew with other environments."""
        self._checked = self._check_env()
        obs = self._checked.reset()
        self._is_dummy[:] = False
        self.stats.begin()
        self.behaviour.begin(obs, self._is_random())

    def env_state(self) -> dict[str, Any] | None:
        """Where the environments and their episodes are; None where the back end cannot save that."""
        if not isinstance(self.env, SavesState):
            return None
        saved = told(self.env.state_dict, "state_dict", self._locate)
        simulator = {name: torch.from_numpy(np.array(value)) for name, value in saved.items()}
        return {**self._episodes(), "obs": torch.from_numpy(self.behaviour.obs()), "simulator": simulator}

    def go_on(self, state: dict[str, Any]) -> None:
        """Instead of `begin`: continue the episodes of what `env_state` gave.

        Raises:
            ValueError: it is of other environments.
        """
        assert isinstance(self.env, SavesState)
        obs, simulator = state["obs"].numpy(), state["simulator"]
        copy_tree_(self._episodes(), {name: state.get(name) for name in self._episodes()}, "env")
        arrays = {name: value.numpy() for name, value in simulator.items()}
        told(partial(self.env.load_state_dict, arrays), "load_state_dict", self._locate)
        self._checked = self._check_env()
        self._checked.check_obs(obs)
        self.behaviour.go_on(obs, self._is_dummy, self._is_random())

    def _episodes(self) -> dict[str, Tensor]:
        """Views of what the collector knows of the episodes that are under way."""
        return {**self.stats.running(), "is_dummy": torch.from_numpy(self._is_dummy)}

    def send(self) -> None:
        """Choose actions and start the environments' step.

        With overlap the environments step on CPU threads while the launches that follow run on the device.  On a CPU
        both want the same cores, and taking turns is faster, so the step is awaited here; its result is kept for
        `recv`, and everything happens in the same logical order on both.
        """
        began = time.perf_counter()
        action = self.behaviour.act()
        acted = time.perf_counter()
        try:
            self._checked.send(action)
        except ActionError:
            self.take_back()
            raise
        if not self._overlap:
            self._early = self._checked.recv()
        self._act_s += acted - began
        self._env_s += time.perf_counter() - acted

    def recv(self) -> None:
        """Wait for the environments, and store what they returned."""
        began = time.perf_counter()
        step, self._early = self._early or self._checked.recv(), None
        self._env_s += time.perf_counter() - began
        flags = {k: getattr(step, k).reshape(self._shape) for k in ("reward", "terminated", "truncated")}
        done, valid = flags["terminated"] | flags["truncated"], ~self._is_dummy
        self.stats.add(flags["reward"], done, valid)
        self.env_steps = [s + int(v) for s, v in zip(self.env_steps, valid.sum(-1), strict=True)]
        self._is_dummy = done
        self.behaviour.store({"obs": step.obs, **flags, "random": self._is_random()})
        if not self._overlap and self.learner.device.type == "cuda":
            torch.cuda.synchronize()  # overlap was switched off: wait for the launches

    def take_back(self) -> None:
        """Forget the vector step that `send` began: the next one is it again."""
        self._early = None
        self.behaviour.take_back()

    def due(self) -> list[int]:
        """Gradient steps that each member's budget allows and that are not launched yet.

        Steps beyond total_steps, which the last vector step may bring, give no updates: 1 and 64 environments do the
        same number.
        """
        c = self.config
        return [
            max(0, update_budget(min(steps, c.total_steps), c.learning_starts, c.utd_ratio) - done)
            if steps >= start
            else 0
            for steps, start, done in zip(self.env_steps, self.learn_from, self.learner.grad_steps, strict=True)
        ]

    def _is_random(self) -> list[bool]:
        return [steps < self.config.learning_starts for steps in self.env_steps]

    def _check_env(self) -> CheckedEnv:
        num_envs = self.config.num_members * self.config.num_envs
        return CheckedEnv(self.env, self._locate, self._ages, (num_envs, self.learner.algorithm.encoder.obs_dim))

    def _ages(self) -> NDArray[np.int64]:
        """Steps that the episode of each environment has had, [M * N]; -1 where it is over."""
        return np.where(self._is_dummy, -1, self.stats.running()["running_length"].numpy()).reshape(-1)
