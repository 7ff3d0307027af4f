"""What each process of a run over several does in tests; functions for `launched.launch`."""

import contextlib
import io
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.utils import _pytree as pytree

from fastsac.checkpoint.reader import sha256
from fastsac.cli.main import main
from fastsac.config.settings import Config
from fastsac.learning.learner import Learner
from fastsac.run.callbacks import Callback, LogEvent, Stop
from fastsac.run.log_points import LogPoints
from fastsac.run.result import Result
from fastsac.run.trainer import Run, train
from fastsac.runtime.peers import PeerError
from tests.support.poison import Poison, spoil_first_steps, spoil_policy_copies
from tests.support.runs import Hook, go_wrong


@dataclass(frozen=True)
class Fate:
    """What befalls one rank, or each, when its first member has made so many env steps.

    It is a signal, a fault of the program, one of the scripted environment, or what `POISONS` do to the policy.
    """

    rank: int | None
    at: int
    what: signal.Signals | str

    def __call__(self, run: Run) -> None:
        """As a hook of `go_wrong`."""
        if run.collector.env_steps[0] < self.at or getattr(run, "has_met_its_fate", False):
            return
        run.has_met_its_fate = True  # type: ignore[attr-defined]
        if isinstance(self.what, signal.Signals):
            os.kill(os.getpid(), self.what)
        elif self.what == "error":
            raise ZeroDivisionError("a fault of the program")
        elif self.what in POISONS:
            POISONS[self.what](run)
        else:  # of the scripted environment
            env: Any = run.env
            setattr(env, self.what, (1, env._vec_step + 1))


POISONS: dict[str, Callable[[Run], None]] = {"first steps": spoil_first_steps, "copies": spoil_policy_copies}


def hook_up(hook: Hook, rank: int | None) -> None:
    """Call `hook(run)` after every vector step of all runs of this process, to its end, on one rank, or on all."""
    if rank is not None and os.environ["RANK"] != str(rank):
        return
    start = Run.start

    def start_and_go_wrong(self: Run) -> None:
        go_wrong(self, hook)
        start(self)

    Run.start = start_and_go_wrong  # type: ignore[method-assign]


def interrupted_in_an_evaluation(args: Sequence[str], rank: int) -> int:
    """The exit status of `fastsac ...`, of which one rank gets a SIGTERM as its first evaluation begins."""
    evaluate = LogPoints.evaluate

    def interrupted(self: LogPoints) -> None:
        if os.environ["RANK"] == str(rank) and not self.last_evals:
            os.kill(os.getpid(), signal.SIGTERM)
        evaluate(self)

    LogPoints.evaluate = interrupted  # type: ignore[method-assign]
    return main(args)


def command(args: Sequence[str], fate: Fate | None = None) -> int:
    """The exit status of `fastsac ...`."""
    if fate is not None:
        hook_up(fate, fate.rank)
    return main(args)


def commands(*calls: Sequence[str]) -> list[tuple[int, str]]:
    """Exit status, and what stands on stderr, of one command after the other."""
    found = []
    for args in calls:
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            status = main(args)
        found.append((status, err.getvalue()))
    return found


def trained(config: Config, fate: Fate | None = None) -> tuple[Result, str]:
    """What a run came to, and a fingerprint of what it has learned."""
    if fate is not None:
        hook_up(fate, fate.rank)
    sums: list[str] = []
    close = Run.__exit__

    def note(run: Run, *error: Any) -> None:
        leaves = pytree.tree_leaves(run.learner.buffers["state"])
        sums.append(sha256(b"".join(leaf.contiguous().numpy().tobytes() for leaf in leaves)))
        close(run, *error)

    Run.__exit__ = note  # type: ignore[method-assign]
    try:
        result = train(config, quiet=True)
    finally:
        Run.__exit__ = close  # type: ignore[method-assign]
    return result, sums[0]


def stop_at_40(event: object) -> Stop | None:
    """A callback."""
    return Stop("enough") if isinstance(event, LogEvent) and event.env_steps >= 40 else None


def fail_at_40(event: object) -> None:
    """Likewise."""
    if isinstance(event, LogEvent) and event.env_steps >= 40:
        raise ZeroDivisionError("in a callback")


def called(config: Config, callback: Callback) -> Result:
    """With a callback."""
    return train(config, callbacks=[callback], quiet=True)


def poisoned(config: Config, rank: int, at: int) -> Result:
    """One rank has NaN for rewards in its first member for one vector step."""
    hook_up(Poison(at), rank)
    return train(config, quiet=True)


def in_use(args: Sequence[str]) -> int:
    """The exit status of `fastsac ...` in a program that uses torch.distributed for something else."""
    dist.init_process_group("gloo")
    return main(args)


def command_in(folder: Path, args: Sequence[str]) -> int:
    """Likewise, in a folder."""
    os.chdir(folder)
    return main(args)


def command_apart(folder: Path, args: Sequence[str]) -> int:
    """Likewise, each rank in a folder of its own, as on machines that do not see each other's files."""
    return command_in(folder / os.environ["RANK"], args)


def different(config: Config) -> Result:
    """Each rank has a seed of its own."""
    return train(config.replace(seed=1 + int(os.environ["RANK"])), quiet=True)


def called_by_compiled_code(config: Config, fate: Fate) -> Result:
    """As training whose update is compiled to C++, which passes on what an operator raises as a RuntimeError."""
    hook_up(fate, fate.rank)
    launch = Learner.launch

    def launch_from_cpp(self: Learner, due: list[int]) -> None:
        try:
            launch(self, due)
        except PeerError as error:
            raise RuntimeError(f"PeerError: {error}") from None

    Learner.launch = launch_from_cpp  # type: ignore[method-assign]
    return train(config, quiet=True)
