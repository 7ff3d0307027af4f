"""What the processes of `bench.lib.curves` share: the task that each is given, and when it is over.

Runs in the peers' own interpreters: imports nothing of this program but the evaluator.
"""

import json
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.lib.evaluator import Act, Evaluations


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run: which system, on what, how often it is evaluated, and when it is over."""

    system: str
    env: str
    seed: int
    goal: float | None
    """Return at which the run is over; None is at none."""
    eval_every: int
    eval_episodes: int
    max_steps: int
    max_wall_s: float
    threads: int
    device: str
    quick: bool
    hyper: dict[str, Any] = field(default_factory=dict)
    """What a peer is told beside what it was tuned to."""


def peer_of(system: str) -> str:
    """Whose system it is, `sb3` or `sbx`; nothing for this program.  Names are `PEER` or `PEER-WAY`."""
    name = system.split("-")[0]
    return "" if name == "fastsac" else name


class Over(Exception):
    """The run need not go on: an evaluation reached the goal, or a limit was passed; the argument says which."""


class Watch(Evaluations):
    """The evaluations of a run, the last of which ends it.

    Args:
        task: the run.
        began: what `time.monotonic()` showed when its process was started.
    """

    def __init__(self, task: Task, began: float) -> None:
        super().__init__(task.env, task.seed, task.eval_episodes, began)
        self.task = task

    def add(self, act: Act, env_steps: int) -> list[float]:
        """Evaluate now.

        Raises:
            Over: this was the last one.
        """
        returns = super().add(act, env_steps)
        row = self.rows[-1]
        if self.task.goal is not None and row["return_mean"] >= self.task.goal:
            raise Over("goal")
        if env_steps >= self.task.max_steps:
            raise Over("steps")
        if row["wall_s"] >= self.task.max_wall_s:
            raise Over("seconds")
        return returns


def work(train: Callable[[Task, Watch, dict[str, Any]], None], task_json: str, out: str, began: str) -> None:
    """One run in a process of its own; what came of it goes into a file as JSON, an error included.

    Args:
        train: trains until `Over`; puts into its third argument what else is to be known of the run.
        task_json: a `Task`.
        out: the file.
        began: what `time.monotonic()` showed when the process was started.
    """
    task = Task(**json.loads(task_json))
    watch, outcome = Watch(task, float(began)), dict[str, Any]()
    try:
        train(task, watch, outcome)
        raise RuntimeError("the training ended before its last evaluation")
    except Over as over:
        outcome["ended"] = str(over)
    except Exception as error:
        traceback.print_exc()
        outcome["error"] = f"{type(error).__name__}: {error}"
    outcome |= {"evaluations": watch.rows, "evaluating_s": watch.clock.stopped_s}
    # Compilers that it started are in it; far below the wall seconds of the process if others had the cores.
    outcome["process_cpu_s"] = sum(os.times()[:4])
    Path(out).write_text(json.dumps(outcome))
