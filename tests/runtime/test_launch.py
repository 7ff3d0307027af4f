"""Launches: order, variants, sizes of graphs, warm-up without effect, errors.  The step here is a counter."""

import warnings

import pytest
import torch

from fastsac.runtime import launch
from fastsac.runtime.launch import CaptureError, Launch


def step(buffers, flag):
    buffers["total"].mul_(2).add_(1.0 if flag else 0.0)
    buffers["steps"].add_(1)


def make(mode, device="cpu", per_graph=3, **options):
    buffers = {"total": torch.zeros(4, device=device), "steps": torch.zeros(1, device=device)}
    variants = {flag: (buffers, flag) for flag in (True, False)}
    return Launch(step, variants, buffers, mode, per_graph, **options), buffers


def check(launch, buffers):
    address = buffers["total"].data_ptr()
    launch.warm_up([True, False])
    assert buffers["steps"].item() == 0
    assert not buffers["total"].any()
    flags = [True, False, True, True, False, False, True, True]
    launch(flags)
    launch([])
    expected = 0
    for flag in flags:
        expected = 2 * expected + flag
    assert buffers["total"].tolist() == [expected] * 4
    assert buffers["steps"].item() == len(flags)
    assert buffers["total"].data_ptr() == address


@pytest.mark.parametrize("mode", ["eager", "compiled"])
def test_steps_run_in_order_once_each_and_warming_up_changes_nothing(mode):
    check(*make(mode))


def test_a_compiled_launch_runs_before_and_after_it_is_warmed_up():
    launch, buffers = make("compiled")
    launch([True])
    launch.warm_up([True, False])
    with torch.compiler.set_stance("fail_on_recompile"):
        launch([False, True])
    buffers["total"].fill_(10)  # what others write in place is seen
    launch([True])
    assert buffers["total"].tolist() == [21] * 4
    assert buffers["steps"].item() == 4
    launch([])
    assert buffers["steps"].item() == 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("options", [{}, {"compiled": False}])
@pytest.mark.parametrize("mode", ["eager", "compiled", "captured"])
def test_steps_run_in_order_once_each_on_a_gpu(mode, options):
    check(*make(mode, "cuda", **options))


@pytest.mark.parametrize("options", [{}, {"compiled": False}])
def test_recorded_steps_run_in_order_once_each(recorder, options):
    check(*make("captured", **options))


def test_what_a_user_cannot_mend_is_no_warning(monkeypatch):
    def compile_fx(graph, inputs, config_patches):
        warnings.warn("\nOnline softmax is disabled on the fly since Inductor decides to\nsplit", stacklevel=2)
        return graph

    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", compile_fx)
    graph = torch.fx.symbolic_trace(lambda x: x + 1)
    assert launch.Inductor({})(graph, [])(torch.ones(1)) == 2


def test_what_is_left_over_runs_in_graphs_of_half_the_size_and_so_on(recorder):
    launch, _ = make("captured", per_graph=8)
    launch.warm_up([True])
    assert recorder.recorded == 4  # 8, 4, 2 and 1
    for num_steps, graphs in ((8, 1), (7, 3), (24, 3), (1, 1), (0, 0)):
        recorder.replayed = 0
        launch([True] * num_steps)
        assert recorder.replayed == graphs
    assert recorder.recorded == 4


def test_every_part_of_a_cycle_has_its_graph_after_warming_up(recorder):
    launch, _ = make("captured", per_graph=4)
    cycle = [True, False, False]
    launch.warm_up(cycle)
    recorded = recorder.recorded
    for start in range(3):
        for num_steps in range(12):
            launch([cycle[(start + i) % 3] for i in range(num_steps)])
    assert recorder.recorded == recorded == 3 + 3 + 2  # four steps, two steps, and one step of each kind


def test_a_step_that_needs_the_host_is_refused(recorder):
    total = torch.zeros(2)

    def bad(total):
        if total.sum() < 1:
            total.add_(1)

    launch = Launch(bad, {0: (total,)}, total, "captured", compiled=False)
    with pytest.raises(CaptureError, match=r"_local_scalar_dense.* needs the host"):
        launch.warm_up([0])


def test_an_error_in_a_capture_names_the_line_that_caused_it():
    try:
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")  # the cause
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")
    except RuntimeError as error:
        text = launch.explain(error)
    assert "# the cause` (" in text
    assert text.endswith(": operation not permitted when stream is capturing.")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_step_that_waits_for_the_gpu_is_refused_with_its_line():
    total = torch.zeros(2, device="cuda")

    def bad(total):
        if total.sum() < 1:
            total.add_(1)

    launch = Launch(bad, {0: (total,)}, total, "captured", compiled=False)
    with pytest.raises(CaptureError, match=r"at `if total\.sum\(\) < 1:`.*--cuda-graphs off"):
        launch.warm_up([0])
    torch.cuda.synchronize()
    check(*make("captured", "cuda"))  # the failed capture leaves a usable GPU
