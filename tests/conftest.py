"""Fixtures that several files use."""

import subprocess
import sys

import pytest
import torch

from fastsac.runtime import launch
from tests.support.graph_recorder import GraphRecorder
from tests.support.runs import TINY

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


@pytest.fixture(params=["eager", "compiled", "captured"])
def mode(request):
    """Each way to run a step; "captured" is recorded, where there is no GPU."""
    if request.param == "captured":
        request.getfixturevalue("recorder")
    return request.param


@pytest.fixture
def call(mode):
    """`call(function, *args)` gives what a function of tensors returns, run in each mode."""

    def call(function, *args):
        if mode == "compiled":
            return torch.compile(function, fullgraph=True, dynamic=False)(*args)
        if mode == "eager":
            return function(*args)
        out = []
        with torch.no_grad():
            GraphRecorder().record(lambda: out.append(function(*args)))()
        return out[0]

    return call


@pytest.fixture
def start():
    """`fastsac train` in processes of their own, which do not outlive the test."""
    processes = []

    def start(folder, *args, env="tests.support.scripted_env:5c"):
        command = [sys.executable, "-m", "fastsac", "train", "--env", env, "--run-dir", str(folder), *TINY, *args]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()
