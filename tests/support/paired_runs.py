"""Pairs of processes that are started on one run directory, and killed, at random moments; a JSON object at the end.

For a process of its own.
"""

import json
import os
import random
import signal
import time
from pathlib import Path

import torch

from fastsac import checkpoint
from tests.support.killed_run import CONFIG, start


def has_ended(pid: int) -> bool:
    """Whether a process has ended, which is told once."""
    return os.waitpid(pid, os.WNOHANG)[0] != 0


def end(pid: int) -> bool:
    """Kill a process if it is still there; whether it was."""
    alive = not has_ended(pid)
    if alive:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return alive


def damaged(folder: Path) -> int:
    """How many of the checkpoints there are not whole."""
    count = 0
    for path in checkpoint.checkpoint_dirs(folder):
        try:
            checkpoint.check_files(path, checkpoint.read_meta(path), with_replay=True)
        except checkpoint.DamagedError:
            count += 1
    return count


def main(folder: Path, pairs: int, seed: int) -> None:
    torch.set_num_threads(1)
    rng = random.Random(seed)
    config = CONFIG.replace(run_dir=str(folder), resume="auto")
    told = {"both_alive": 0, "none_alive": 0, "damaged": 0, "lost": 0, "saved": 0}
    for _ in range(pairs):
        before = checkpoint.checkpoint_dirs(folder)
        both = []
        for _ in range(2):
            both.append(start(config))
            time.sleep(rng.choice((0.0, rng.uniform(0, 0.02), rng.uniform(0, 0.5))))
        deadline = time.monotonic() + 30
        while len(ended := [pid for pid in both if has_ended(pid)]) == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.7))  # of the other one's life
        alive = [pid not in ended and end(pid) for pid in rng.sample(both, 2)]
        after = checkpoint.checkpoint_dirs(folder)
        told["both_alive"] += all(alive)
        told["none_alive"] += not any(alive)
        told["damaged"] += damaged(folder)
        told["lost"] += len(after) < min(2, len(before)) or (bool(before) and after[-1].name < before[-1].name)
    told["saved"] = checkpoint.serial(checkpoint.checkpoint_dirs(folder)[-1])
    print(json.dumps(told))
