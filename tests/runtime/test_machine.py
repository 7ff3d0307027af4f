"""What is told of the machine: of the device that was used alone."""

from types import SimpleNamespace

import pytest
import torch

from fastsac.runtime.machine import describe_machine
from tests.support.runs import run


def test_a_run_on_the_cpu_never_asks_cuda(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("CUDA was asked whether it is there"))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: pytest.fail("CUDA was opened"))
    assert describe_machine(torch.device("cpu"))["gpu"] is None
    run(tmp_path)


def test_the_gpu_that_was_used_is_named(monkeypatch):
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(name=f"GPU {device.index}", total_memory=7)
    )
    gpu = describe_machine(torch.device("cuda", 1))["gpu"]
    assert (gpu["name"], gpu["memory_bytes"]) == ("GPU 1", 7)
