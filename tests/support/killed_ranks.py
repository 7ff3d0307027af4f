"""Runs under `torchrun --max-restarts` one of whose ranks is killed, again and again; one JSON object at the end.

Usage: python -m tests.support.killed_ranks FOLDER KILLS SEED.  Each run must end complete, and as one that nobody
disturbed: its simulators save where they are, so that nothing may differ but times.
"""

import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from fastsac.config.settings import Config
from tests.support.interrupted_runs import assert_same_run
from tests.support.runs import BASE, num_rows

PER_RUN = 5  # kills, at most
BASE_OF_ALL = BASE.replace(
    num_envs=4, total_steps=2400, utd_ratio=0.4, log_every=60, eval_every=180, eval_episodes=2, checkpoint_every=240,
    buffer_size=800, obs_norm=True, env_kwargs={"saves_state": True},
)  # fmt: skip
KINDS = {"members": BASE_OF_ALL.replace(seeds=3), "data": BASE_OF_ALL.replace(n_step=2, reward_norm=True)}
MOMENTS = ("start", "row", "checkpoint")
PATIENCE_S = 120.0


def start(config: Config, folder: Path, max_restarts: int) -> subprocess.Popen[bytes]:
    """Train in two processes of torchrun."""
    settings = folder.with_suffix(".json")
    settings.write_text(config.to_json())
    port = ["--master-port", str(_free_port())]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    train = ["-m", "fastsac", "train", "--config", str(settings), "--run-dir", str(folder), "--trust-env", "--quiet"]
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [*torchrun, *port, "--max-restarts", str(max_restarts), *train],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("localhost", 0))
        port: int = one.getsockname()[1]
    return port


def ranks_of(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            if (entry / "stat").read_text().rpartition(")")[2].split()[1] == str(pid):
                found.append(int(entry.name))
    return sorted(found)


def wait_for(process: subprocess.Popen[bytes], fact: Callable[[], Any]) -> None:
    """Until something is so, or the run is over."""
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and not fact() and time.monotonic() < deadline:
        time.sleep(0.002)


def wait_for_moment(process: subprocess.Popen[bytes], folder: Path, moment: str, rng: random.Random) -> None:
    """Until a rank is starting, in a run that has got further, or beside a checkpoint that is being written."""
    wait_for(process, lambda: len(ranks_of(process.pid)) == 2)
    if moment == "start":
        time.sleep(rng.uniform(0, 8))
    elif moment == "row":
        before = num_rows(folder / "metrics.csv")
        wait_for(process, lambda: num_rows(folder / "metrics.csv") not in (0, before))
        time.sleep(rng.uniform(0, 6))
    else:
        for _ in range(rng.randint(1, 3)):
            before_it = names(folder)
            wait_for(process, lambda: names(folder) != before_it)  # noqa: B023  # called at once
        time.sleep(rng.uniform(0, 0.02))


def names(folder: Path) -> set[str]:
    """What there is of checkpoints."""
    return {path.name for path in (folder / "checkpoints").glob("*")}


def kill_one(process: subprocess.Popen[bytes], rng: random.Random) -> bool:
    """Kill a rank; whether there was one."""
    ranks = ranks_of(process.pid)
    if not ranks:
        return False
    victim = rng.choice(ranks)
    os.kill(victim, signal.SIGKILL)
    wait_for(process, lambda: victim not in ranks_of(process.pid))
    wait_for(process, lambda: not set(ranks) & set(ranks_of(process.pid)))  # the other one ends, too
    return True


def main(folder: Path, kills: int, seed: int) -> None:
    rng, told = random.Random(seed), list[dict[str, Any]]()
    for number, kind in zip(itertools.count(), itertools.cycle(KINDS)):
        if (most := min(PER_RUN, kills - sum(len(run["killed"]) for run in told))) <= 0:
            break
        if not (whole := folder / f"{kind}-whole").exists():
            assert start(KINDS[kind], whole, 0).wait() == 0
        run, killed, began = folder / f"{kind}-{number}", list[str](), time.monotonic()
        process = start(KINDS[kind], run, most)
        while len(killed) < most and process.poll() is None:
            moment = rng.choice(MOMENTS)
            wait_for_moment(process, run, moment, rng)
            killed += [moment] * kill_one(process, rng)
        status = process.wait()
        assert status == 0, f"{run} ended with {status}: {run.with_suffix('.log')}"
        assert_same_run(run, whole)
        told.append({"kind": kind, "killed": killed, "wall_s": round(time.monotonic() - began)})
        print(json.dumps(told[-1]), file=sys.stderr, flush=True)
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
