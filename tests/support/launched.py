"""Whole runs over several forked processes, as torchrun starts them."""

import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it is there

from fastsac.runtime import peers
from tests.support.forked import CONTEXT, Forked

PATIENCE_S = 120.0


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
    processes, pipes = list[Forked](), list[Any]()
    for rank in range(size):
        ours, theirs = CONTEXT.Pipe(duplex=False)
        ranked = {**_variables(rank, size, store.port), **variables}
        processes.append(Forked(folder / f"{rank}", _work, lost_s, theirs, function, args, variables=ranked))
        theirs.close()
        pipes.append(ours)
    try:
        found = _results(processes, pipes)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [
        Ended(process.returncode, *result, *process.printed()) for process, result in zip(processes, found, strict=True)
    ]


def values(ended: Sequence[Ended]) -> list[Any]:
    """What all have returned; an AssertionError if one failed."""
    for rank, each in enumerate(ended):
        assert each.error is None, f"rank {rank}: {each.error}"
        assert each.status == 0, f"rank {rank}: {each.status}, {each.err}"
    return [each.value for each in ended]


def _results(processes: Sequence[Forked], pipes: Sequence["Connection[Any, Any]"]) -> list[tuple[Any, str | None]]:
    """Value and error of each, once all have ended but for those that are stopped."""
    found: list[tuple[Any, str | None]] = [(None, None)] * len(pipes)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        left = [process for process in processes if process.poll() is None and not _is_stopped(process.pid)]
        for rank, pipe in enumerate(pipes):  # once more after the last one has ended: it may just have sent its own
            with suppress(EOFError, OSError):
                if pipe.poll():
                    found[rank] = pipe.recv()
        if not left:
            return found
        assert time.monotonic() < deadline, f"{len(left)} processes do not end"
        with suppress(subprocess.TimeoutExpired):
            left[0].wait(0.01)


def _is_stopped(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def _variables(rank: int, size: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True",
        "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
    }  # fmt: skip


def _work(lost_s: float, pipe: "Connection[Any, Any]", function: Callable[..., Any], args: Sequence[Any]) -> None:
    """In a process of its own."""
    torch.set_num_threads(1)
    peers.LOST_S = peers.AWAY_S = lost_s
    peers.BEAT_S, peers.GRACE_S = min(peers.BEAT_S, lost_s / 10), min(peers.GRACE_S, lost_s)
    try:
        pipe.send((function(*args), None))
    except BaseException:
        pipe.send((None, traceback.format_exc()))
