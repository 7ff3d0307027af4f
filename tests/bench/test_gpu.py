"""The GPU benchmark's arithmetic, order and safety, and that all of it runs on a CPU."""

import ctypes
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench import gpu
from bench.lib import harness, launches, program
from bench.peers import common, products
from fastsac.config.settings import Config
from tests.support.fake_clock import FakeClock

CPU = torch.device("cpu")
SETTINGS = gpu.Settings(env_threads=(16, 8, 4))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(harness, "time", clock)
    monkeypatch.setattr(gpu, "time", clock)
    return clock


# The learner's pieces -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("members", "transitions"), [(1, 64), (2, 1000)])
def test_replay_is_filled_in_few_steps_with_transitions_only(members: int, transitions: int) -> None:
    sizes = program.Sizes(obs_dim=3, action_dim=2, hidden_dims=(4,), batch_size=8, transitions=transitions)
    learner, replay, _ = program.make_filled(sizes, "eager", CPU, members)
    assert replay.count.tolist() == [replay.host_head * replay.num_envs] * members
    assert transitions <= replay.count[0] <= 1.1 * transitions
    assert replay.host_head <= 1.1 * program.FILL_STEPS
    assert not replay.rows.terminated.any()
    learner.launch([1] * members)
    program.wait_for(learner)


@pytest.mark.parametrize(
    ("precision", "expected"), [("highest", ("highest", False)), ("high", ("high", False)), ("bf16", ("high", True))]
)
def test_precision_is_told_to_the_learner(precision: program.Precision, expected: tuple[str, bool]) -> None:
    sizes = program.Sizes(hidden_dims=(4,), batch_size=8, transitions=64)
    learner = program.make_filled(sizes, "eager", CPU, precision=precision, updates_per_launch=4).learner
    config = learner.config
    assert (config.matmul_precision, config.bf16) == expected
    assert config.updates_per_launch == 4


def test_updates_made_alone_do_not_change_what_is_due() -> None:
    config = Config(
        env="Pendulum-v1", num_envs=4, utd_ratio=0.5, hidden_dims=(4,), batch_size=8, learning_starts=16,
        buffer_size=1000, total_steps=2**31,
    )  # fmt: skip
    training = program.Training(config, "eager", CPU)
    launched = [training.step() for _ in range(4)]
    before, done = training.collector.due(), training.learner.grad_steps[0]
    training.learn_alone(launched)
    assert training.learner.grad_steps[0] == done + sum(due[0] for due in launched) > done
    assert training.collector.due() == before
    training.close()


def test_random_steps_count_every_environment() -> None:
    steps = program.RandomSteps("Pendulum-v1", num_envs=3, num_threads=1)
    assert steps.run(20) == 60
    steps.env.close()


# Graphs and kernels ---------------------------------------------------------------------------------------------------


class FakeDriver:
    """A CUDA driver with one graph at address 7, whose nodes are at 100, 101, ..."""

    def __init__(self, types: list[int]) -> None:
        self.types = types

    def cuGraphGetNodes(self, graph: Any, nodes: Any, num: Any) -> int:
        assert graph.value == 7
        num._obj.value = len(self.types)
        for i in range(len(self.types) if nodes is not None else 0):
            nodes[i] = 100 + i
        return 0

    def cuGraphNodeGetType(self, node: Any, kind: Any) -> int:
        assert isinstance(node, ctypes.c_void_p)
        kind._obj.value = self.types[(node.value or 0) - 100]
        return 0


def test_nodes_of_a_graph_are_kernels_copies_and_memsets() -> None:
    graph = SimpleNamespace(raw_cuda_graph=lambda: 7)
    kernel, memcpy, memset, empty, event = 0, 1, 2, 5, 7
    assert launches.count_nodes(graph, FakeDriver([kernel, memcpy, empty, memset, kernel, event])) == 4


