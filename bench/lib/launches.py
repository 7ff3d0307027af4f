"""What one launch of a learner costs: its rate, its time on host and on GPU, the nodes of its graph, its kernels.

The first works everywhere; the others need CUDA and are None, or fail, elsewhere.
"""

import ctypes
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from bench.lib import harness, program
from fastsac.learning.learner import Learner

TIMED = 16  # launches timed one by one after the device has been waited for: few enough to fit its queue
KERNEL, MEMCPY, MEMSET = 0, 1, 2  # CUgraphNodeType
TRACED = ("kernel", "gpu_memcpy", "gpu_memset")  # the profiler's names for the same
SHOWN_KERNELS = 25


def rate(learner: Learner, updates: int, seconds: float, repeats: int) -> harness.Row:
    """Updates per second of launches of so many updates, back to back; the device is waited for at each round's end."""
    due = [updates] * learner.config.seeds

    def run(launches: int) -> int:
        for _ in range(launches):
            learner.launch(due)
        program.wait_for(learner)
        return launches

    launches = harness.calibrate(run, seconds)
    rounds = [harness.measure(run, launches) for _ in range(repeats)]
    return {**harness.summary([done * updates / s for done, s in rounds]), "launches_per_round": launches}


def times(learner: Learner, updates: int, rounds: int = 3) -> harness.Row:
    """Seconds that one launch keeps the host, and from one launch's end to the next one's on the GPU; medians.

    The first launch after a wait is left out of the GPU's: there the device may wait for the host.
    """
    if learner.device.type != "cuda":
        return {"host_s_per_launch": None, "gpu_s_per_launch": None}
    due = [updates] * learner.config.seeds
    host, gpu = [], []
    for _ in range(rounds):
        events = [torch.cuda.Event(enable_timing=True) for _ in range(TIMED)]
        torch.cuda.synchronize()
        for event in events:
            began = time.perf_counter()
            learner.launch(due)
            host.append(time.perf_counter() - began)
            event.record()
        torch.cuda.synchronize()
        gpu += [a.elapsed_time(b) / 1000 for a, b in pairwise(events)]
    return {"host_s_per_launch": statistics.median(host), "gpu_s_per_launch": statistics.median(gpu)}


# Graphs -------------------------------------------------------------------------------------------------------------


@contextmanager
def kept_graphs() -> Iterator[list[Any]]:
    """The CUDA graphs that are captured inside, made so that their nodes can be counted; they replay no differently."""
    original, graphs = torch.cuda.CUDAGraph, []

    def make() -> Any:
        graphs.append(original(keep_graph=True))
        return graphs[-1]

    with mock.patch.object(torch.cuda, "CUDAGraph", make):
        yield graphs


def count_nodes(graph: Any, cuda: Any = None) -> int:
    """Kernels, copies and memsets in a kept graph, as the CUDA driver (`cuda`, for tests) counts them."""
    cuda = cuda or ctypes.CDLL("libcuda.so.1")
    handle, num = ctypes.c_void_p(graph.raw_cuda_graph()), ctypes.c_size_t()
    _check(cuda.cuGraphGetNodes(handle, None, ctypes.byref(num)))
    nodes = (ctypes.c_void_p * num.value)()
    _check(cuda.cuGraphGetNodes(handle, nodes, ctypes.byref(num)))
    return sum(_node_type(cuda, node or 0) in (KERNEL, MEMCPY, MEMSET) for node in nodes)


def nodes_per_update(graphs: Sequence[Any], per_launch: int) -> harness.Row:
    """Nodes of the largest graph by its updates; None without graphs, or where they cannot be counted."""
    try:
        return {"nodes_per_update": max(map(count_nodes, graphs)) / per_launch if graphs else None}
    except Exception as error:
        return {"nodes_per_update": None, "nodes_error": f"{type(error).__name__}: {error}"}


def _node_type(cuda: Any, node: int) -> int:
    kind = ctypes.c_int()
    _check(cuda.cuGraphNodeGetType(ctypes.c_void_p(node), ctypes.byref(kind)))
    return kind.value


def _check(status: int) -> None:
    if status != 0:
        raise RuntimeError(f"the CUDA driver returned {status}")


# Kernels ------------------------------------------------------------------------------------------------------------


def profile(learner: Learner, updates: int) -> harness.Row:
    """The kernels of one launch, by torch's profiler; a run that was profiled is not to be timed afterwards."""
    # Graphs that were captured before and the profiler's end do not go together.
    os.environ["DISABLE_CUPTI_LAZY_REINIT"], os.environ["TEARDOWN_CUPTI"] = "1", "0"
    due = [updates] * learner.config.seeds
    on_cuda = learner.device.type == "cuda"
    kind = torch.profiler.ProfilerActivity.CUDA if on_cuda else torch.profiler.ProfilerActivity.CPU
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        with torch.profiler.profile(
            activities=[kind],
            schedule=torch.profiler.schedule(wait=0, warmup=1, active=1, repeat=1),
            on_trace_ready=lambda p: p.export_chrome_trace(str(path)),
        ) as profiler:
            for _ in range(2):
                learner.launch(due)
                if on_cuda:
                    torch.cuda.synchronize()
                profiler.step()
        return read_trace(json.loads(path.read_text()), updates)


def read_trace(trace: dict[str, Any], updates: int) -> harness.Row:
    """Nodes and time per update in a trace of one launch, and the kernels that take most of it."""
    events = [e for e in trace["traceEvents"] if e.get("cat") in TRACED and e.get("ph") == "X"]
    if not events:
        raise RuntimeError("the profiler saw no kernel")
    number, total_us = Counter(e["name"] for e in events), Counter[str]()
    for e in events:
        total_us[e["name"]] += e["dur"]
    span_us = max(e["ts"] + e["dur"] for e in events) - min(e["ts"] for e in events)
    return {
        "nodes_per_update": len(events) / updates,
        "span_us": span_us / updates,
        "busy_us": sum(total_us.values()) / updates,
        "kernels": [
            {"name": name[:160], "per_update": number[name] / updates, "us_per_update": us / updates}
            for name, us in total_us.most_common(SHOWN_KERNELS)
        ],
    }
