"""Launches: order, variants, warm-up without effect.  The step here is a counter."""

import pytest
import torch

from fastsac.launch import Launch


def step(buffers, flag):
    buffers["total"].mul_(2).add_(1.0 if flag else 0.0)
    buffers["steps"].add_(1)


def make(mode, device="cpu", per_graph=3):
    buffers = {"total": torch.zeros(4, device=device), "steps": torch.zeros(1, device=device)}
    return Launch(step, buffers, buffers, mode, per_graph), buffers


ON_GPU = [pytest.param(mode, "cuda", marks=pytest.mark.gpu) for mode in ("eager", "compiled", "captured")]


@pytest.mark.parametrize(("mode", "device"), [("eager", "cpu"), ("compiled", "cpu"), *ON_GPU])
def test_steps_run_in_order_once_each_and_warming_up_changes_nothing(mode, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    launch, buffers = make(mode, device)
    address = buffers["total"].data_ptr()
    launch.warm_up([True, False])
    assert buffers["steps"].item() == 0
    assert not buffers["total"].any()
    flags = [True, False, True, True, False, False, True]  # two graphs of three and one of one
    launch(flags)
    launch([])
    expected = 0
    for flag in flags:
        expected = 2 * expected + flag
    assert buffers["total"].tolist() == [expected] * 4
    assert buffers["steps"].item() == len(flags)
    assert buffers["total"].data_ptr() == address
