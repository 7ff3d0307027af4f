"""Fixtures that several files use."""

import pytest
import torch
from graph_recorder import GraphRecorder

from fastsac import launch

# Networks in tests are tiny, and threads that wait for each other are slow where anything else runs.
torch.set_num_threads(1)


@pytest.fixture
def recorder(monkeypatch):
    """Launches in mode "captured" on a CPU: recorded once, then replayed, uncompiled."""
    monkeypatch.setattr(launch, "CudaRecorder", GraphRecorder)
    monkeypatch.setattr(launch, "compile_step", lambda step, *_: step)
    monkeypatch.setattr(GraphRecorder, "recorded", 0)
    monkeypatch.setattr(GraphRecorder, "replayed", 0)
    return GraphRecorder