def test_an_error_of_the_driver_is_no_count() -> None:
    graph = SimpleNamespace(raw_cuda_graph=lambda: 7)
    driver = SimpleNamespace(cuGraphGetNodes=lambda *_: 400)
    with pytest.raises(RuntimeError, match="returned 400"):
        launches.count_nodes(graph, driver)


def test_graphs_captured_inside_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    class Graph:
        def __init__(self, keep_graph: bool = False) -> None:
            self.keep_graph = keep_graph

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    with launches.kept_graphs() as graphs:
        made = [torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()]
    assert graphs == made
    assert all(graph.keep_graph for graph in graphs)
    assert vars(torch.cuda)["CUDAGraph"] is Graph


def test_nodes_that_cannot_be_counted_are_none_and_say_why() -> None:
    assert launches.nodes_per_update([], 4) == {"nodes_per_update": None}
    row = launches.nodes_per_update([SimpleNamespace()], 4)
    assert row["nodes_per_update"] is None
    assert "Error" in row["nodes_error"]


def test_trace_of_two_updates() -> None:
    def event(cat: str, name: str, ts: float, dur: float) -> dict[str, Any]:
        return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur}

    events = [
        event("cuda_runtime", "cudaGraphLaunch", 0, 50),
        event("kernel", "gemm", 10, 4), event("kernel", "adam", 15, 1), event("gpu_memcpy", "copy", 17, 1),
        event("kernel", "gemm", 20, 6), event("kernel", "adam", 27, 1), event("gpu_memset", "zero", 29, 1),
        {"ph": "i", "cat": "kernel", "name": "not a span", "ts": 900},
    ]  # fmt: skip
    row = launches.read_trace({"traceEvents": events}, updates=2)
    assert (row["nodes_per_update"], row["span_us"], row["busy_us"]) == (3, 10, 7)
    assert row["kernels"][0] == {"name": "gemm", "per_update": 1, "us_per_update": 5}
    assert [k["name"] for k in row["kernels"]] == ["gemm", "adam", "copy", "zero"]


def test_profile_reads_the_profilers_own_trace() -> None:
    """On a CPU there is a trace, but no kernel in it."""
    learner = program.make_filled(program.Sizes(hidden_dims=(4,), batch_size=8, transitions=64), "eager", CPU).learner
    with pytest.raises(RuntimeError, match="saw no kernel"):
        launches.profile(learner, 2)


class GpuClock(FakeClock):
    """The host's, and when the GPU will be done with what it has been given."""

    gpu_s = 0.0


class FakeEvent:
    """A CUDA event on a GPU that is done with a launch 3 ms after the one before."""

    def __init__(self, clock: GpuClock) -> None:
        self.clock = clock

    def record(self) -> None:
        self.clock.gpu_s += 0.003
        self.at_s = self.clock.gpu_s

    def elapsed_time(self, end: "FakeEvent") -> float:
        return 1000 * (end.at_s - self.at_s)


def test_times_of_a_launch_on_host_and_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = GpuClock()

    def launch(due: list[int]) -> None:
        assert due == [4, 4]
        clock.now += 0.0001

    monkeypatch.setattr(launches, "time", clock)
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: FakeEvent(clock))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    learner = SimpleNamespace(device=torch.device("cuda"), config=SimpleNamespace(seeds=2), launch=launch)
    row = launches.times(learner, 4)  # type: ignore[arg-type]
    assert row == pytest.approx({"host_s_per_launch": 0.0001, "gpu_s_per_launch": 0.003})


# Order and safety -----------------------------------------------------------------------------------------------------


