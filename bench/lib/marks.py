"""One process of `bench.startup`: trains as the command line does until the first update and log row, with time stamps.

`python -m bench.lib.marks fastsac SPAWNED FILE ARGUMENT...` calls `fastsac.cli.main` with those arguments, and
`... sb3 SPAWNED FILE ENV DEVICE` Stable-Baselines3's `SAC.learn`.  SPAWNED is the monotonic clock of the process that
started this one, just before it did.  FILE gets the seconds since then at the end of each part, in order, as JSON.
"""

import time

ENTERED = time.monotonic()  # before all else is imported

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

LOG_ROW = 1_000  # environment steps of the first row
LEARNING_STARTS = 500


class Marks:
    """Seconds since the process was spawned, by what had ended then; leaves the process when all is known.

    Args:
        spawned: on the monotonic clock.
        path: file to write.
        last: names without which it is not complete.
    """

    def __init__(self, spawned: float, path: Path, last: set[str]) -> None:
        self._spawned, self._path, self._last = spawned, path, last
        self._seconds: dict[str, float] = {"interpreter": ENTERED - spawned}

    def mark(self, name: str) -> None:
        """`name` has ended, for the first time or again; leaves the process with the last one."""
        self._seconds.setdefault(name, time.monotonic() - self._spawned)
        if self._last <= self._seconds.keys():
            self._path.write_text(json.dumps(self._seconds))
            sys.stdout.flush()
            os._exit(0)  # what was started is not to be ended in order: nobody waits for it

    def after(self, owner: Any, method: str, name: str, when: Callable[[Any], bool] = lambda _: True) -> None:
        """Let a method's first call mark `name` at its end: the first one of which `when` says so, by its object."""
        original = getattr(owner, method)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            if name not in self._seconds and when(args[0] if args else None):
                self.mark(name)
            return result

        setattr(owner, method, call)


def fastsac(marks: Marks, arguments: list[str]) -> None:
    """The command line, with marks at the end of its public functions.

    The imports that it makes on its way are made before it begins, so that they are a part of their own.
    """
    from fastsac.acting import collector
    from fastsac.cli import main as cli
    from fastsac.cli import train
    from fastsac.learning import learner
    from fastsac.report import sinks
    from fastsac.run import plan, trainer

    marks.mark("imports")
    marks.after(train, "train_config", "command line")
    marks.after(plan, "make_plan", "plan")
    marks.after(trainer.Run, "__init__", "building")
    marks.after(learner.Learner, "warm_up", "compiling the update")
    marks.after(collector.Collector, "warm_up", "compiling the policy")
    marks.after(collector.Collector, "start", "files, reset")
    marks.after(learner.Learner, "launch", "first update", when=has_learned)
    marks.after(sinks.Sinks, "metrics", "log row")
    raise SystemExit(cli.main(arguments))


def has_learned(learner: Any) -> bool:
    """Whether a launch has made an update; waits for the device."""
    if max(learner.grad_steps) == 0:
        return False
    if learner.device.type == "cuda":
        import torch

        torch.cuda.synchronize()
    return True


def sb3(marks: Marks, arguments: list[str]) -> None:
    """`SAC.learn` with its defaults, on one of Gymnasium's environments."""
    env, device = arguments
    from stable_baselines3 import SAC

    marks.mark("imports")
    model: Any = SAC("MlpPolicy", env, learning_starts=LEARNING_STARTS, device=device)
    marks.mark("building")
    train = model.train

    def first(*args: Any, **kwargs: Any) -> None:
        train(*args, **kwargs)
        marks.mark("first update")

    model.train = first
    model.learn(LOG_ROW)
    marks.mark("log row")


if __name__ == "__main__":
    which, spawned, path, *rest = sys.argv[1:]
    {"fastsac": fastsac, "sb3": sb3}[which](Marks(float(spawned), Path(path), {"first update", "log row"}), rest)
