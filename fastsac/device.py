"""What machine this is: the device that `auto` means, and how much memory is free.  Starts no GPU work of its own."""

import os
import shutil
from pathlib import Path

import torch


def choose_device(name: str) -> torch.device:
    """The device for `--device name`; "auto" is cuda where there is one.

    Raises:
        ValueError: cuda was asked for and is not there.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"device {name} was asked for, but torch finds no CUDA GPU here. Give --device cpu.")
        count = torch.cuda.device_count()
        index = device.index or 0
        if index >= count:
            raise ValueError(f"device {name} was asked for, but there are only {count} GPUs. Give --device cuda:0.")
        return torch.device("cuda", index)
    return device


def num_cpus() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def cpp_compiler() -> str | None:
    """The C++ compiler that torch.compile would use on a CPU, or None."""
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


def c_compiler() -> str | None:
    """The C compiler that Triton would use for a GPU's kernels, or None."""
    names = [os.environ.get("CC", ""), "gcc", "clang", "cc"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


def free_bytes(device: torch.device) -> int | None:
    """Memory that can still be allocated on the device; None where it cannot be told."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = []
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free.append(int(lines["MemAvailable"].split()[0]) * 1024)
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            used = int(Path("/sys/fs/cgroup/memory.current").read_text())
            stat = dict(line.split() for line in Path("/sys/fs/cgroup/memory.stat").read_text().splitlines())
            free.append(int(limit) - used + int(stat["inactive_file"]))  # the page cache makes room when asked
    except (OSError, KeyError, ValueError):
        pass
    return min(free, default=None)


def format_bytes(num: float) -> str:
    """`3.4 GiB`."""
    for unit in ("B", "KiB", "MiB"):
        if num < 1024:
            return f"{num:.0f} {unit}" if unit == "B" else f"{num:.1f} {unit}"
        num /= 1024
    return f"{num:.1f} GiB"
