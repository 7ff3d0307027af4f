"""Settings of torch that hold for the whole process: threads, current device, products and convolutions."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.backends import cudnn


@contextmanager
def torch_settings(device: torch.device, threads: int, matmul_precision: str) -> Iterator[None]:
    """Inside, torch computes with these; afterwards as before.  Graphs are captured on the current device."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        if device.type != "cuda":
            yield
        else:
            with torch.cuda.device(device), _on_cuda(matmul_precision):
                yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _on_cuda(matmul_precision: str) -> Iterator[None]:
    """Products and convolutions of this precision; convolutions by algorithms that give the same numbers again."""
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.deterministic
    torch.set_float32_matmul_precision(matmul_precision)
    cudnn.allow_tf32, cudnn.deterministic = matmul_precision != "highest", True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32, cudnn.deterministic = before[1:]
