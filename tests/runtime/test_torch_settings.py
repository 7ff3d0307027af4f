"""Settings of torch for the whole process: what they are inside, and that they are as before afterwards."""

import pytest
import torch
from torch.backends import cudnn

from fastsac.runtime.torch_settings import torch_settings
from tests.support.fake_cuda import fake_cuda
from tests.support.learners import CPU


def found():
    return torch.get_num_threads(), torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.deterministic


@pytest.mark.parametrize(("precision", "tf32"), [("highest", False), ("high", True)])
def test_products_and_convolutions_of_a_gpu_have_the_same_precision_and_repeat_themselves(precision, tf32):
    before = found()
    with fake_cuda(), torch_settings(torch.device("cuda", 0), 2, precision):
        assert found() == (2, precision, tf32, True)
    assert found() == before


def test_a_cpu_has_no_settings_but_threads():
    before = found()
    with torch_settings(CPU, 2, "high"):
        assert found() == (2, *before[1:])
    assert found() == before
