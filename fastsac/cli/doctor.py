"""`fastsac doctor`: can this machine train?  Looks at versions, devices and tools, and tries what training relies on.

Imports what it probes inside each probe, so that a broken package becomes a line in the report and no traceback.
Changes nothing on the machine; the compile cache may grow.  Of processes that torchrun has started, the first one looks
at its machine and prints; the others take part in the probe of processes.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastsac.cli.parsing import parse
from fastsac.runtime.versions import NOT_INSTALLED, PACKAGES, versions

if TYPE_CHECKING:
    import torch

    from fastsac.runtime.launch import Mode

Status = Literal["ok", "warning", "fail"]  # fail: training does not work without it
STYLES: dict[Status, str] = {"ok": "green", "warning": "yellow", "fail": "bold red"}
ENV = "Pendulum-v1"
LITTLE_MEMORY_BYTES = 2 * 1024**3
VECTOR_BYTES = 4_000_000  # of the larger vector that processes reduce: gradients of a million parameters
REINSTALL = "Install again: pip install --force-reinstall fastsac"


@dataclass(frozen=True)
class DoctorArgs:
    """Check this machine: versions, devices, the choices of `auto`, and whether compiling and environments work."""


class Check(NamedTuple):
    """What a probe found, and what to do about it."""

    status: Status
    detail: str
    remedy: str = ""


def run(args: list[str]) -> int:
    """Print the report; returns 1 if training would fail here, else 0."""
    parse(DoctorArgs, "fastsac doctor", args)
    if os.environ.get("WORLD_SIZE", "1") != "1" and os.environ.get("RANK", "0") != "0":
        return int(attempt(PROBES["processes"]).status == "fail")
    console = Console(highlight=False)
    with console.status("looking at this machine ...") as status:
        checks = report(lambda name: status.update(f"looking at {name} ..."))
    show(checks, console)
    return int(any(check.status == "fail" for check in checks.values()))


def report(on_probe: Callable[[str], None]) -> dict[str, Check]:
    """Run every probe, after `on_probe(name)`; takes up to a minute if nothing is compiled yet."""
    checks = {}
    for name, probe in PROBES.items():
        on_probe(name)
        checks[name] = attempt(probe)
    return checks


def attempt(probe: Callable[[], Check], remedy: str = REINSTALL) -> Check:
    """The probe's check, or a failed one that says what it raised."""
    try:
        return probe()
    except Exception as error:  # whatever it is, it belongs in the report
        lines = str(error).strip().splitlines() or ["no message"]
        return Check("fail", f"{type(error).__name__}: {lines[0][:200]}", remedy)


def show(checks: dict[str, Check], console: Console) -> None:
    """Print one row per check, remedies below, and a closing line."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, (status, detail, remedy) in checks.items():
        style = STYLES[status]
        table.add_row(Text(status, style), name, Text(detail).append(f"\n{remedy}" if remedy else "", style))
    console.print(table)
    failed = [name for name, check in checks.items() if check.status == "fail"]
    verdict = f"Training would fail here: {', '.join(failed)}." if failed else "This machine can train."
    console.print(Text(f"\n{verdict}", STYLES["fail" if failed else "ok"]))


def check_packages() -> Check:
    """Versions of Python and of the packages that decide a run's numbers."""
    found = versions(PACKAGES)
    detail = f"{', '.join(f'{name} {version}' for name, version in found.items())}; {sys.executable}"
    if missing := [name for name, version in found.items() if version == NOT_INSTALLED]:
        return Check("fail", detail, f"Install what is missing: pip install {' '.join(missing)}")
    return Check("ok", detail)


def check_cpu() -> Check:
    """Cores, and the threads that torch would use."""
    import torch

    from fastsac.runtime.device import num_cpus

    cores, threads = num_cpus(), torch.get_num_threads()
    detail = f"{cores} core{'s' * (cores > 1)}, {threads} torch thread{'s' * (threads > 1)}"
    if threads > cores:
        return Check("warning", detail, f"More threads than cores is slow: export OMP_NUM_THREADS={cores}")
    return Check("ok", detail)


