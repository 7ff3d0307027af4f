"""One of the processes of an arrangement of `bench.scale`: `torchrun ... -m bench.lib.rank_worker TASK FILE`.

What `fastsac train` does with these options, without log points and without end.  All processes of a run measure the
same turn; the first one writes the figures of all into FILE.
"""

import json
import sys
import time
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from bench.lib import harness, program
from fastsac.cli.train import train_config
from fastsac.config.shares import PartOfAgent
from fastsac.learning.gradient_step import gradient_step_
from fastsac.learning.learner import Learner
from fastsac.report.displays import QuietDisplay
from fastsac.run.plan import make_plan
from fastsac.run.trainer import Run
from fastsac.runtime.reduction import GroupReduction
from fastsac.runtime.reduction_speed import reduction_s
from fastsac.runtime.world import World, join

LARGE_BYTES = 4_000_000  # of the vector that the bandwidth is of


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to measure.

    Attributes:
        flags: the command line after `fastsac train`.
        device: as `--device`.
        threads: of torch, for each process.
        seconds: about how long to measure.
    """

    flags: list[str]
    device: str
    threads: int
    seconds: float


def main(task: Task, file: Path) -> None:
    torch.set_num_threads(task.threads)
    config = program.endless(train_config(task.flags), str(file.parent / "run"), task.device)
    with join(config.parallel) as world:
        plan = make_plan(config, world=world)
        with Run(plan, display=QuietDisplay(config)) as run:
            run.start()
            found = rates(run, world, task.seconds) | reductions(run.learner)
            found |= {"mode": plan.mode, "device": str(plan.device), "compile_s": run.compile_s}
            if world.is_first:
                file.write_text(json.dumps(found))


# Rates --------------------------------------------------------------------------------------------------------------


def rates(run: Run, world: World, seconds: float) -> dict[str, float]:
    """Environment steps and updates a second of all processes, from the first update on."""
    while not run.learner.grad_steps[0]:
        run.step()
    turn = partial(take_turn, run, world)
    vec_steps = harness.calibrate(turn, seconds)  # the same in all processes: the seconds are
    before = counts(run, world)
    took_s = turn(vec_steps).seconds
    env_steps, updates = (now - then for now, then in zip(counts(run, world), before, strict=True))
    return {"env_steps_per_s": env_steps / took_s, "updates_per_s": updates / took_s}


def take_turn(run: Run, world: World, vec_steps: int) -> harness.Timed:
    """So many vector steps in each process, and the seconds of the slowest one.

    Raises:
        Failed: a signal ends the run.
    """
    world.gather(None)  # all begin together
    began = time.perf_counter()
    for _ in range(vec_steps):
        run.step()
        if run.is_over:
            raise harness.Failed(f"ended by {run.stop_rule.reason}")
    program.wait_for(run.learner)
    return harness.Timed(vec_steps, max(world.gather(time.perf_counter() - began)))


def counts(run: Run, world: World) -> tuple[int, int]:
    """Environment steps, and gradient steps of all members, so far: of an agent, each process knows those of all."""
    mine = sum(run.collector.env_steps), sum(run.learner.grad_steps)
    said = world.gather(mine)[: 1 if isinstance(run.config, PartOfAgent) else None]
    return sum(steps for steps, _ in said), sum(updates for _, updates in said)


# Reductions ---------------------------------------------------------------------------------------------------------


class Recorder(TorchDispatchMode):
    """Inside, notes the bytes of every vector that is reduced over processes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.fastsac.all_reduce.default:
            self.sizes.append(args[0].nbytes)
        return func(*args, **kwargs or {})


def reduced_bytes(learner: Learner) -> list[int]:
    """The bytes of each reduction over processes in one update with the actor, which is taken eagerly here."""
    buffers = learner.buffers
    if learner.config.num_members == 1:
        buffers = pytree.tree_map(lambda tensor: tensor[0], buffers)
    seen = Recorder()
    with torch.no_grad(), seen:
        gradient_step_(learner.algorithm, learner.config, buffers, with_actor=True)
    return seen.sizes


def reductions(learner: Learner) -> dict[str, Any]:
    """What is reduced in an update, and what that takes alone: all of it, one number, and a large vector."""
    sizes, reduction = reduced_bytes(learner), learner.algorithm.reduction
    found: dict[str, Any] = {"reduced_bytes": sizes}
    if isinstance(reduction, GroupReduction):
        timed = partial(reduction_s, reduction, device=learner.device, limit_s=0.2)
        each = {size: timed(size) for size in sorted({*sizes, 4, LARGE_BYTES})}
        found |= {"backend": reduction.backend, "reduction_s": sum(each[size] for size in sizes)}
        found |= {"latency_s": each[4], "bytes_per_s": LARGE_BYTES / each[LARGE_BYTES]}
    return found


if __name__ == "__main__":
    try:
        main(Task(**json.loads(sys.argv[1])), Path(sys.argv[2]))
    except Exception as error:  # whatever it is, it belongs in the row
        traceback.print_exc()
        if not Path(sys.argv[2]).exists():
            Path(sys.argv[2]).write_text(json.dumps({"error": f"{type(error).__name__}: {error}"}))
