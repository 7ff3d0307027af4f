"""The machine in a few words, which stand beside the figures that were measured on it."""

import platform
from pathlib import Path
from typing import Any

import torch

from fastsac.runtime.device import num_cpus


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Processor, memory in bytes, threads, and the GPU if that is the device used, as JSON values."""
    gpu = None
    if device.type == "cuda":
        p = torch.cuda.get_device_properties(device)
        gpu = {"name": p.name, "memory_bytes": p.total_memory, "cuda": torch.version.cuda}
    return {
        "cpu": _proc_field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": num_cpus(),
        "memory_bytes": int((_proc_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) * 1024,
        "torch_threads": torch.get_num_threads(),
        "gpu": gpu,
        "system": platform.system(),
    }


def _proc_field(path: str, name: str) -> str | None:
    """The first value of `name: value` in a file of /proc, or None."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), None)
