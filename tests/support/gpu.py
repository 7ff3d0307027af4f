"""What tests of a GPU have in common, and their rehearsal on a CPU where there is none.

A rehearsal, with FASTSAC_REHEARSE_GPU in the environment, shows that tests call what there is and expect what comes:
launches are recorded instead of captured, nothing is compiled, and a CPU is never waited for.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import pytest
import torch

from fastsac.config.settings import Config
from fastsac.run import plan
from fastsac.runtime import launch
from fastsac.runtime.launch import Mode, Step
from tests.support.graph_recorder import GraphRecorder

REHEARSED = bool(os.environ.get("FASTSAC_REHEARSE_GPU")) and not torch.cuda.is_available()
DEVICE = torch.device("cpu") if REHEARSED else torch.device("cuda", 0)
NEEDS_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available() and not REHEARSED, reason="needs a CUDA GPU"),
    pytest.mark.filterwarnings(
        # What other packages say of themselves is shown after the tests, and fails none.
        "default::DeprecationWarning",
        "default::PendingDeprecationWarning",
        "default::FutureWarning",
        "default::ResourceWarning",
        "default::pytest.PytestUnraisableExceptionWarning",
        "default:::(torch|triton|tensordict|torchrl|numpy|envpool)",
        "ignore:TensorFloat32 tensor cores for float32 matrix multiplication available:UserWarning",
        "ignore:Synchronization debug mode is a prototype feature:UserWarning",
    ),
]


class _Uncompiled:
    """As `CompiledStep`."""

    def __init__(self, step: Step, *_: object) -> None:
        self._step = step

    def __call__(self, *args: object) -> None:
        self._step(*args)

    def record(self, *args: object) -> Callable[[], None]:
        self._step(*args)
        return lambda: self._step(*args)


def _mode(config: Config, *_: object) -> tuple[Mode, str]:
    if config.compile == "off":
        return "eager", "rehearsed"
    return ("compiled" if config.cuda_graphs == "off" else "captured"), "rehearsed"


@contextmanager
def rehearsal() -> Iterator[None]:
    """Inside, what is a GPU's own does nothing, where there is none."""
    if not REHEARSED:
        yield
        return
    replaced: dict[str, Any] = {
        "set_sync_debug_mode": lambda _: None, "_sleep": lambda _: None, "stream": lambda _: nullcontext(),
        "memory_stats": lambda _: defaultdict(int),
    }  # fmt: skip
    with ExitStack() as stack:
        for name, value in replaced.items():
            stack.enter_context(patch.object(torch.cuda, name, value))
        stack.enter_context(patch.object(torch, "compile", lambda function, **_: function))
        stack.enter_context(patch.object(launch, "CudaRecorder", GraphRecorder))
        stack.enter_context(patch.object(launch, "CompiledStep", _Uncompiled))
        stack.enter_context(patch.object(plan, "choose_mode", _mode))
        yield