def check_memory() -> Check:
    """Main memory that is free."""
    import torch

    from fastsac.runtime.device import free_memory

    free = free_memory(torch.device("cpu"))
    if free is not None and free.num_bytes < LITTLE_MEMORY_BYTES:
        return Check("warning", free.text, "Give --buffer-size less than the default.")
    return Check("ok", free.text if free else "cannot be told on this system")


def check_gpu() -> Check:
    """CUDA GPUs that torch sees."""
    import torch

    from fastsac.runtime.device import format_bytes

    if torch.cuda.is_available():
        found = []
        for i in range(torch.cuda.device_count()):
            free, total = map(format_bytes, torch.cuda.mem_get_info(i))
            found.append(f"cuda:{i} {torch.cuda.get_device_name(i)}, {free} of {total} free")
        return Check("ok", f"{'; '.join(found)}; CUDA {torch.version.cuda}")
    if shutil.which("nvidia-smi") is None:
        return Check("ok", "none; training runs on the CPU")
    if torch.version.cuda is None:
        remedy = "This torch is built for CPUs. Install one with CUDA: https://pytorch.org/get-started"
        return Check("warning", f"nvidia-smi is here, torch {torch.__version__} has no CUDA", remedy)
    remedy = "See whether nvidia-smi works and CUDA_VISIBLE_DEVICES is right; the driver may be too old."
    return Check("warning", f"nvidia-smi is here, torch (CUDA {torch.version.cuda}) finds no GPU", remedy)


def check_compiler() -> Check:
    """The C++ compiler, which torch.compile needs."""
    from fastsac.runtime.device import cpp_compiler

    if path := cpp_compiler():
        return Check("ok", path)
    remedy = "Without one, updates run eagerly, at half the speed. On Debian and Ubuntu: apt install g++"
    return Check("warning", "no C++ compiler found", remedy)


def check_cache() -> Check:
    """The folder of compiled updates."""
    from fastsac.runtime import compile_cache

    try:
        compile_cache.check()
    except ValueError as error:
        detail, _, remedy = str(error).partition(". ")
        return Check("warning" if chosen()[1] == "eager" else "fail", detail, remedy)
    return Check("ok", compile_cache.folder())


def check_auto() -> Check:
    """The choices of `auto` for device, compile and CUDA graphs."""
    (device, mode), (_, short) = chosen(), chosen(total_steps=2_000)
    return Check("ok", f"device {device}, update {mode}" + f" ({short} in a short run)" * (short != mode))


def chosen(total_steps: int = 1_000_000) -> "tuple[torch.device, Mode]":
    """The device and the mode of a run of that length with all on `auto`."""
    from fastsac.config.settings import Config
    from fastsac.run.mode import choose_mode
    from fastsac.runtime.device import choose_device

    device = choose_device("auto")
    return device, choose_mode(Config(env=ENV, preset="none", total_steps=total_steps), device)[0]


def check_processes() -> Check:
    """Processes that train together: those that torchrun has started, or whether there could be any."""
    import torch
    import torch.distributed as dist

    from fastsac.runtime.world import is_started_by_torchrun

    if not dist.is_available() or not dist.is_gloo_available():
        return Check("warning", "torch has no torch.distributed with gloo", "Without it, one process trains a run.")
    if is_started_by_torchrun():
        return try_processes()
    nccl = dist.is_nccl_available()
    detail = f"this one alone; torchrun can start several, which reduce by gloo{', between GPUs by nccl' * nccl}"
    if torch.cuda.is_available() and not nccl:
        return Check(
            "warning", detail, "This torch has no NCCL: only --device cuda:0 and cpu can be shared by several."
        )
    return Check("ok", detail)


