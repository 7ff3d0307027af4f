"""Fixtures that several files use."""

import resource
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch
from graph_recorder import GraphRecorder

from fastsac.runtime import launch

# Networks in tests are tiny, and threads that wait for each other are slow where anything else runs.
torch.set_num_threads(1)


@pytest.fixture
def recorder(monkeypatch):
    """Launches in mode "captured" on a CPU: recorded once, then replayed, uncompiled."""
    monkeypatch.setattr(launch, "CudaRecorder", GraphRecorder)
    monkeypatch.setattr(launch, "CompiledStep", lambda step, *_: step)
    monkeypatch.setattr(GraphRecorder, "recorded", 0)
    monkeypatch.setattr(GraphRecorder, "replayed", 0)
    return GraphRecorder


def complaints(err):
    """What stands on stderr but for the line that names a module which a run's settings ask for."""
    return "".join(line for line in err.splitlines(keepends=True) if ": importing tests." not in line)


TINY = [
    "--preset", "none", "--num-envs", "4", "--total-steps", "100000000", "--learning-starts", "16", "--batch-size", "8",
    "--hidden-dims", "8", "--compile", "off", "--log-every", "50", "--buffer-size", "1000", "--no-tensorboard",
    "--eval-every", "0", "--device", "cpu",
]  # fmt: skip


@pytest.fixture
def start():
    """`fastsac train` in processes of their own, which do not outlive the test."""
    processes = []

    def start(folder, *args, env="tests.scripted_env:5c"):
        command = [sys.executable, "-m", "fastsac", "train", "--env", env, "--run-dir", str(folder), *TINY, *args]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@contextmanager
def file_size_limit(num_bytes):
    """Writes beyond it fail with EFBIG, as those to a full disk fail with ENOSPC."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
