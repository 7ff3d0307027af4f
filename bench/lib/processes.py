"""Runs in fresh processes, on cores of their own where asked for, and the folders of their compile caches."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import Queue
from typing import Any, TypeVar

from bench.peers.serve import THREAD_VARIABLES

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
OUT_OF_TIME = 75  # the status of a run that --max-wall-time has ended
GRACE_S = 900.0  # that a process may take beyond what its training should
Outcome = dict[str, Any]
Running = set["subprocess.Popen[str]"]


def make_slots(jobs: int, threads: int) -> list[list[int]]:
    """The cores of each run that goes on at the same time; no core is in two of them.

    Raises:
        ValueError: there are not enough.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if jobs * threads > len(cores):
        raise ValueError(f"jobs times threads must be at most the {len(cores)} cores there are, got {jobs * threads}.")
    return [cores[i * threads : (i + 1) * threads] for i in range(jobs)]


def run_all(
    tasks: Sequence[T], slots: Sequence[Sequence[int]], run: Callable[[T, Running], Outcome]
) -> Iterator[tuple[T, Outcome]]:
    """Run the tasks in order, one per slot at a time; yields each with its outcome when it has ended.

    Args:
        tasks: hashable or not.
        slots: cores of each.
        run: starts a task's process, which it keeps in the set that it is given, and waits for the outcome.
    """
    free: Queue[Sequence[int]] = Queue()
    for cores in slots:
        free.put(cores)
    running: Running = set()
    # A thread's processes inherit its cores.
    with ThreadPoolExecutor(len(slots), initializer=lambda: pin(free.get())) as pool:
        try:
            futures = {pool.submit(run, task, running): task for task in tasks}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in tuple(running):  # those that Ctrl-C finds at work
                process.terminate()


def pin(cores: Sequence[int]) -> None:
    """Keep the calling thread, and the processes that it starts, on these cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def run_process(
    command: Callable[[float], Sequence[str]], out: Path, env: Mapping[str, str], running: Running, limit_s: float
) -> Outcome:
    """Run a command in the folder of `out`; returns the JSON that it wrote there, or why there is none.

    Args:
        command: made from what `time.monotonic()` shows just before its process is started.
        out: the file that it writes.
        env: its environment.
        running: has the process meanwhile.
        limit_s: seconds after which it is taken to be stuck, and ended.
    """
    told: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    told |= {"cwd": out.parent, "env": env, "start_new_session": True}
    began = time.monotonic()
    with subprocess.Popen(command(began), **told) as process:
        running.add(process)
        try:
            stderr = process.communicate(timeout=limit_s)[1]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its compilers, too, which would disturb the next run
            return {"error": f"the process was ended, for it had not come to an end after {limit_s:,g} seconds"}
        finally:
            running.discard(process)
    process_s = time.monotonic() - began
    if process.returncode or not out.exists():
        return {"error": f"the process ended with status {process.returncode}: {last_line(stderr)}"[:2000]}
    return {**json.loads(out.read_text()), "began": began, "process_s": process_s}


def last_line(text: str) -> str:
    """The last line of what a process wrote."""
    return (text.strip() or "no message").splitlines()[-1]


def variables(threads: int, **others: str) -> dict[str, str]:
    """Environment of a process: where this checkout is, threads of libraries, and others."""
    paths = [str(ROOT), str(ROOT / "envs"), os.environ.get("PYTHONPATH", "")]
    told = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return told | dict.fromkeys(THREAD_VARIABLES, str(threads)) | others


def caches(folder: Path) -> dict[str, str]:
    """Variables by which a process has in `folder` all that compiling leaves: code, and precompiled headers.

    The latter torch keeps among the temporary files, whatever it is told of its cache, and fastsac with the code.
    """
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"), "TMPDIR": str(temporary)}


def train(*arguments: str, limit_s: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run `fastsac train ARGUMENTS` to its end, as a user would type it."""
    command = [sys.executable, "-m", "fastsac", "train", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=limit_s)
