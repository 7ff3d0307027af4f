"""The child's side of a measurement: `python -m bench.peers.serve bench.peers.NAME`, spoken to by `bench.lib.children`.

JSON lines on stdin and stdout, one answer for each:

    {"build": {"what": "updates" | "env_steps", "threads": 2, "sizes": {...}, "options": {...}}}
        -> {"built": {"notes": {...}, "about": {...}}}
    {"run": units} -> {"done": units, "seconds": s}      timed here, after waiting for the device

An exception is one line, {"error": ...} (with "unsupported" true where the peer cannot do what was asked), and the end
of stdin is the end of the process.  What the peer prints goes to stderr.  Standard library only: it runs in the peer's
interpreter.
"""

import importlib
import json
import os
import platform
import signal
import sys
import time
import traceback
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = (
    *("fastsac", "torch", "numpy", "gymnasium", "mujoco", "envpool", "stable_baselines3", "sbx-rl", "jax", "jaxlib"),
    *("flax", "optax", "brax", "tianshou", "skrl", "torchrl", "tensordict"),
)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Server:
    """Answers requests about one adapter: a module with functions `updates` and `env_steps`, or one of them."""

    def __init__(self, adapter: str) -> None:
        self._adapter = adapter
        self._work: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request; whatever fails is an answer too."""
        try:
            if "build" in request:
                return {"built": self._build(**request["build"])}
            if "run" in request:
                return self._run(request["run"])
            raise ValueError(f"a request must have build or run, got {sorted(request)}.")
        except Exception as error:
            traceback.print_exc()  # to stderr
            unsupported = type(error).__name__ == "Unsupported"
            text = str(error) if unsupported else f"{type(error).__name__}: {error}"
            return {"error": text, "unsupported": unsupported}

    def _build(self, what: str, threads: int, sizes: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        cpus = restrict_cpus(threads)
        from bench.peers import common

        module = importlib.import_module(self._adapter)
        make = getattr(module, what, None)
        if make is None:
            raise common.Unsupported(f"it has no {what}")
        asked = common.Sizes(**sizes) if what == "updates" else common.Task(**sizes)
        self._work = make(asked, **options)
        self._work.run(1)
        about = {
            "asked": asdict(asked),
            "hyper": self._work.hyper,
            "versions": versions(),
            "threads": describe_threads(cpus),
        }
        return {"notes": self._work.notes, "about": about}

    def _run(self, units: int) -> dict[str, Any]:
        began = time.perf_counter()
        done = self._work.run(units)
        return {"done": done, "seconds": time.perf_counter() - began}


def restrict_cpus(threads: int) -> list[int]:
    """Keep to as many processors as threads were asked for: XLA and simulators size their pools by them."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    cpus = sorted(os.sched_getaffinity(0))[:threads]
    os.sched_setaffinity(0, cpus)
    return cpus


def describe_threads(cpus: list[int]) -> dict[str, Any]:
    """How the number of threads was set, and what torch made of it where it was imported."""
    torch = sys.modules.get("torch")
    return {
        "cpus": cpus,
        **{name: os.environ.get(name) for name in THREAD_VARIABLES},
        "torch": torch.get_num_threads() if torch is not None else None,
    }


def versions() -> dict[str, str]:
    """Versions of what this interpreter has of the packages that decide the figures."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children
    protocol = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # prints of the peer, in Python or below, are not answers
    server = Server(sys.argv[1])
    for line in sys.stdin:
        protocol.write(json.dumps(server.answer(json.loads(line))) + "\n")
    protocol.flush()
    os._exit(0)  # a peer's loop may still be waiting in a thread


if __name__ == "__main__":
    main()
