"""A trained policy, of a run or alone in a folder, for use anywhere: numpy or torch, one observation or a batch."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self, overload

import torch
from numpy.typing import NDArray
from torch import Tensor

from fastsac import policies
from fastsac.algorithms.actions import DiscreteActions
from fastsac.algorithms.algorithm import Algorithm
from fastsac.config.settings import Config
from fastsac.env import Box, Discrete, EnvSpec, Space, action_shape, action_space, flatten, observation_space
from fastsac.nn import normalizer
from fastsac.nn.network import Net
from fastsac.nn.vectors import Params
from fastsac.run.stored_policy import read_stored

Arrays = NDArray[Any] | Mapping[str, Any] | int | float


class Policy:
    """One member's policy with its normaliser; `load` makes it.

    Attributes:
        config: the settings of the run.
        spec: the task that it was trained in.
        member: which of the run's members it is.
        run_dir: where it was loaded from.
        env_steps: how long it had been trained then, by the steps of its environments.
        algorithm: what it was trained by.
        numbers: what it computes with, by name: parameters, statistics, bounds of actions.
    """

    def __init__(
        self,
        config: Config,
        algorithm: Algorithm,
        spec: EnvSpec,
        vector: Tensor,  # [P], what the algorithm acts by
        norm: tuple[Tensor, Tensor] | None,  # mean and reciprocal deviation of observations, [O], if normalised
        run_dir: Path,
        member: int,
        env_steps: int,
    ) -> None:
        self.config, self.algorithm, self.spec = config, algorithm, spec
        self.run_dir, self.member, self.env_steps = run_dir, member, env_steps
        self.numbers = dict(algorithm.learned[algorithm.acts_by].views(vector))
        if norm is not None:
            self.numbers |= {"obs_mean": norm[0], "obs_rstd": norm[1]}
        if spec.action_bounds:
            low, high = torch.tensor(spec.action_bounds).T  # [A] each
            self.numbers |= {"action_low": low, "action_high": high}

    @classmethod
    def load(cls, run_dir: str | Path, member: int = 0, checkpoint: Literal["last", "best"] = "last") -> Self:
        """A policy from a run's newest whole checkpoint; the logger "fastsac" tells if newer ones are damaged.

        Args:
            run_dir: what `fastsac train` wrote, or `fastsac extract --policy-only`; or "demo:NAME" for one that comes
                with the package, as `fastsac demo` lists them.
            member: which of the run's members.
            checkpoint: last is the policy as it was then, best the one with the member's best evaluation until then.

        Raises:
            ValueError: not a run directory, no checkpoint, no such member, or no evaluation to be the best by.
        """
        run_dir = policies.resolve(run_dir)
        stored = read_stored(run_dir, member, checkpoint)
        task = stored.task.spec
        return cls(stored.config, stored.algorithm, task, stored.vector, stored.norm, run_dir, member, stored.env_steps)

    def __repr__(self) -> str:
        who = f"{self.spec.env_id}, {self.config.algo}, {self.config.member_name(self.member)}"
        return f"Policy({who}: {self.observation_space} -> {self.action_space})"

    @property
    def obs_dim(self) -> int:
        """O, the length of an observation once it is flattened."""
        return self.spec.obs_dim

    @property
    def observation_space(self) -> Space:
        """What the task shows."""
        return observation_space(self.spec)

    @property
    def action_space(self) -> Box | Discrete:
        """What the task takes, and `act` returns."""
        return action_space(self.spec)

    @overload
    def act(self, obs: Tensor, deterministic: bool = True, normalized: bool = False) -> Tensor: ...
    @overload
    def act(self, obs: Arrays, deterministic: bool = True, normalized: bool = False) -> NDArray[Any]: ...
    @torch.no_grad()
    def act(self, obs: Tensor | Arrays, deterministic: bool = True, normalized: bool = False) -> Tensor | NDArray[Any]:
        """Choose actions for what the task's `step` or `reset` returned as observation, of one environment or of B.

        Args:
            obs: an array as in `observation_space`, or a dictionary of them, numpy or torch, with an axis B before
                each for a batch; or [O] or [B, O], flattened.  Images may be [C, H, W] or [H, W, C], in [0, 255].
            deterministic: the best; else a sample, drawn from torch's global generator.
            normalized: actions as `VectorEnv.send` wants them, in [-1, 1] or one-hot, [A] or [B, A]; else as in
                `action_space`, in the task's own units.

        Returns:
            An action, or B of them; a tensor on the device of obs if that is one, else numpy.

        Raises:
            ValueError: obs is not of the task, or holds a number that is not finite.
        """
        tensor = next(_tensors(obs), None)
        rows, is_single = flatten(self.spec, _arrays(obs))
        action = self.choose(torch.tensor(rows), deterministic)  # a copy: rows may be read-only
        if not normalized:
            action = self.in_units(action)
        action = action.squeeze(0) if is_single else action
        if tensor is not None:
            return action.to(tensor.device)
        numbers: NDArray[Any] = action.numpy()[()]  # one choice as a number, which can be the key of a dictionary
        return numbers

    @torch.no_grad()
    def choose(self, rows: Tensor, deterministic: bool = True) -> Tensor:
        """Actions [B, A], in [-1, 1] or one-hot, for observations [B, O] as of a `VectorEnv`, on the CPU."""
        noise = None if deterministic else torch.randn(len(rows), self.algorithm.action_dim)
        return self.compute(self.numbers, rows, noise)

    def choose_rows(self, rows: NDArray[Any], deterministic: bool = True) -> NDArray[Any]:
        """As `choose`, of and as arrays."""
        actions: NDArray[Any] = self.choose(torch.from_numpy(rows), deterministic).numpy()
        return actions

    def compute(self, numbers: Params, rows: Tensor, noise: Tensor | None) -> Tensor:
        """As `choose`, a pure function of numbers, rows [B, O] and standard normal noise [B, A]; without, the best."""
        return self.algorithm.choose(*self._inputs(numbers, rows), noise)

    def in_units(self, action: Tensor) -> Tensor:
        """Actions [B, A], in [-1, 1] or one-hot, as the task takes them, [B, ...]."""
        return self.scale(self.numbers, action).reshape(len(action), *action_shape(self.spec))

    def scale(self, numbers: Params, action: Tensor) -> Tensor:
        """Actions [B, A], in [-1, 1], in the task's units; of one-hot ones the task's numbers of the choices, [B]."""
        if self.algorithm.discrete:
            return action.argmax(-1) + self.spec.action_start
        if "action_low" not in numbers:
            return action
        low, high = numbers["action_low"], numbers["action_high"]
        return (low + (high - low) * (action + 1) / 2).clamp(low, high)

    @torch.no_grad()
    def scores(self, rows: Tensor, noise: Tensor | None) -> Tensor:
        """What a discrete policy chooses by, [B, A]: the greatest; arguments are those of `compute`."""
        assert isinstance(self.algorithm, DiscreteActions)
        return self.algorithm.scores(*self._inputs(self.numbers, rows), noise)

    def _inputs(self, numbers: Params, rows: Tensor) -> tuple[Net, Tensor]:
        """The network that acts, and what it sees of rows [B, O]."""
        x = rows.float()
        if "obs_mean" in numbers:
            x = normalizer.apply(x, numbers["obs_mean"], numbers["obs_rstd"])
        return Net(self.algorithm.networks[self.algorithm.acts_by], numbers), x

    def predict(
        self,
        observation: Tensor | Arrays,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """As `act`, with the arguments and the pair (action, state) of Stable-Baselines3; its default is a sample, too.

        The policy has no memory: `state` is returned as it is, and `episode_start` is not looked at.
        """
        return self.act(observation, deterministic), state


def _tensors(obs: Any) -> Iterator[Tensor]:
    """The tensors in an observation."""
    for value in obs.values() if isinstance(obs, Mapping) else (obs,):
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, Mapping):
            yield from _tensors(value)


def _arrays(obs: Any) -> Any:
    """An observation with arrays in place of tensors."""
    if isinstance(obs, Mapping):
        return {name: _arrays(value) for name, value in obs.items()}
    if isinstance(obs, Tensor):
        obs = obs.detach().cpu()
        return (obs.float() if obs.is_floating_point() else obs).numpy()
    return obs


load = Policy.load
