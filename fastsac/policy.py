"""A trained policy, loaded from a run directory, for use anywhere: numpy or torch, one observation or a batch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastsac import checkpoint, nets, normalize
from fastsac.config import Config


class Policy:
    """One member's actor with its normaliser.

    Args:
        actor: [P], the actor's vector.
        obs_dim: O.
        shapes: of the actor's parameters.
        mean: [O], of the normaliser; None where observations are not normalised.
        rstd: [O], likewise.
        action_bounds: (low, high) of each actuator; empty for (-1, 1).
        config: the run's settings.
    """

    def __init__(
        self,
        actor: Tensor,
        obs_dim: int,
        shapes: nets.Shapes,
        mean: Tensor | None,
        rstd: Tensor | None,
        action_bounds: Sequence[Sequence[float]],
        config: Config,
    ) -> None:
        self.config = config
        self.obs_dim = obs_dim
        self._params = nets.unflatten(actor, shapes)
        self._mean, self._rstd = mean, rstd
        self._bounds = torch.tensor(action_bounds).T if action_bounds else None  # [2, A]

    @classmethod
    def load(cls, run_dir: str | Path, member: int = 0) -> Self:
        """The policy of a run's newest checkpoint.

        Args:
            run_dir: what `fastsac train` wrote.
            member: which of the run's agents.

        Raises:
            ValueError: not a run directory, no checkpoint, or no such member.
        """
        run_dir = Path(run_dir)
        if not (run_dir / "config.json").exists():
            raise ValueError(f"{run_dir} is not a run directory: it has no config.json.")
        config = Config.load(run_dir)
        if not 0 <= member < config.seeds:
            raise ValueError(f"member must be in [0, {config.seeds - 1}], got {member}.")
        state, meta = checkpoint.load(run_dir, with_replay=False)
        obs_dim = meta["sizes"]["obs_dim"]
        shapes = nets.actor_shapes(obs_dim, meta["sizes"]["action_dim"], config.hidden_dims)
        norm = state["normalizer"] if config.obs_norm else None
        mean, rstd = (norm["mean"][member], norm["rstd"][member]) if norm else (None, None)
        return cls(
            state["state"]["params"]["actor"][member], obs_dim, shapes, mean, rstd, meta["action_bounds"], config
        )

    @overload
    def act(self, obs: Tensor, deterministic: bool = True, normalized: bool = False) -> Tensor: ...
    @overload
    def act(self, obs: NDArray[Any], deterministic: bool = True, normalized: bool = False) -> NDArray[np.float32]: ...
    @torch.no_grad()
    def act(
        self, obs: Tensor | NDArray[Any], deterministic: bool = True, normalized: bool = False
    ) -> Tensor | NDArray[np.float32]:
        """Choose actions.

        Args:
            obs: [O] or [B, O], numpy or torch.
            deterministic: tanh of the mean; else a sample, drawn from torch's global generator.
            normalized: actions in [-1, 1], as `VectorEnv.send` wants them; else in the task's own units, as the
                `step` of a Gymnasium environment does.

        Returns:
            [A] or [B, A], of the kind that obs is.

        Raises:
            ValueError: the last axis is not O.
        """
        is_torch = isinstance(obs, Tensor)
        x = torch.as_tensor(obs, dtype=torch.float32)
        device = x.device
        if x.dim() not in (1, 2) or x.shape[-1] != self.obs_dim:
            raise ValueError(f"obs must be [{self.obs_dim}] or [B, {self.obs_dim}], got {list(x.shape)}.")
        x = x.cpu()
        single = x.dim() == 1
        x = x.unsqueeze(0) if single else x
        if self._mean is not None and self._rstd is not None:
            x = normalize.apply(x, self._mean, self._rstd)
        mean, log_std = nets.actor(self._params, x)
        u = mean if deterministic else mean + log_std.exp() * torch.randn_like(mean)
        action = torch.tanh(u)
        if self._bounds is not None and not normalized:
            low, high = self._bounds
            action = (low + (high - low) * (action + 1) / 2).clamp(low, high)
        action = action.squeeze(0) if single else action
        return action.to(device) if is_torch else action.numpy()


def load(run_dir: str | Path, member: int = 0) -> Policy:
    """The policy of a run's newest checkpoint; see `Policy.load`."""
    return Policy.load(run_dir, member)
