"""Precompiles torch's C++ headers, which the first compilation on a machine needs, in a process of its own.

That process takes seconds, while this one traces and generates code; the compiler's own locks make one wait for the
other.  On two cores the first update of Pendulum-v1 comes after 21 seconds instead of 24.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from fastsac.runtime import compile_cache
from fastsac.runtime.device import num_cpus
from fastsac.runtime.launch import CompiledStep

# This very fastsac, wherever it was found; the working directory is nowhere to look for modules (-P).
START = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("fastsac", sys.argv[1])
sys.modules["fastsac"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["fastsac"])
from fastsac.runtime.precompile import main
main()
"""
COMMAND = (sys.executable, "-P", "-c", START, str(Path(__file__).parents[1] / "__init__.py"))


def _mark() -> Path:
    """The file that says that the headers of this torch are precompiled."""
    return Path(compile_cache.folder(), f"precompiled-{torch.__version__}")


@contextmanager
def precompiling() -> Iterator[None]:
    """Inside, another process precompiles the headers, unless that is done already or there is no core for it."""
    if num_cpus() < 2 or _mark().exists():
        yield
        return
    quiet = subprocess.DEVNULL
    try:
        process = subprocess.Popen(COMMAND, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    except OSError:  # no room for it: this process does it all
        yield
        return
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # nobody waits any more for it and the compilers that it started
        process.wait()


def main() -> None:
    """Compile the smallest of functions with the settings that updates have."""
    torch.set_num_threads(1)
    x = torch.zeros(64)

    def step() -> None:
        x.add_(1)

    with torch.no_grad():
        CompiledStep(step, x.device)()
    _mark().touch()
