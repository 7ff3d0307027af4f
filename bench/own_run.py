"""A training run of this program that the evaluator of all systems evaluates."""

import dataclasses
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from bench.evaluator import Array, Evaluations
from fastsac.config.settings import Config
from fastsac.run.plan import Plan
from fastsac.run.trainer import Run


class EvaluatedRun(Run):
    """A training run that is evaluated by the evaluator which all systems share.

    Args:
        plan: of the run, with one member.
        evaluations: where they go.
    """

    def __init__(self, plan: Plan, evaluations: Evaluations) -> None:
        super().__init__(plan)
        self.evaluations = evaluations

    def _evaluate(self) -> None:
        self._launch_due()
        self.guard.check()  # waits for the device: what it still had to do counts
        with self._aside("evaluating"):
            returns = self.evaluations.add(self._act, self._env_steps())
        row: dict[str, Any] = {
            **self._counters(0),
            "wall_s": self._wall_s(),
            "return_mean": float(np.mean(returns)),
            "return_std": float(np.std(returns)),
            "episodes": len(returns),
        }
        self.last_evals = [row]
        self.sinks.evaluation([row])

    def _act(self, obs: Array) -> Array:
        """Best actions for Gymnasium's observations [N, ...], in Gymnasium's units."""
        env = self.evaluations.envs[0]
        flat = np.stack([np.asarray(spaces.flatten(env.observation_space, o), np.float32) for o in obs])  # [N, O]
        with torch.no_grad():
            action = self.learner.act_deterministic(torch.from_numpy(flat)[None].to(self.plan.device))[0]
        return in_units(action.cpu().numpy(), env.action_space)


def in_units(action: Array, space: spaces.Space[Any]) -> Array:
    """Actions [N, A] in [-1, 1], or one-hot, as `space` has them."""
    if isinstance(space, spaces.Discrete):
        choices: Array = space.start + action.argmax(-1)
        return choices
    assert isinstance(space, spaces.Box)
    scaled: Array = np.clip(space.low + (space.high - space.low) * (action + 1) / 2, space.low, space.high)
    return scaled.astype(space.dtype)


def hyper_parameters(config: Config) -> dict[str, Any]:
    """The settings that affect what is learned and how fast; tables have task and preset elsewhere."""
    names = {*Config.names(affects="learning"), *Config.names(affects="speed")} - {"env", "preset"}
    return {name: value for name, value in dataclasses.asdict(config).items() if name in names}
