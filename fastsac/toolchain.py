"""What every compilation for a CPU needs once per machine, made ready beside the start of a run.

The first compilation of a machine spends about half of its time in the C++ compiler before there is any code of its
own to compile: trying which vector instructions work, and precompiling torch's headers.  A process of its own does
that while this one still imports, traces and generates code; the compiler's own locks make one wait for the other.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from fastsac.device import compile_cache_dir, num_cpus
from fastsac.launch import compile_step

COMMAND = (sys.executable, "-m", "fastsac.toolchain")


def _mark() -> Path:
    """The file that says that all of it is there, for this torch."""
    return compile_cache_dir() / f"toolchain-{torch.__version__}"


@contextmanager
def readied() -> Iterator[None]:
    """Inside, a process makes the compiler ready, where that is not done yet and there is a core for it."""
    if num_cpus() < 2 or _mark().exists():
        yield
        return
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(COMMAND, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        process.terminate()  # where it is still at work, nobody waits for it any more
        process.wait()


def main() -> None:
    """Compile the smallest of functions with the settings that updates have."""
    torch.set_num_threads(1)
    x = torch.zeros(64)
    with torch.no_grad():
        compile_step(lambda: x.add_(1), x.device)()
    _mark().touch()


if __name__ == "__main__":
    main()
