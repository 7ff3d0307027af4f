"""Fixtures that several files use."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from fastsac.runtime import launch
from fastsac.runtime.launch import Mode
from tests.support.fixtures import Call, Start, T
from tests.support.forked import Forked, command
from tests.support.graph_recorder import GraphRecorder
from tests.support.ranks import Ranks
from tests.support.runs import TINY

# Networks in tests are tiny, and threads that wait for each other are slow where anything else runs.
torch.set_num_threads(1)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[GraphRecorder]:
    """Launches in mode "captured" on a CPU: recorded once, then replayed, uncompiled."""
    monkeypatch.setattr(launch, "CudaRecorder", GraphRecorder)
    monkeypatch.setattr(launch, "CompiledStep", lambda step, *_: step)
    monkeypatch.setattr(GraphRecorder, "recorded", 0)
    monkeypatch.setattr(GraphRecorder, "replayed", 0)
    return GraphRecorder


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`slow_where(name=[values])`: a test is slow where a parameter has one of these values."""
    for item in items:
        params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        for marker in item.iter_markers("slow_where"):
            if any(params.get(name) in values for name, values in marker.kwargs.items()):
                item.add_marker(pytest.mark.slow)


@pytest.fixture(params=["eager", "compiled", "captured"])
def mode(request: pytest.FixtureRequest) -> Mode:
    """Each way to run a step; "captured" is recorded, where there is no GPU."""
    mode: Mode = request.param
    if mode == "captured":
        request.getfixturevalue("recorder")
    return mode


@pytest.fixture
def call(mode: Mode) -> Call:
    """`call(function, *args)` gives what a function of tensors returns, run in each mode."""

    def call(function: Callable[..., T], *args: object) -> T:
        if mode == "compiled":
            return torch.compile(function, fullgraph=True, dynamic=False)(*args)
        if mode == "eager":
            return function(*args)
        out: list[T] = []
        with torch.no_grad():
            GraphRecorder().record(lambda: out.append(function(*args)))()
        return out[0]

    return call


@pytest.fixture(scope="session")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    """Two processes that work together."""
    with Ranks(2, tmp_path_factory.mktemp("ranks")) as both:
        yield both


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """`fastsac train` in processes of their own, which do not outlive the test."""
    processes, printed = list[Forked](), tmp_path_factory.mktemp("printed")

    def start(folder: Path, *args: str, env: str = "tests.support.scripted_env:5c") -> Forked:
        flags = ["train", "--env", env, "--run-dir", str(folder), *TINY, *args]
        processes.append(command(printed / f"{len(processes)}", *flags))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
