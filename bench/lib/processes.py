"""Runs in fresh processes, on cores of their own where asked for, and the folders of their compile caches."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from queue import Queue
from typing import Any, TypeVar

from bench.lib.harness import Failed
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
    """Run the tasks in order, one per slot of cores at a time; yields each with its outcome when it has ended.

    `run` keeps its process in the set that it is given: it is ended where this is not followed to the end.
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
        except BaseException:  # Ctrl-C, of which the process in its own session does not know
            process.terminate()
            raise
        finally:
            running.discard(process)
    process_s = time.monotonic() - began
    if process.returncode or not out.exists():
        return {"error": f"the process ended with status {process.returncode}: {last_line(stderr)}"[:2000]}
    return {**json.loads(out.read_text()), "began": began, "process_s": process_s}


def last_line(text: str) -> str:
    """The last line of what a process wrote."""
    return (text.strip() or "no message").splitlines()[-1]


def variables(threads: int | None = None, cache: Path | None = None) -> dict[str, str]:
    """Environment of a process: where this checkout is, threads of libraries, and where what compiling leaves goes."""
    paths = [str(ROOT), str(ROOT / "envs"), os.environ.get("PYTHONPATH", "")]
    told = dict.fromkeys(THREAD_VARIABLES, str(threads)) if threads else {}
    if cache is not None:  # precompiled headers are among torch's temporary files, whatever it is told of its cache
        (cache / "tmp").mkdir(parents=True, exist_ok=True)
        told |= {"TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"), "TMPDIR": str(cache / "tmp")}
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **told}


# Trainings ----------------------------------------------------------------------------------------------------------


def train(
    folder: Path,
    *arguments: str,
    look: Callable[[int], bool] = lambda _: False,
    every: float = 3_600.0,
    cache: Path | None = None,
) -> float:
    """Run `fastsac train ARGUMENTS` as a user would type it; returns the seconds from its start to its end.

    Args:
        folder: where it runs; the run directory is `run` in it.
        arguments: of the command.
        look: called every so many seconds with the process's id; the run is ended where it returns True.
        every: seconds.
        cache: folder of what compiling leaves; None is the user's.

    Raises:
        Failed: it ended with an error.
    """
    command = [sys.executable, "-m", "fastsac", "train", "--run-dir", "run", *arguments]
    log, began = folder / "log", time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=folder, env=variables(cache=cache), stdout=out, stderr=out)
    try:
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(every)
                break
            if look(process.pid):
                return time.monotonic() - began
    finally:
        process.kill()
        process.wait()
    took_s = time.monotonic() - began
    if process.returncode not in (0, OUT_OF_TIME):
        raise Failed(f"training ended with status {process.returncode}: {last_line(log.read_text())}")
    return took_s


def progress(folder: Path) -> list[tuple[float, int]]:
    """Wall seconds of the log points of a run in this folder, and its environment steps, those of the first member."""
    with (folder / "run" / "metrics.csv").open(newline="") as file:
        rows = [(float(row["wall_s"]), int(row["env_steps"])) for row in csv.DictReader(file) if row["wall_s"]]
    return sorted(dict(reversed(rows)).items())