def try_processes() -> Check:
    """Let the processes of torchrun find each other, and reduce vectors as those of one agent do."""
    from fastsac.runtime.gpus import choose_placement, look
    from fastsac.runtime.peers import PeerError
    from fastsac.runtime.reduction import GroupReduction
    from fastsac.runtime.reduction_speed import measured_text
    from fastsac.runtime.world import Ranks

    try:
        with Ranks() as world:
            views = look("auto", world)
            placement = world.agreed(lambda: choose_placement("auto", views, world.rank))
            device = placement.device
            devices = world.gather(f"{device} {placement.gpu}".rstrip())
            group = world.device_group(device, placement.is_gpu_shared)
            reduction = GroupReduction("doctor", device, group)
            speed = measured_text(reduction, [VECTOR_BYTES], device)
            ranks = "; ".join(f"{name} {on}" for name, on in zip(world.names, devices, strict=True))
            return Check("ok", f"{ranks}; by {reduction.backend}: {speed}")
    except (ValueError, PeerError) as error:  # they do not find each other, or lose each other; too few GPUs
        detail, _, remedy = str(error).partition(". ")
        return Check("fail", detail, remedy or "Start all of them by the same torchrun command.")


def check_environments() -> Check:
    """Build two environments and step them."""
    import numpy as np

    from fastsac.env import backend_names, make_env

    start = time.perf_counter()
    with closing(make_env(ENV, seeds=[0, 1])) as env:
        env.reset()
        for _ in range(10):
            env.send(np.zeros((2, env.spec.action_dim), np.float32))
            step = env.recv()
    if not (np.isfinite(step.obs).all() and np.isfinite(step.reward).all()):
        return Check("fail", f"{env.spec.env_id} gives numbers that are not finite", REINSTALL)
    seconds = time.perf_counter() - start
    detail = f"{env.spec.env_id} steps ({seconds:.1f} s); back ends {', '.join(backend_names())}"
    return Check("ok", detail)


def check_mode(mode: "Mode", flag: str) -> Check:
    """Compare a small update in a mode with the eager one; `flag` does without that mode."""
    device, auto = chosen()
    if auto == "eager" or (auto, mode) == ("compiled", "captured"):
        return Check("ok", f"not tried: auto chooses update {auto} here")
    remedy = f"`fastsac train {flag}` trains without, slower. Compiling needs a C++ compiler and Python's headers."

    def compare() -> Check:
        start = time.perf_counter()
        result = run_small_update(device, mode)
        seconds = time.perf_counter() - start
        if not result.allclose(run_small_update(device, "eager"), rtol=1e-4, atol=1e-6):
            return Check("fail", f"runs in {seconds:.1f} s, but gives other numbers than eager", remedy)
        return Check("ok", f"works, and gives the numbers of eager ({seconds:.1f} s)")

    return attempt(compare, remedy)


def run_small_update(device: "torch.device", mode: "Mode") -> "torch.Tensor":
    """Three gradient steps of a linear regression, run as training runs its own; returns the weights."""
    import torch

    from fastsac.runtime.launch import Launch

    def step(buffers: dict[str, torch.Tensor]) -> None:
        def loss(weight: torch.Tensor) -> torch.Tensor:
            return (torch.tanh(buffers["x"] @ weight) - 0.5).square().mean()

        buffers["weight"].sub_(0.1 * torch.func.grad(loss)(buffers["weight"]))

    x = torch.linspace(-1, 1, 64 * 8, device=device).view(64, 8)
    buffers = {"x": x, "weight": torch.linspace(0, 1, 8, device=device)}
    launch = Launch(step, {0: (buffers,)}, written=[buffers["weight"]], mode=mode, steps_per_graph=3)
    launch.warm_up([0])
    launch([0] * 3)
    return buffers["weight"].cpu()


PROBES: dict[str, Callable[[], Check]] = {
    "packages": check_packages, "cpu": check_cpu, "memory": check_memory, "gpu": check_gpu,
    "compiler": check_compiler, "compile cache": check_cache, "auto": check_auto, "processes": check_processes,
    "environments": check_environments,
    "compile": partial(check_mode, "compiled", "--compile off"),
    "cuda graphs": partial(check_mode, "captured", "--cuda-graphs off"),
}  # fmt: skip