def test_jobs_come_in_the_order_of_their_importance() -> None:
    jobs = gpu.make_jobs(SETTINGS, "captured", CPU)
    assert [job.name for job in jobs[:6]] == [
        "batch 256, 1 member, high, K 16",
        "batch 256, 8 members, high, K 16",
        "HalfCheetah-v5, 256 envs, utd 1",
        "HalfCheetah-v5, 256 envs, utd 0.25",
        "HalfCheetah-v5, 256 envs, utd 0.0625",
        "batch 256, 1 member, high, K 1",
    ]
    assert list(dict.fromkeys(job.section for job in jobs)) == list(gpu.SECTIONS)
    assert [sum(job.section == section for job in jobs) for section in gpu.SECTIONS] == [2, 3, 5, 15, 34, 1]
    assert len({job.name for job in jobs}) == len(jobs)


def test_sweep_begins_near_the_headline() -> None:
    jobs = [job for job in gpu.make_jobs(SETTINGS, "captured", CPU) if job.section == "sweep"]
    names = [job.name.removesuffix(", K 16") for job in jobs]
    assert set(names[:6]) == {
        "batch 256, 1 member, bf16", "batch 256, 1 member, highest", "batch 2,048, 1 member, high",
        "batch 8,192, 1 member, high", "batch 256, 4 members, high", "batch 256, 16 members, high",
    }  # fmt: skip
    assert names[6] == "batch 2,048, 1 member, bf16"
    assert names[-1] == "batch 8,192, 16 members, highest"


def test_sections_can_be_chosen() -> None:
    jobs = gpu.make_jobs(replace(SETTINGS, sections=("envs", "kernels")), "captured", CPU)
    assert {job.section for job in jobs} == {"envs", "kernels"}


def test_a_job_that_fails_is_a_row(clock: FakeClock) -> None:
    def run() -> harness.Row:
        clock.now += 3.0
        raise RuntimeError("CUDA error: an illegal memory access\nmore")

    row = gpu.run_job(gpu.Job("sweep", "a", run), gpu.Budget(100.0), CPU)
    assert row["error"].startswith("RuntimeError: CUDA error")
    assert "in run" in row["traceback"]
    assert row["job_s"] == 3.0
    assert gpu.notes(row) == "error: RuntimeError: CUDA error: an illegal memory access"


def test_memory_is_that_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("empty"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: calls.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5)
    job = gpu.Job("sweep", "a", lambda: {"calls": list(calls)})
    row = gpu.run_job(job, gpu.Budget(100.0), torch.device("cuda"))
    assert row["calls"] == ["empty", "reset"]
    assert row["peak_allocated_bytes"] == 5


def test_budget_leaves_out_what_would_not_end_in_time(clock: FakeClock) -> None:
    def run() -> harness.Row:
        clock.now += 12.0
        return {"median": 1.0, "unit": "updates/s"}

    kept_s = gpu.ABOUT_S["kernels"]
    budget = gpu.Budget(gpu.ABOUT_S["sweep"] + kept_s)
    rows = [gpu.run_job(gpu.Job("sweep", "a", run), budget, CPU) for _ in range(3)]
    assert "median" in rows[0]  # may be expected to end just in time
    assert "median" in rows[1]  # 12 of 30 s are used, and one takes 12
    assert rows[2]["skipped"].startswith("no time left of")  # 24 used
    assert "median" in gpu.run_job(gpu.Job("kernels", "k", run), budget, CPU)  # for which some was kept back


def test_captured_needs_a_gpu() -> None:
    with pytest.raises(ValueError, match="mode captured needs a CUDA device, got cpu"):
        gpu.choose_mode(gpu.Settings(mode="captured"), CPU)
    assert gpu.choose_mode(gpu.Settings(), CPU) == "compiled"
    assert gpu.choose_mode(gpu.Settings(), torch.device("cuda")) == "captured"


