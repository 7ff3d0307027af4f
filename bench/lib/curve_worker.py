"""One run of this program for `bench.lib.curves`: `python -m bench.lib.curve_worker TASK FILE BEGAN`.

What `fastsac train --env ENV --seed SEED` does with its preset, but for who evaluates and when it is over: the command
line is read, packages imported, environments made, the update compiled, log files written.
"""

import sys
from typing import Any

from bench.lib.evaluator import Task, Watch, work


def flags(task: Task) -> list[str]:
    """The command line after `fastsac train`."""
    given = {"env": task.env, "seed": task.seed, "cpu-threads": task.threads, "device": task.device}
    given |= {"eval-every": task.eval_every, "eval-episodes": task.eval_episodes, "run-dir": "run"}
    given |= {} if task.goal is None else {"stop-at-return": task.goal}
    ways = {
        "fastsac-warm": {"compile": "on"},
        "fastsac-eager": {"compile": "off"},
        "fastsac-sac-v1": {"algo": "sac-v1"},
        "fastsac-sql": {"algo": "sql"},
    }
    given |= ways.get(task.system.split(" ")[0], {}) | task.hyper
    return [f"--{name}={value}" for name, value in given.items()]


def train(task: Task, watch: Watch, about: dict[str, Any]) -> None:
    """Train as the command line would."""
    from fastsac.cli.train import train_config

    config = train_config(flags(task))
    # `watch` says when it is over.
    config = config.replace(total_steps=max(config.total_steps, task.max_steps), stop_at_episode_return=None)

    from bench.lib.program import evaluator_of, hyper_parameters
    from fastsac.run.plan import make_plan
    from fastsac.run.trainer import Run

    plan = make_plan(config)
    about |= {"mode": plan.mode, "hyper": hyper_parameters(plan.config)}
    with Run(plan, evaluator_of(watch)) as run:
        try:
            run.train()
        finally:
            about |= {"compile_s": run.compile_s, "grad_steps": run.learner.grad_steps[0]}


if __name__ == "__main__":
    work(train, *sys.argv[1:])
