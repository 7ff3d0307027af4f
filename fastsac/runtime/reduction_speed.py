"""How long processes take to add up a vector, measured on the very group that an agent's updates use."""

import time
from collections.abc import Sequence

import torch

from fastsac.runtime.device import format_bytes
from fastsac.runtime.reduction import GroupReduction

LIMIT_S = 0.05  # about how long one size is measured
MOST = 200  # reductions of one size


def reduction_s(reduction: GroupReduction, num_bytes: int, device: torch.device, limit_s: float = LIMIT_S) -> float:
    """Seconds of one sum over all processes, of float32 numbers; all call it together, and get the same.

    Args:
        reduction: over the processes.
        num_bytes: of the vector, at least 4.
        device: where it is.
        limit_s: about how long to measure; two reductions before that are not counted.
    """
    x = torch.zeros(num_bytes // 4, device=device)

    def repeat(times: int) -> float:
        """Seconds of the slowest process."""
        _wait_for(device)
        began = time.perf_counter()
        for _ in range(times):
            reduction.sum(x)
        _wait_for(device)
        took_s = torch.tensor(time.perf_counter() - began, dtype=torch.float64, device=device)
        return reduction.max(took_s).item()

    repeat(1)  # buffers of this size are made
    once_s = max(repeat(1), 1e-9)
    times = min(MOST, max(1, int(limit_s / once_s)))  # the same in all processes
    return repeat(times) / times


def measured_text(reduction: GroupReduction, sizes: Sequence[int], device: torch.device) -> str:
    """`latency 0.10 ms, 852.0 KiB in 1.2 ms (0.7 GB/s)`: of one number, and of vectors of these bytes, in turn.

    All processes call it together.
    """
    latency_s = reduction_s(reduction, 4, device)
    seconds = sum(reduction_s(reduction, size, device) for size in sizes)
    rate = sum(sizes) / seconds / 1e9
    amount = format_bytes(sum(sizes))
    return f"latency {1e3 * latency_s:.2g} ms, {amount} in {1e3 * seconds:.2g} ms ({rate:.2g} GB/s)"


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
