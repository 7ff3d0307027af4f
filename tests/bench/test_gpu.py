"""The GPU benchmark's arithmetic, order and safety, and that all of it runs on a CPU."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import gpu
from bench.lib import harness, kernels, program, tables
from bench.peers import products
from bench.peers.common import Sizes
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.learning.learner import make_parts
from tests.support.fake_clock import FakeClock

CPU = torch.device("cpu")
SETTINGS = gpu.Settings(env_threads=(16, 8, 4))
SMALL = Sizes(hidden_dims=(4,), batch_size=8, transitions=64)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(harness, "time", clock)
    monkeypatch.setattr(gpu, "time", clock)
    return clock


# The learner's pieces -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [1, 2])
def test_replay_is_filled_with_transitions_only(members: int) -> None:
    config = Config(env="random numbers", seeds=members, num_envs=15, batch_size=8, learning_starts=8, hidden_dims=(4,))
    spec = EnvSpec("random numbers", 3, 2, (("obs", 3),), None)
    parts = make_parts(config.replace(buffer_size=1000), spec, CPU, "eager")
    program.fill_(parts, 1000)
    assert parts.replay.count.tolist() == [1005] * members  # in 67 vector steps
    assert not parts.replay.rows.terminated.any()
    parts.learner.launch([1] * members)
    program.wait_for(parts.learner)


@pytest.mark.parametrize(
    ("precision", "expected"), [("highest", ("highest", False)), ("high", ("high", False)), ("bf16", ("high", True))]
)
def test_precision_is_told_to_the_learner(precision: program.Precision, expected: tuple[str, bool]) -> None:
    config = program.make_learner(SMALL, "eager", CPU, precision=precision, updates_per_launch=4).config
    assert (config.matmul_precision, config.bf16) == expected
    assert config.updates_per_launch == 4


def test_updates_made_alone_do_not_change_what_is_due() -> None:
    config = Config(
        env="Pendulum-v1", preset="none", num_envs=4, utd_ratio=0.5, hidden_dims=(4,), batch_size=8, learning_starts=16,
        buffer_size=1000, total_steps=2**31,
    )  # fmt: skip
    training = program.Training(config, "eager", CPU)
    before = training.learner.grad_steps[0]
    assert training.step(4) == 4
    made, due = training.learner.grad_steps[0] - before, training.collector.due()
    assert training.learn_alone(8) == 8
    assert training.learner.grad_steps[0] - before == 3 * made > 0
    assert training.collector.due() == due
    training.close()


def test_trace_of_two_updates() -> None:
    def event(cat: str, name: str, ts: float, dur: float) -> dict[str, Any]:
        return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur}

    events = [
        event("cuda_runtime", "cudaGraphLaunch", 0, 50),
        event("kernel", "gemm", 10, 4), event("kernel", "adam", 15, 1), event("gpu_memcpy", "copy", 17, 1),
        event("kernel", "gemm", 20, 6), event("kernel", "adam", 27, 1), event("gpu_memset", "zero", 29, 1),
        {"ph": "i", "cat": "kernel", "name": "not a span", "ts": 900},
    ]  # fmt: skip
    row = kernels.read_trace({"traceEvents": events}, updates=2)
    assert (row["nodes_per_update"], row["span_us"], row["busy_us"]) == (3, 10, 7)
    assert row["kernels"][0] == {"name": "gemm", "per_update": 1, "us_per_update": 5}
    assert [k["name"] for k in row["kernels"]] == ["gemm", "adam", "copy", "zero"]


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
    assert list(dict.fromkeys(job.section for job in jobs)) == list(gpu.ABOUT_S)
    assert [sum(job.section == section for job in jobs) for section in gpu.ABOUT_S] == [2, 3, 5, 15, 6, 1]
    assert len({job.name for job in jobs}) == len(jobs)
    assert [job.name for job in jobs if job.section == "sweep"] == [
        "batch 2,048, 1 member, high, K 16",
        "batch 8,192, 1 member, high, K 16",
        "batch 256, 1 member, bf16, K 16",
        "batch 256, 1 member, highest, K 16",
        "batch 256, 4 members, high, K 16",
        "batch 256, 16 members, high, K 16",
    ]


def test_sections_can_be_chosen() -> None:
    jobs = gpu.make_jobs(replace(SETTINGS, sections=("envs", "kernels")), "captured", CPU)
    assert {job.section for job in jobs} == {"envs", "kernels"}


def run_all(jobs: list[gpu.Job], budget_s: float = 1000.0) -> list[harness.Row]:
    return list(gpu.run_in_time(jobs, budget_s, CPU))


def test_a_job_that_fails_is_a_row() -> None:
    def fail() -> harness.Row:
        raise RuntimeError("CUDA error: an illegal memory access\nmore")

    first, second = run_all([gpu.Job("sweep", "a", fail), gpu.Job("sweep", "b", lambda: {"median": 1.0})])
    assert "in fail" in first["traceback"]
    assert tables.problem(first) == "error: RuntimeError: CUDA error: an illegal memory access"
    assert second == {"section": "sweep", "name": "b", "median": 1.0}


def test_memory_is_that_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("empty"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: calls.append("reset"))
    job = gpu.Job("sweep", "a", lambda: {"calls": list(calls)})
    (row,) = gpu.run_in_time([job], 1000.0, torch.device("cuda"))
    assert row["calls"] == ["empty", "reset"]


def test_budget_leaves_out_what_would_not_end_in_time(clock: FakeClock) -> None:
    def run() -> harness.Row:
        clock.now += 12.0
        return {"median": 1.0}

    last, sweep = gpu.Job("kernels", "k", run), gpu.Job("sweep", "a", run)
    rows = run_all([sweep, sweep, sweep, last], gpu.ABOUT_S["sweep"] + gpu.ABOUT_S["kernels"])
    assert "median" in rows[0]  # may be expected to end just in time
    assert "median" in rows[1]  # 12 of 30 s are used, and one takes 12
    assert rows[2]["skipped"] == "no time left of 50 s"  # 24 used
    assert "median" in rows[3]  # for which some was kept back


def test_products_that_fail_cost_no_other_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no graph of it")

    monkeypatch.setattr(products, "updates", fail)
    assert gpu.Bench(SETTINGS, "eager", CPU).products_alone(gpu.Point(256, 1, "high", 16)) is None


def test_what_is_tf32_on_a_gpu_is_float32_on_a_cpu() -> None:
    row = {"section": "headline", **gpu.Point(2048, 1, "high", 16)._asdict(), "median": 10.0}
    report: harness.Report = {"rows": [row | {"peak_allocated_bytes": None}], "machine": {"gpu": None}}
    report["settings"] = {"transitions": 9, "device": "auto"}
    members, batch = gpu.figures(report)
    assert members.title == "batch 2,048, float32, 9 transitions each"
    assert batch.rows == [["batch 2,048, float32", "10.0", "20,480", ""]]
    on_gpu = gpu.figures({**report, "machine": {"gpu": {"name": "A GPU"}}})
    assert on_gpu[0].title == "batch 2,048, TF32, 9 transitions each"


def test_products_of_members_are_as_many() -> None:
    asked = Sizes(obs_dim=1, action_dim=1, hidden_dims=(2,), batch_size=3, transitions=8)
    one, two = products.updates(asked), products.updates(asked, members=2)
    assert two.notes["MFLOP"] == pytest.approx(2 * one.notes["MFLOP"], abs=0.1)
    assert two.run(3) == 3


# All of it ------------------------------------------------------------------------------------------------------------

ARGS = [
    *("--device", "cpu", "--threads", str(torch.get_num_threads()), "--eager", "--repeats", "2", "--seconds", "0.02"),
    *("--hidden-dims", "8", "8", "--transitions", "128", "--updates-per-launch", "2", "1", "--batch-sizes", "8", "16"),
    *("--members", "1", "2", "--envs", "Pendulum-v1", "NoSuchTask-v0", "--num-envs", "4", "2"),
    *("--env-threads", "2", "1", "--utd-ratios", "1.0", "0.25"),
]


@pytest.mark.slow
def test_everything_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results" / "gpu.json"
    report = gpu.main([*ARGS, "--json", str(path)])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    assert {row["section"] for row in report["rows"]} == set(gpu.ABOUT_S)
    assert [row["error"] for row in report["rows"] if "error" in row] == []
    skipped = {row["name"]: row["skipped"] for row in report["rows"] if "skipped" in row}
    assert len(skipped) == 4  # three of the unknown environment, and the kernels
    assert "NoSuchTask-v0" in skipped["NoSuchTask-v0, 4 envs, 2 threads"]
    assert "needs a CUDA GPU" in report["rows"][-1]["skipped"]

    first = report["rows"][0]
    assert (first["batch_size"], first["members"], first["per_launch"], len(first["values"])) == (8, 1, 2, 2)
    assert first["peak_allocated_bytes"] is None
    assert first["products_per_s"] > first["median"] > 0  # no update is faster than its products
    training = next(row for row in report["rows"] if row["section"] == "end-to-end")
    assert training["ratio"]["median"] > 0.5
    wall_ms = training["wall_ms_per_vec_step"]["values"]
    assert training["values"] == pytest.approx([4 * 1000 / ms for ms in wall_ms])

    out = capsys.readouterr().out
    assert "headline: batch 8, 1 member, high, K 2" in out
    assert [table.title for table in gpu.figures(report)] == [
        "env steps/s alone", "training", "batch 8, float32, 128 transitions each", "updates alone",
        "updates/s by updates per launch",
    ]  # fmt: skip


def test_no_time_at_all_still_writes_a_report(tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    report = gpu.main([*ARGS, "--budget-s", "0", "--json", str(path)])
    assert all("no time left of 0 s" in row["skipped"] for row in report["rows"])
    assert len(json.loads(path.read_text())["rows"]) == len(report["rows"])
    assert list(tmp_path.iterdir()) == [path]
