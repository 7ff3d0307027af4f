"""Settings of torch that hold for the whole process: threads, current device, precision of matrix products."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch


@contextmanager
def torch_settings(device: torch.device, threads: int, matmul_precision: str) -> Iterator[None]:
    """Inside, torch computes with these; afterwards as before.  Graphs are captured on the current device."""
    before, precision_before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    on_cuda = device.type == "cuda"
    torch.set_num_threads(threads)
    if on_cuda:
        torch.set_float32_matmul_precision(matmul_precision)
    try:
        with torch.cuda.device(device) if on_cuda else nullcontext():
            yield
    finally:
        torch.set_num_threads(before)
        torch.set_float32_matmul_precision(precision_before)
