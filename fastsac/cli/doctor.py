"""Can this machine train?  Looks at versions, devices and tools, and tries what training relies on.

Owns the probes and how they are shown.  Imports what it probes inside each probe, so that a broken package becomes a
line in the report and no traceback.  Changes nothing on the machine; the compile cache may grow.
"""

import importlib.metadata
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastsac.runtime.versions import PACKAGES

if TYPE_CHECKING:
    import torch

    from fastsac.runtime.launch import Mode

Status = Literal["ok", "warning", "fail"]
STYLES: dict[Status, str] = {"ok": "green", "warning": "yellow", "fail": "bold red"}
ENV = "Pendulum-v1"
LITTLE_MEMORY_BYTES = 2 * 1024**3
REINSTALL = "Install again: pip install --force-reinstall fastsac"


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: what was looked at.
        status: "fail" is what training cannot do without.
        detail: what was found.
        remedy: what to do about it, unless all is well.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


def main() -> int:
    """Print the report; returns 1 if training would fail here, else 0."""
    console = Console(highlight=False)
    with console.status("looking at this machine ...") as status:
        checks = report(lambda name: status.update(f"looking at {name} ..."))
    show(checks, console)
    return int(any(check.status == "fail" for check in checks))


def report(on_probe: Callable[[str], None] = lambda name: None) -> list[Check]:
    """Run every probe; takes up to a minute where nothing is compiled yet.

    Args:
        on_probe: told the name of each probe before it runs.
    """
    checks = []
    for name, probe in PROBES.items():
        on_probe(name)
        checks.append(attempt(name, probe))
    return checks


def attempt(name: str, probe: Callable[[], Check]) -> Check:
    """The probe's check, or a failed one that says what it raised."""
    try:
        return probe()
    except Exception as error:  # whatever it is, it belongs in the report
        lines = str(error).strip().splitlines()
        return Check(name, "fail", f"{type(error).__name__}: {lines[0][:200] if lines else 'no message'}", REINSTALL)


def show(checks: list[Check], console: Console) -> None:
    """Print one row per check, remedies below, and a closing line."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for check in checks:
        detail = Text(check.detail)
        if check.remedy:
            detail.append(f"\n{check.remedy}", STYLES[check.status])
        table.add_row(Text(check.status, STYLES[check.status]), check.name, detail)
    console.print(table)
    failed = [check.name for check in checks if check.status == "fail"]
    verdict = f"Training would fail here: {', '.join(failed)}." if failed else "This machine can train."
    console.print(Text(f"\n{verdict}", STYLES["fail" if failed else "ok"]))


# What is there ----------------------------------------------------------------------------------------------------


def check_python() -> Check:
    """The interpreter's version."""
    found = f"{platform.python_version()} ({sys.executable})"
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check("python", "ok", found)
    return Check("python", "fail", found, "Use Python 3.11, 3.12 or 3.13.")


def check_packages() -> Check:
    """Versions of what decides a run's numbers."""
    versions = {name: _version(name) for name in PACKAGES}
    detail = ", ".join(f"{name} {version or 'is missing'}" for name, version in versions.items())
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        return Check("packages", "fail", detail, f"Install what is missing: pip install {' '.join(missing)}")
    return Check("packages", "ok", detail)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_cpu() -> Check:
    """Cores, and the threads that torch would use."""
    import torch

    from fastsac.runtime.device import num_cpus

    cores, threads = num_cpus(), torch.get_num_threads()
    detail = f"{cores} core{'s' * (cores > 1)}, {threads} torch thread{'s' * (threads > 1)}"
    if threads > cores:
        return Check("cpu", "warning", detail, f"More threads than cores is slow: export OMP_NUM_THREADS={cores}")
    return Check("cpu", "ok", detail)


def check_memory() -> Check:
    """Main memory that is free."""
    import torch

    from fastsac.runtime.device import free_memory

    free = free_memory(torch.device("cpu"))
    if free is None:
        return Check("memory", "ok", "cannot be told on this system")
    if free.num_bytes < LITTLE_MEMORY_BYTES:
        return Check("memory", "warning", free.text, "Give --buffer-size less than the default.")
    return Check("memory", "ok", free.text)


def check_gpu() -> Check:
    """CUDA GPUs that torch sees."""
    import torch

    from fastsac.runtime.device import format_bytes

    if torch.cuda.is_available():
        found = []
        for i in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(i)
            memory = f"{format_bytes(free)} of {format_bytes(total)} free"
            found.append(f"cuda:{i} {torch.cuda.get_device_name(i)}, {memory}")
        return Check("gpu", "ok", f"{'; '.join(found)}; CUDA {torch.version.cuda}")
    if shutil.which("nvidia-smi") is None:
        return Check("gpu", "ok", "none; training runs on the CPU")
    if torch.version.cuda is None:
        remedy = "This torch is built for CPUs. Install one with CUDA: https://pytorch.org/get-started"
        return Check("gpu", "warning", f"nvidia-smi is here, torch {torch.__version__} has no CUDA", remedy)
    remedy = "See whether nvidia-smi works and CUDA_VISIBLE_DEVICES is right; the driver may be too old."
    return Check("gpu", "warning", f"nvidia-smi is here, torch (CUDA {torch.version.cuda}) finds no GPU", remedy)


