"""The hop between environments and device: staging, checks of what comes in, episode statistics, the update budget.

Owns the training environments and the host's counters.  What it stores at vector step t is exactly what the
environments returned; dummy rows (see the contract in `fastsac.env`) count nowhere.

Axes: M members, N environments per member.  The vector environment holds M * N environments, member by member.
"""

import math
from collections import deque
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastsac.config import Config, update_budget
from fastsac.env import Step, VectorEnv
from fastsac.learner import Learner


class NotFiniteError(RuntimeError):
    """A number that is NaN or infinite came from an environment or out of a loss."""


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
        self.last_returns = [deque[float](maxlen=20) for _ in range(num_members)]

    def add(self, reward: NDArray[np.float32], done: NDArray[np.bool_], valid: NDArray[np.bool_]) -> None:
        """Take in one vector step: reward, done and whether the row is a transition, each [M, N]."""
        self._running_return += np.where(valid, reward, 0.0)
        self._running_length += valid
        for m, n in np.argwhere(done):
            self._returns[m].append(float(self._running_return[m, n]))
            self._lengths[m].append(int(self._running_length[m, n]))
            self.last_returns[m].append(float(self._running_return[m, n]))
        self._running_return[done] = 0.0
        self._running_length[done] = 0

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


class Collector:
    """Steps the environments and feeds the learner's replay and normaliser.

    Args:
        config: settings.
        env: M * N environments.
        learner: acts, and owns the replay.
    """

    def __init__(self, config: Config, env: VectorEnv, learner: Learner) -> None:
        self.config, self.env, self.learner = config, env, learner
        self.env_steps = [0] * config.seeds
        self.stats = EpisodeStats(config.seeds, config.num_envs)
        self.obs = torch.empty(0)
        self._shape = (config.seeds, config.num_envs)
        self._is_dummy = np.zeros(self._shape, np.bool_)
        self._action = torch.empty(0)
        self._early: Step | None = None
        self._warm: list[bool] = []
        self._staging: dict[str, Tensor] = {}

    def begin(self) -> None:
        """Reset all environments and start (or, after a resume, restart) the stream."""
        obs = self.env.reset()
        self._check_finite("an observation", obs)
        self.obs = self._to_device("obs", obs)
        self._is_dummy[:] = False
        self.learner.replay.begin_(self.obs)
        self._update_normalizer()

    def send(self) -> None:
        """Choose actions by the actor as of the launches made so far, and start the environments' step.

        On CUDA the environments go on stepping on CPU threads while the learner's launches run.  On a CPU both want
        the same cores, and taking turns is faster, so the step is awaited here; its result is kept for `recv`, and
        everything happens in the same logical order on both.
        """
        warm = [steps < self.config.learning_starts for steps in self.env_steps]
        if warm != self._warm:  # this copy waits for the device, so make it only where it says something new
            self._warm = warm
            self.learner.warm.copy_(torch.tensor(warm))
        self._action = self.learner.act(self.obs)  # [M, N, A]
        # The one wait of the loop for the device: the environments need the actions.
        self.env.send(self._action.flatten(0, 1).cpu().numpy())
        if self.learner.device.type == "cpu":
            self._early = self.env.recv()

    def recv(self) -> None:
        """Wait for the environments, check what they returned, and store it."""
        step, self._early = self._early or self.env.recv(), None
        self._check_finite("an observation", step.obs)
        self._check_finite("a reward", step.reward)
        flags = {k: getattr(step, k).reshape(self._shape) for k in ("reward", "terminated", "truncated")}
        done, valid = flags["terminated"] | flags["truncated"], ~self._is_dummy
        self.stats.add(flags["reward"], done, valid)
        self.env_steps = [s + int(v) for s, v in zip(self.env_steps, valid.sum(-1), strict=True)]
        self._is_dummy = done

        self.obs = self._to_device("obs", step.obs)
        rows = {k: self._to_device(k, v) for k, v in flags.items()}
        self.learner.replay.add_(self._action, rows["reward"], rows["terminated"], rows["truncated"], self.obs)
        self._update_normalizer()

    def due(self) -> list[int]:
        """Gradient steps that each member's budget allows and that are not launched yet.

        Steps beyond total_steps, which the last vector step may bring, give no updates: 1 and 64 environments do the
        same number.
        """
        c = self.config
        return [
            max(0, update_budget(min(steps, c.total_steps), c.learning_starts, c.utd_ratio) - done)
            for steps, done in zip(self.env_steps, self.learner.grad_steps, strict=True)
        ]

    def _update_normalizer(self) -> None:
        if self.config.obs_norm:
            self.learner.normalizer.update_(self.obs)

    def _to_device(self, name: str, value: NDArray[Any]) -> Tensor:
        """Array [M * N, ...] or [M, N, ...] as a device tensor [M, N, ...], through pinned memory on CUDA."""
        host = torch.from_numpy(value.reshape(*self._shape, *value.shape[1:]) if name == "obs" else value)
        if self.learner.device.type == "cpu":
            return host
        # The copy from the pinned buffer has finished by the time of the next write: the wait for the actions of
        # the next vector step comes after it on the same stream.
        if name not in self._staging:
            self._staging[name] = torch.empty_like(host).pin_memory()
        self._staging[name].copy_(host)
        return self._staging[name].to(self.learner.device, non_blocking=True)

    def _check_finite(self, what: str, value: NDArray[np.float32]) -> None:
        if np.isfinite(value).all():
            return
        index = int(np.argwhere(~np.isfinite(value))[0, 0])
        member, env = divmod(index, self.config.num_envs)
        raise NotFiniteError(
            f"environment {env} of member {member} (seed {self.config.member_seeds[member]}) returned {what} that is "
            f"not finite, at env step {self.env_steps[member]}. Checkpoints written so far are kept."
        )
