"""The machine: the device that `auto` chooses, its free memory, its compilers.  Starts no GPU work."""

import os
import resource
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch


def choose_device(name: str) -> torch.device:
    """The device for `--device name`, of a process alone; "auto" is cuda where there is one.

    Args:
        name: auto, cpu, cuda or cuda:N.

    Raises:
        ValueError: cuda was asked for and is not there, or there are too few GPUs.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type != "cuda":
        return device
    if not torch.cuda.is_available():
        raise ValueError(f"device {name} was asked for, but torch finds no CUDA GPU here. Give --device cpu.")
    index, count = device.index or 0, torch.cuda.device_count()
    if index >= count:
        raise ValueError(f"device {name} was asked for, but there are only {count} GPUs. Give --device cuda:0.")
    return torch.device("cuda", index)


def num_cpus() -> int:
    """CPU cores that this process may use; those that torchrun has started on a machine share its cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    sharing = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, cores // int(sharing)) if sharing.isdigit() and int(sharing) else cores


def cpp_compiler() -> str | None:
    """The C++ compiler that torch.compile would use on a CPU, or None."""
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


def c_compiler() -> str | None:
    """The C compiler that Triton would use for a GPU's kernels, or None."""
    names = [os.environ.get("CC", ""), "gcc", "clang", "cc"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


@dataclass(frozen=True)
class Memory:
    """Memory that can still be allocated."""

    num_bytes: int
    text: str
    is_limit: bool = False
    """The user set it, and may raise it."""


# Memory of a run beside replay and networks: threads, the allocator's arenas, compiler, simulators.  Measured with a
# limit of the address space that binds: Pendulum-v1, eager and compiled, runs with 0.5 GiB and not with 0.25,
# HalfCheetah-v5 with 64 environments with 1 GiB and not with 0.75.  Their data grew by 0.4 GiB at most.
_LIMITS = {
    "RLIMIT_AS": ("VmSize", 1 << 30, "the limit of the address space (ulimit -v)"),
    "RLIMIT_DATA": ("VmData", 1 << 29, "the limit of the data (ulimit -d)"),
}


def free_memory(device: torch.device) -> Memory | None:
    """Memory that can still be allocated on the device; None where it cannot be told."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        return Memory(free, f"{device} has {format_bytes(free)} free")
    found = [Memory(free, f"{device} has {format_bytes(free)} free") for free in _system_memory()] + _left_by_limits()
    return min(found, key=lambda memory: memory.num_bytes, default=None)


def _system_memory() -> list[int]:
    """Bytes free in this machine, and in this container."""
    free, container = [], Path("/sys/fs/cgroup")
    with suppress(OSError, KeyError, ValueError):
        free.append(proc_bytes("/proc/meminfo", "MemAvailable"))
        limit = (container / "memory.max").read_text().strip()
        if limit != "max":
            used = int((container / "memory.current").read_text())
            stat = dict(line.split() for line in (container / "memory.stat").read_text().splitlines())
            free.append(int(limit) - used + int(stat["inactive_file"]))  # the page cache makes room when asked
    return free


def _left_by_limits() -> list[Memory]:
    """Memory that the limits of this process leave for replay and networks."""
    found = []
    for limit, (counter, beside, name) in _LIMITS.items():
        most = resource.getrlimit(getattr(resource, limit))[0]
        try:
            left = most - proc_bytes("/proc/self/status", counter)
        except (OSError, KeyError, ValueError):
            continue
        if most != resource.RLIM_INFINITY:
            free = max(0, left - beside)
            rest = f"{format_bytes(free)}, beside {format_bytes(beside)} for threads, compiler and simulators"
            found.append(Memory(free, f"{name} leaves {rest}", is_limit=True))
    return found


def proc_bytes(path: str, name: str) -> int:
    """Bytes that a file of /proc gives in KiB under a name."""
    lines = dict(line.split(":", 1) for line in Path(path).read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


def format_bytes(num: float) -> str:
    """`3.4 GiB`."""
    for unit in ("B", "KiB", "MiB"):
        if num < 1024:
            return f"{num:.0f} {unit}" if unit == "B" else f"{num:.1f} {unit}"
        num /= 1024
    return f"{num:.1f} GiB"
