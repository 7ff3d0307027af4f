"""Whole runs over several processes, as torchrun starts them.

Each process is forked from one that has imported everything, so that a run takes about a second; each has its own
environment variables, its own output, and may be killed.
"""

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it is there

from fastsac.runtime import peers

PATIENCE_S = 120.0
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["fastsac.cli.train", "fastsac.run.trainer", "fastsac.runtime.reduction", "tests.support.rank_runs"]
)


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        status: of the process; -9 where it was killed.
        value: what its function returned.
        error: the traceback of what it raised.
        out: what it printed.
        err: likewise, on stderr.
    """

    status: int | None
    value: Any
    error: str | None
    out: str
    err: str


def launch(
    folder: Path,
    size: int,
    function: Callable[..., Any],
    *args: Any,
    lost_s: float = peers.LOST_S,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> list[Ended]:
    """Call `function(*args)`, of some module, in each of `size` processes; how they ended, by rank.

    Args:
        folder: where they leave what they print.
        size: how many.
        function: what each calls.
        args: what with.
        lost_s: seconds after which a process without a sign of life is lost.
        variables: further ones of the environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)  # as torchrun keeps it
    processes, pipes = list[BaseProcess](), list[Any]()
    for rank in range(size):
        ours, theirs = CONTEXT.Pipe(duplex=False)
        work = ({**_variables(rank, size, store.port), **variables}, lost_s, folder / f"{rank}", theirs, function, args)
        processes.append(CONTEXT.Process(target=_work, args=work))
        processes[-1].start()
        theirs.close()
        pipes.append(ours)
    try:
        found = _results(processes, pipes)
    finally:
        for process in processes:
            process.kill()
            process.join()
    texts = [[(folder / f"{rank}.{name}").read_text() for name in ("out", "err")] for rank in range(size)]
    return [
        Ended(process.exitcode, *result, *text) for process, result, text in zip(processes, found, texts, strict=True)
    ]


def values(ended: Sequence[Ended]) -> list[Any]:
    """What all have returned; an AssertionError if one failed."""
    for rank, each in enumerate(ended):
        assert each.error is None, f"rank {rank}: {each.error}"
        assert each.status == 0, f"rank {rank}: {each.status}, {each.err}"
    return [each.value for each in ended]


def _results(processes: Sequence[BaseProcess], pipes: Sequence["Connection[Any, Any]"]) -> list[tuple[Any, str | None]]:
    """Value and error of each, once all have ended but for those that are stopped."""
    found: list[tuple[Any, str | None]] = [(None, None)] * len(pipes)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        left = [process for process in processes if process.is_alive() and not _is_stopped(process.pid)]
        for rank, pipe in enumerate(pipes):  # once more after the last one has ended: it may just have sent its own
            with suppress(EOFError, OSError):
                if pipe.poll():
                    found[rank] = pipe.recv()
        if not left:
            return found
        assert time.monotonic() < deadline, f"{len(left)} processes do not end"
        left[0].join(0.01)


def _is_stopped(pid: int | None) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def _variables(rank: int, size: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True",
        "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
    }  # fmt: skip


def _work(
    variables: dict[str, str],
    lost_s: float,
    prefix: Path,
    pipe: "Connection[Any, Any]",
    function: Callable[..., Any],
    args: Sequence[Any],
) -> None:
    """In a process of its own."""
    os.environ.update(variables)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, name in ((1, "out"), (2, "err")):
        with open(f"{prefix}.{name}", "w") as file:
            os.dup2(file.fileno(), number)
    torch.set_num_threads(1)
    peers.LOST_S = peers.AWAY_S = lost_s
    peers.BEAT_S, peers.GRACE_S = min(peers.BEAT_S, lost_s / 10), min(peers.GRACE_S, lost_s)
    try:
        pipe.send((function(*args), None))
    except BaseException:
        pipe.send((None, traceback.format_exc()))
