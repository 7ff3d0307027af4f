"""A trained policy, loaded from a run directory, for use anywhere: numpy or torch, one observation or a batch."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self, overload

import torch
from numpy.typing import NDArray
from torch import Tensor

from fastsac import checkpoint as checkpoints
from fastsac.algorithms import registry
from fastsac.algorithms.algorithm import Algorithm
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.nn import normalizer
from fastsac.run.run_state import RunState, find


class Policy:
    """One member's policy with its normaliser; `load` makes it."""

    def __init__(
        self,
        config: Config,
        algorithm: Algorithm,
        vector: Tensor,  # [P], what the algorithm acts by
        norm: tuple[Tensor, Tensor] | None,  # mean and reciprocal deviation of observations, [O], if normalised
        action_bounds: Sequence[Sequence[float]],  # (low, high) of each actuator; empty for (-1, 1)
    ) -> None:
        self.config, self.algorithm, self._vector, self._norm = config, algorithm, vector, norm
        self._bounds = torch.tensor(action_bounds).T if action_bounds else None  # [2, A]

    @classmethod
    def load(cls, run_dir: str | Path, member: int = 0, checkpoint: Literal["last", "best"] = "last") -> Self:
        """A policy from a run's newest whole checkpoint; the logger "fastsac" tells if newer ones are damaged.

        Args:
            run_dir: what `fastsac train` wrote.
            member: which of the run's members.
            checkpoint: last is the policy as it was then, best the one with the member's best evaluation until then.

        Raises:
            ValueError: not a run directory, no checkpoint, no such member, or no evaluation to be the best by.
        """
        run_dir = Path(run_dir)
        if not (run_dir / "config.json").exists():
            raise ValueError(f"{run_dir} is not a run directory: it has no config.json.")
        config = Config.load(run_dir)
        if not 0 <= member < config.num_members:
            raise ValueError(f"member must be in [0, {config.num_members - 1}], got {member}.")
        if checkpoint not in ("last", "best"):
            raise ValueError(f"checkpoint must be last or best, got {checkpoint!r}.")
        found = find(run_dir, with_replay=False)
        if found.note:
            logging.getLogger("fastsac").warning(found.note)
        state, run = checkpoints.read(found), RunState.from_json(found.meta)
        sizes = run.sizes
        spec = EnvSpec(run.env_id, sizes["obs_dim"], sizes["action_dim"], (), None, image=sizes.get("image"))
        algorithm = registry.get_algorithm(sizes["algo"])(config, spec)
        try:
            if checkpoint == "best":
                if state["best"]["return"][member] == -math.inf:
                    raise ValueError(f"{run_dir} has no evaluation by which a policy could be the best. Take the last.")
                vector, norm = state["best"]["params"][member], state["best"]
            else:
                vector, norm = state["state"]["params"][algorithm.acts_by][member], state["normalizer"]
            mean_and_rstd = (norm["mean"][member], norm["rstd"][member]) if config.obs_norm else None
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"the checkpoint in {run_dir} is not of the algorithm in its config.json.") from error
        return cls(config, algorithm, vector, mean_and_rstd, run.action_bounds)

    @property
    def obs_dim(self) -> int:
        """O, the length of an observation."""
        return self.algorithm.encoder.obs_dim

    @overload
    def act(self, obs: Tensor, deterministic: bool = True, normalized: bool = False) -> Tensor: ...
    @overload
    def act(self, obs: NDArray[Any], deterministic: bool = True, normalized: bool = False) -> NDArray[Any]: ...
    @torch.no_grad()
    def act(
        self, obs: Tensor | NDArray[Any], deterministic: bool = True, normalized: bool = False
    ) -> Tensor | NDArray[Any]:
        """Choose actions.

        Args:
            obs: [O] or [B, O], numpy or torch; of an image also [C, H, W] or [H, W, C], with or without B, in [0, 255].
            deterministic: the best; else a sample, drawn from torch's global generator.
            normalized: actions as `VectorEnv.send` wants them, in [-1, 1] or one-hot; else in the task's own units,
                as the `step` of a Gymnasium environment does.

        Returns:
            [A] or [B, A], of the kind that obs is; for discrete actions the choice, [] or [B], unless normalized.

        Raises:
            ValueError: the last axis is not O.
        """
        is_torch = isinstance(obs, Tensor)
        x = self._flat_image(torch.as_tensor(obs, dtype=torch.float32))
        device = x.device
        if x.dim() not in (1, 2) or x.shape[-1] != self.obs_dim:
            raise ValueError(f"obs must be [{self.obs_dim}] or [B, {self.obs_dim}], got {list(x.shape)}.")
        is_single = x.dim() == 1
        x = torch.atleast_2d(x.cpu())
        if self._norm is not None:
            x = normalizer.apply(x, *self._norm)
        noise = None if deterministic else torch.randn(len(x), self.algorithm.action_dim)
        action = self.algorithm.act(self._vector, x, noise)
        if self.algorithm.discrete and not normalized:
            action = action.argmax(-1)
        if self._bounds is not None and not normalized:
            low, high = self._bounds
            action = (low + (high - low) * (action + 1) / 2).clamp(low, high)
        action = action.squeeze(0) if is_single else action
        return action.to(device) if is_torch else action.numpy()

    def _flat_image(self, x: Tensor) -> Tensor:
        """Images of either layout as [..., O], channels first; everything else as it is."""
        image = self.algorithm.encoder.image
        if image is None or x.dim() < 3:
            return x
        channels, height, width = image
        if x.shape[-3:] == (height, width, channels):
            x = x.movedim(-1, -3)
        return x.flatten(-3) if x.shape[-3:] == image else x


load = Policy.load
