"""Processes that work together, as those of a run on several devices do, over gloo."""

import os
import pickle
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import torch
import torch.distributed as dist

from fastsac.nn.reduction import ALONE, Reduction
from fastsac.runtime.reduction import GroupReduction, GroupTally
from tests.support.forked import CONTEXT, Forked

CPU = torch.device("cpu")
PATIENCE_S = 300.0


class Ranks:
    """`size` processes, started once, that call functions at the same time; a context manager.

    Args:
        size: how many.
        folder: where they meet.
    """

    def __init__(self, size: int, folder: Path) -> None:
        pipes = [CONTEXT.Pipe() for _ in range(size)]
        self._ours = [ours for ours, _ in pipes]
        self._processes = [
            Forked(folder / f"{rank}", _serve, rank, size, str(folder / "store"), theirs)
            for rank, (_, theirs) in enumerate(pipes)
        ]
        for _, theirs in pipes:
            theirs.close()

    def call(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """What `function(rank, *args)`, of some module, returns in each of them."""
        for pipe in self._ours:
            pipe.send_bytes(pickle.dumps((function, args)))
        found = []
        for rank, pipe in enumerate(self._ours):
            assert pipe.poll(PATIENCE_S), f"rank {rank} does not answer"
            result, error = pickle.loads(pipe.recv_bytes())
            assert error is None, f"rank {rank}: {error}"
            found.append(result)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def _serve(rank: int, size: int, store: str, pipe: "Connection[bytes, bytes]") -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo" if sys.platform == "linux" else "lo0"
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=size, timeout=timedelta(seconds=PATIENCE_S)
    )
    while True:
        try:
            function, args = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        result, error = None, None
        try:
            result = function(rank, *args)
        except Exception:
            error = traceback.format_exc()
        pipe.send_bytes(pickle.dumps((result, error)))


def reduction_of(size: int) -> Reduction:
    """Over all processes; of one, in which this was called, that of a process alone."""
    return ALONE if size == 1 else GroupReduction("agent", CPU)


def tally_of(size: int) -> GroupTally | None:
    """Likewise."""
    return None if size == 1 else GroupTally()


def part_of(rank: int, size: int, whole: torch.Tensor, dim: int = 0) -> torch.Tensor:
    """The equal part of a rank."""
    return whole.chunk(size, dim)[rank]
