"""A training process that is killed at random moments and resumed, again and again; one JSON object at the end.

For a process of its own.  Each life is a fork of it, which has imported everything and uses no threads, so that a
hundred lives take a minute or two.
"""

import csv
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from fastsac import checkpoint
from fastsac.config.settings import Config
from fastsac.run.trainer import train

EVERY = 40  # env steps between checkpoints
CONFIG = Config(
    env="tests.support.scripted_env:3t,5c,2b,9c", num_envs=4, total_steps=10**9, learning_starts=16, batch_size=8,
    buffer_size=200, hidden_dims=(8,), log_every=4, eval_every=60, eval_episodes=2, checkpoint_every=EVERY,
    device="cpu", compile="off", tensorboard=False, utd_ratio=0.25,
)  # fmt: skip


def start(config: Config) -> int:
    """Train in a fork; its number."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with open(os.devnull, "w") as nothing:
                os.dup2(nothing.fileno(), 1)
            train(config)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    return pid


def kill(pid: int) -> bool:
    """Whether it was still alive."""
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def wait_for_a_row(folder: Path) -> None:
    """Wait until the table has been written anew and then grows."""
    table, deadline = folder / "metrics.csv", time.monotonic() + 30
    before = table.stat().st_ino
    while table.stat().st_ino == before and time.monotonic() < deadline:
        time.sleep(0.005)
    size = table.stat().st_size
    while table.stat().st_size == size and time.monotonic() < deadline:
        time.sleep(0.005)


def reached(folder: Path) -> int:
    """Env steps of the last whole row that was logged."""
    with (folder / "metrics.csv").open(newline="") as f:
        return max((int(row["env_steps"]) for row in csv.DictReader(f) if None not in row.values()), default=0)


def main(folder: Path, kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    rng = random.Random(seed)
    pid = start(CONFIG.replace(run_dir=str(folder)))
    while not checkpoint.checkpoint_dirs(folder):
        time.sleep(0.01)
    alive, lost, passed_over, saved = [kill(pid)], [], 0, [checkpoint.load_meta(folder)["env_steps"][0]]
    while len(alive) < kills:
        pid = start(Config.load(folder).replace(resume=str(folder), run_dir=None))
        if rng.random() < 0.5:  # in the run; else maybe while it starts
            wait_for_a_row(folder)
        time.sleep(rng.uniform(0, 0.5))
        alive.append(kill(pid))
        found = checkpoint.find(folder)
        checkpoint.read(found)
        passed_over += bool(found.note)
        lost.append(reached(folder) - found.meta["env_steps"][0])
        saved.append(found.meta["env_steps"][0])
    print(json.dumps({"alive": sum(alive), "lost": lost, "passed_over": passed_over, "saved": saved}))
