"""The kernels of one launch of a learner, by torch's profiler."""

import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from bench.lib.harness import Row
from fastsac.learning.learner import Learner

TRACED = ("kernel", "gpu_memcpy", "gpu_memset")  # the nodes of a graph
SHOWN = 25


def profile(learner: Learner, updates: int) -> Row:
    """The kernels of one launch, which is not to be timed afterwards."""
    # Graphs that were captured before and the profiler's end do not go together.
    os.environ["DISABLE_CUPTI_LAZY_REINIT"], os.environ["TEARDOWN_CUPTI"] = "1", "0"
    due = [updates] * learner.config.num_members
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CUDA],
            schedule=torch.profiler.schedule(wait=0, warmup=1, active=1, repeat=1),
            on_trace_ready=lambda p: p.export_chrome_trace(str(path)),
        ) as profiler:
            for _ in range(2):
                learner.launch(due)
                torch.cuda.synchronize()
                profiler.step()
        return read_trace(json.loads(path.read_text()), updates)


def read_trace(trace: dict[str, Any], updates: int) -> Row:
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
            for name, us in total_us.most_common(SHOWN)
        ],
    }