def check_compiler() -> Check:
    """The C++ compiler, which torch.compile needs."""
    from fastsac.runtime.device import cpp_compiler

    path = cpp_compiler()
    if path is None:
        remedy = "Without one, updates run eagerly, at half the speed. On Debian and Ubuntu: apt install g++"
        return Check("compiler", "warning", "no C++ compiler found", remedy)
    return Check("compiler", "ok", path)


def check_cache() -> Check:
    """Where compiled updates are kept."""
    from fastsac.runtime import compile_cache

    try:
        compile_cache.check()
    except ValueError as error:
        detail, _, remedy = str(error).partition(". ")
        return Check("compile cache", "warning" if chosen()[1] == "eager" else "fail", detail, remedy)
    return Check("compile cache", "ok", compile_cache.folder())


def check_auto() -> Check:
    """What `auto` would choose for device, compile and CUDA graphs."""
    from fastsac.run.plan import choose_mode

    device, mode = chosen()
    detail = f"device {device}, update {mode}"
    short, _ = choose_mode(_config(total_steps=2_000), device)
    if short != mode:
        detail += f" ({short} in a short run)"
    return Check("auto", "ok", detail)


def chosen() -> "tuple[torch.device, Mode]":
    """The device and the mode of a long run with all on `auto`."""
    from fastsac.run.plan import choose_mode
    from fastsac.runtime.device import choose_device

    device = choose_device("auto")
    return device, choose_mode(_config(total_steps=1_000_000), device)[0]


def _config(total_steps: int) -> Any:
    from fastsac.config.settings import Config

    return Config(env=ENV, total_steps=total_steps)


# Whether it works -------------------------------------------------------------------------------------------------


def check_environments() -> Check:
    """Build two environments and step them."""
    import numpy as np

    from fastsac.env import backend_names, make_env

    start = time.perf_counter()
    env = make_env(ENV, seeds=[0, 1])
    try:
        env.reset()
        for _ in range(10):
            env.send(np.zeros((2, env.spec.action_dim), np.float32))
            step = env.recv()
    finally:
        env.close()
    if not (np.isfinite(step.obs).all() and np.isfinite(step.reward).all()):
        return Check("environments", "fail", f"{env.spec.env_id} gives numbers that are not finite", REINSTALL)
    seconds = time.perf_counter() - start
    detail = f"{env.spec.env_id} steps ({seconds:.1f} s); back ends {', '.join(backend_names())}"
    return Check("environments", "ok", detail)


def check_compile() -> Check:
    """Compile a small update, and compare its numbers with the eager ones."""
    device, mode = chosen()
    if mode == "eager":
        return Check("compile", "ok", "not tried: auto runs eagerly here")
    return _try_mode("compile", device, "compiled", "--compile off")


def check_graphs() -> Check:
    """Capture the small update as a CUDA graph, and compare."""
    device, mode = chosen()
    if mode != "captured":
        return Check("cuda graphs", "ok", "not tried: they need a CUDA GPU")
    return _try_mode("cuda graphs", device, "captured", "--cuda-graphs off")


def _try_mode(name: str, device: "torch.device", mode: "Mode", flag: str) -> Check:
    import torch

    remedy = f"`fastsac train {flag}` trains without, slower. Compiling needs a C++ compiler and Python's headers."
    start = time.perf_counter()
    try:
        result = run_small_update(device, mode)
    except Exception as error:  # compilers fail in many ways
        lines = str(error).strip().splitlines()
        return Check(name, "fail", f"{type(error).__name__}: {lines[0][:200] if lines else 'no message'}", remedy)
    seconds = time.perf_counter() - start
    if not torch.allclose(result, run_small_update(device, "eager"), rtol=1e-4, atol=1e-6):
        return Check(name, "fail", f"runs in {seconds:.1f} s, but gives other numbers than eager", remedy)
    return Check(name, "ok", f"works, and gives the numbers of eager ({seconds:.1f} s)")


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
    "python": check_python,
    "packages": check_packages,
    "cpu": check_cpu,
    "memory": check_memory,
    "gpu": check_gpu,
    "compiler": check_compiler,
    "compile cache": check_cache,
    "auto": check_auto,
    "environments": check_environments,
    "compile": check_compile,
    "cuda graphs": check_graphs,
}
