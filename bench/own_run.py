"""A training run of this program that the evaluator of all systems evaluates."""

import dataclasses
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from bench.evaluator import Array, Evaluations
from fastsac.config.settings import Config
from fastsac.run.evaluator import Evaluator, Returns
from fastsac.run.trainer import Run


def evaluator_of(evaluations: Evaluations) -> Evaluator:
    """The evaluator that all systems share, for a run with one member.

    Args:
        evaluations: where they go.
    """

    def evaluate(run: Run) -> Returns:
        def act(obs: Array) -> Array:
            """Best actions for Gymnasium's observations [N, ...], in Gymnasium's units."""
            env = evaluations.envs[0]
            flat = np.stack([np.asarray(spaces.flatten(env.observation_space, o), np.float32) for o in obs])  # [N, O]
            with torch.no_grad():
                action = run.learner.act_deterministic(torch.from_numpy(flat)[None].to(run.plan.device))[0]
            return in_units(action.cpu().numpy(), env.action_space)

        return [evaluations.add(act, run.env_steps)]

    return evaluate


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
