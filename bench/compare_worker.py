"""One run of the comparison in a process of its own: `python -m bench.compare_worker TASK FILE`.

TASK is a `compare_measure.Task` as JSON; FILE gets the outcome as JSON, an error included.
"""

import json
import os
import sys
import traceback
from pathlib import Path

from bench import compare_peers, harness
from bench.compare_measure import OWN, Task
from bench.evaluator import Evaluations
from bench.own_run import evaluator_of, hyper_parameters
from fastsac.env import make_spec
from fastsac.run.plan import make_plan
from fastsac.run.trainer import Run


def main(task_json: str, out: str) -> None:
    task = Task(**json.loads(task_json))
    try:
        evaluations = Evaluations(task.gym_id, task.seed, task.eval_episodes)
        outcome = train_own(task, evaluations) if task.algo in OWN else compare_peers.train(task, evaluations)
    except Exception as error:
        traceback.print_exc()
        outcome = {"error": f"{type(error).__name__}: {error}"}
    # Compilers that it started are in it; far below the wall seconds of the process if others had the cores.
    outcome["process_cpu_s"] = sum(os.times()[:4])
    Path(out).write_text(json.dumps(outcome))


def train_own(task: Task, evaluations: Evaluations) -> harness.Row:
    """Train with this program; the clock covers all that `fastsac.train` does but evaluations."""
    make_spec(task.env)  # imports the back end
    evaluations.clock.start()
    plan = make_plan(task.config(run_dir="run"))
    with Run(plan, evaluator_of(evaluations)) as run:
        result = run.train()
    return {
        "evaluations": evaluations.rows,
        "evaluating_s": evaluations.clock.stopped_s,
        "compile_s": result.compile_s,
        "grad_steps": result.grad_steps,
        "mode": plan.mode,
        "hyper": hyper_parameters(plan.config),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