class FakeTraining:
    """2 s a vector step; 1.6 s for the updates alone."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.learner = SimpleNamespace(read_metrics=list, fault_steps=list)

    def step(self) -> list[int]:
        self.clock.now += 2.0
        return [4]

    def learn_alone(self, launched: list[list[int]]) -> None:
        self.clock.now += 1.6 * len(launched)


def test_rounds_of_training_and_its_parts(clock: FakeClock) -> None:
    def run(vec_steps: int) -> int:
        clock.now += vec_steps
        return 10 * vec_steps

    alone = SimpleNamespace(run=run, env=SimpleNamespace(num_envs=10))
    rounds = gpu.TrainingRounds(FakeTraining(clock), alone, seconds=8.0)  # type: ignore[arg-type]
    rounds.run()
    rounds.run()
    row = rounds.results()
    assert row["vec_steps_per_round"] == 4
    assert row["median"] == pytest.approx(5.0)  # env steps a second: 10 in 2 s
    assert row["ratio"]["values"] == pytest.approx([1.25, 1.25])  # 2 s over 1.6 s
    assert row["env_ms_per_vec_step"]["median"] == pytest.approx(1000.0)


def test_products_that_fail_cost_no_other_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no graph of it")

    monkeypatch.setattr(products, "updates", fail)
    row = gpu.Bench(SETTINGS, "eager", CPU).products_alone(gpu.Point(256, 1, "high", 16))
    assert row == {"products_us_per_update": None, "products_error": "RuntimeError: no graph of it"}


def test_a_row_in_words() -> None:
    row = {"batch_size": 2048, "members": 1, "precision": "high", "gpu_us_per_update": 150.0}
    assert gpu.described(row) == "batch 2,048, 1 member, TF32"
    assert gpu.described({**row, "gpu_us_per_update": None}) == "batch 2,048, 1 member, float32"


def test_products_of_members_are_as_many() -> None:
    asked = common.Sizes(obs_dim=1, action_dim=1, hidden_dims=(2,), batch_size=3, transitions=8)
    one, two = products.updates(asked), products.updates(asked, members=2)
    assert two.notes["MFLOP"] == pytest.approx(2 * one.notes["MFLOP"], abs=0.1)
    assert two.run(3) == 3


# All of it ------------------------------------------------------------------------------------------------------------

ARGS = ["--quick", "--device", "cpu", "--threads", str(torch.get_num_threads())]


@pytest.mark.slow
def test_quick_run_measures_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gpu.QUICK, "envs", ("Pendulum-v1", "NoSuchTask-v0"))
    path = tmp_path / "results" / "gpu.json"
    report = gpu.main([*ARGS, "--json", str(path)])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    assert report["complete"]
    assert {row["section"] for row in report["rows"]} == set(gpu.SECTIONS)
    assert [row["error"] for row in report["rows"] if "error" in row] == []
    skipped = {row["name"]: row["skipped"] for row in report["rows"] if "skipped" in row}
    assert len(skipped) == 4  # three of the unknown environment, and the kernels
    assert "NoSuchTask-v0" in skipped["NoSuchTask-v0, 4 envs, 2 threads"]
    assert "needs a CUDA GPU" in report["rows"][-1]["skipped"]

    first = report["rows"][0]
    assert (first["batch_size"], first["members"], first["per_launch"], len(first["values"])) == (8, 1, 2, 2)
    on_gpu = ("gpu_us_per_update", "host_share", "nodes_per_update", "peak_allocated_bytes")
    assert [first[key] for key in on_gpu] == [None] * len(on_gpu)
    assert 0 < first["products_us_per_update"] < 1e6 / first["median"]  # no update is faster than its products
    assert report["rows"][1]["member_updates_per_s"] == 2 * report["rows"][1]["median"]

    out = capsys.readouterr().out
    assert "headline: batch 8, 1 member, high, K 2" in out
    assert "wall" in out


def test_no_time_at_all_still_writes_a_report(tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    report = gpu.main([*ARGS, "--budget-s", "0", "--json", str(path)])
    assert all("no time left of 0 s" in row["skipped"] for row in report["rows"])
    assert len(json.loads(path.read_text())["rows"]) == len(report["rows"])
    assert list(tmp_path.iterdir()) == [path]
