"""Stepping the environments: checks of what comes in, episode statistics, the update budget, where time goes.

Owns the training environments and the host's counters.  What it stores at vector step t is exactly what the
environments returned; dummy rows (see the contract in `fastsac.env`) count nowhere.

Axes: M members, N environments per member.  The vector environment holds M * N environments, member by member.
"""

import math
import time
import traceback
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastsac.behaviour import Behaviour
from fastsac.config import Config, update_budget
from fastsac.env import SavesState, Step, VectorEnv, first_line
from fastsac.learner import Learner, copy_tree_


class BadStepError(RuntimeError):
    """An environment broke the contract of `fastsac.env`."""


class EnvFailedError(BadStepError):
    """An environment raised an exception."""


class NotFiniteError(RuntimeError):
    """A number that is NaN or infinite came from an environment or out of a loss."""


class ActionError(NotFiniteError):
    """A policy gave NaN for an action; no environment has seen it."""


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
        self._obs_shape = (config.num_members * config.num_envs, learner.agent.encoder.obs_dim)
        self._is_dummy = np.zeros(self._shape, np.bool_)
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
        obs = self._call("reset")
        self._check(obs)
        self._is_dummy[:] = False
        self.stats.begin()
        self.behaviour.begin(obs, self._is_random())

    def env_state(self) -> dict[str, Any] | None:
        """Where the environments and their episodes are; None where the back end cannot save that."""
        if not isinstance(self.env, SavesState):
            return None
        simulator = {name: torch.from_numpy(np.array(value)) for name, value in self.env.state_dict().items()}
        return {**self._episodes(), "obs": torch.from_numpy(self.behaviour.obs()), "simulator": simulator}

    def go_on(self, state: dict[str, Any]) -> None:
        """Instead of `begin`: continue the episodes of what `env_state` gave.

        Raises:
            ValueError: it is of other environments.
        """
        assert isinstance(self.env, SavesState)
        obs, simulator = state["obs"].numpy(), state["simulator"]
        copy_tree_(self._episodes(), {name: state.get(name) for name in self._episodes()}, "env")
        self.env.load_state_dict({name: value.numpy() for name, value in simulator.items()})
        self._check(obs)
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
        if not np.isfinite(action).all():
            self.take_back()
            raise ActionError(f"the policy of {self._owner(action)[0]} gave an action that is not finite.")
        self._call("send", action)
        if not self._overlap:
            self._early = self._call("recv")
        self._act_s += acted - began
        self._env_s += time.perf_counter() - acted

    def recv(self) -> None:
        """Wait for the environments, check what they returned, and store it."""
        began = time.perf_counter()
        step, self._early = self._early or self._call("recv"), None
        self._env_s += time.perf_counter() - began
        self._check(step.obs, step.reward, step.terminated, step.truncated)
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

    def _check(self, obs: NDArray[Any], *rest: NDArray[Any]) -> None:
        """Shapes, and that all numbers are finite."""
        if obs.shape != self._obs_shape or any(a.shape != self._obs_shape[:1] for a in rest):
            found = ", ".join(str(list(a.shape)) for a in (obs, *rest))
            raise BadStepError(
                f"the environment returned arrays of shape {found}, where obs must be {list(self._obs_shape)} and "
                f"reward, terminated and truncated [{self._obs_shape[0]}]. Its spec or its back end is wrong."
            )
        self._check_finite("an observation", obs)
        if rest:
            self._check_finite("a reward", rest[0])

    def _check_finite(self, what: str, value: NDArray[np.float32]) -> None:
        if np.isfinite(value).all():
            return
        name, env, env_steps = self._owner(value)
        raise NotFiniteError(
            f"environment {env} of {name} returned {what} that is not finite, at env step {env_steps}. Checkpoints "
            "written so far are kept."
        )

    def _owner(self, value: NDArray[np.float32]) -> tuple[str, int, int]:
        """Name of the member, number among its environments, and env steps, of the first row that is not finite."""
        member, env = divmod(int(np.argwhere(~np.isfinite(value))[0, 0]), self.config.num_envs)
        return self.config.member_name(member), env, self.env_steps[member]

    def _call(self, method: str, *args: Any) -> Any:
        """Call the environments; what they raise is told with the place, and the environment where that is known."""
        try:
            return getattr(self.env, method)(*args)
        except Exception as error:
            raise env_failed(error, method, self.config, min(self.env_steps)) from error


def env_failed(error: Exception, doing: str, config: Config, env_steps: int) -> EnvFailedError:
    """One line on an exception that came out of the environments.

    Args:
        error: it; `env_index` on it tells which environment it was.
        doing: what was called.
        config: settings.
        env_steps: by now.
    """
    who, index = "the environments", getattr(error, "env_index", None)
    if index is not None:
        member, env = divmod(index, config.num_envs)
        who = f"environment {env} of {config.member_name(member)}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return EnvFailedError(
        f"{who} failed in {doing} at env step {env_steps}: {type(error).__name__}: {first_line(error)} "
        f"({frame.filename}, line {frame.lineno}). Checkpoints written so far are kept."
    )
