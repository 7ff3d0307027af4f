"""One run of the comparison in a process of its own: `python -m bench.compare_worker TASK FILE`.

TASK is a `compare_measure.Task` as JSON; FILE gets the outcome as JSON, an error included.
"""

import dataclasses
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from bench import compare_peers, harness
from bench.compare_measure import OWN, Array, Evaluations, Task
from fastsac.env import make_spec
from fastsac.plan import Plan, make_plan
from fastsac.training import Run

NOT_HYPER = (
    "env", "preset", "seed", "seeds", "run_dir", "resume", "tensorboard", "wandb", "eval_every", "eval_episodes",
    "stop_at_return", "stop_at_episode_return", "checkpoint_every", "log_every",
)  # fmt: skip
"""Fields of `Config` that do not belong to the algorithm."""


def main(task_json: str, out: str) -> None:
    task = Task(**json.loads(task_json))
    try:
        outcome = train_own(task) if task.algo in OWN else compare_peers.train(task, Evaluations(task))
    except Exception as error:
        traceback.print_exc()
        outcome = {"error": f"{type(error).__name__}: {error}"}
    # Compilers that it started are in it; far below the wall seconds of the process if others had the cores.
    outcome["process_cpu_s"] = sum(os.times()[:4])
    Path(out).write_text(json.dumps(outcome))


def train_own(task: Task) -> harness.Row:
    """Train with this program; the clock covers all that `fastsac.train` does but evaluations."""
    make_spec(task.env)  # imports the back end
    evaluations = Evaluations(task)
    evaluations.clock.start()
    plan = make_plan(task.config(run_dir="run"))
    with TimedRun(plan, evaluations) as run:
        result = run.train()
    config = dataclasses.asdict(plan.config)
    return {
        "evaluations": evaluations.rows,
        "evaluating_s": evaluations.clock.stopped_s,
        "compile_s": result.compile_s,
        "grad_steps": result.grad_steps,
        "mode": plan.mode,
        "hyper": {name: value for name, value in config.items() if name not in NOT_HYPER},
    }


class TimedRun(Run):
    """A training run that is evaluated by the evaluator which all systems share.

    Args:
        plan: of the run, with one member.
        evaluations: where they go.
    """

    def __init__(self, plan: Plan, evaluations: Evaluations) -> None:
        super().__init__(plan)
        self.evaluations = evaluations
        self._spaces = evaluations.envs[0].observation_space, evaluations.envs[0].action_space

    def _evaluate(self) -> None:
        self._check_losses()  # waits for the device: what it still had to do counts
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
        obs_space, action_space = self._spaces
        flat = np.stack([np.asarray(spaces.flatten(obs_space, o), np.float32) for o in obs])  # [N, O]
        with torch.no_grad():
            action = self.learner.act_deterministic(torch.from_numpy(flat)[None].to(self.plan.device))[0]
        return in_units(action.cpu().numpy(), action_space)


def in_units(action: Array, space: spaces.Space[Any]) -> Array:
    """Actions [N, A] in [-1, 1], or one-hot, as `space` has them."""
    if isinstance(space, spaces.Discrete):
        choices: Array = space.start + action.argmax(-1)
        return choices
    assert isinstance(space, spaces.Box)
    scaled: Array = np.clip(space.low + (space.high - space.low) * (action + 1) / 2, space.low, space.high)
    return scaled.astype(space.dtype)


if __name__ == "__main__":
    main(*sys.argv[1:])
