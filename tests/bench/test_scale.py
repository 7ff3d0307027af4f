"""The benchmark of processes: its model by hand, what each process gets, what an update reduces, and that it runs."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import report as page
from bench import scale
from bench.lib import harness, processes, rank_worker
from bench.lib.rank_model import CLUSTERS, Cluster, Parts, forecast, ring_s
from bench.lib.rank_worker import LARGE_BYTES, Task
from fastsac.algorithms.step import reduced_sizes
from fastsac.cli.train import train_config
from fastsac.config.shares import share_of
from fastsac.env import make_spec
from fastsac.learning.learner import make_parts
from tests.support.learners import BASE, CPU, SPEC
from tests.support.ranks import Ranks, reduction_of
from tests.support.recipes import tiny

TINY = "--hidden-dims 8 8 --batch-size 8 --compile off --num-envs 2 --learning-starts 20"
BRIEF = ["--env", "Pendulum-v1", f"--args={TINY}", "--device", "cpu", "--seconds", "0.02", "--repeats", "1"]


# The model ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranks", "expected"), [(1, 0.0), (2, 1.0 + 400 / 100), (4, 1.0 + 2 * 3 / 4 * 4), (8, 1.0 + 2 * 7 / 8 * 4)]
)
def test_a_ring_sends_the_vector_nearly_twice(ranks: int, expected: float) -> None:
    assert ring_s(ranks, num_bytes=400, latency_s=1.0, bytes_per_s=100.0) == expected


PARTS = Parts(update_s=0.1, vec_step_s=0.5, batch_size=10, num_envs=4, updates=10, vector_bytes=100)
PAIR = Cluster("two", ranks=2, latency_s=0.05, bytes_per_s=2_000)


def test_forecast_by_hand() -> None:
    found = forecast(PARTS, PAIR)
    assert found.reduction_s == pytest.approx(0.05 + 100 / 2_000)
    assert found.share == pytest.approx(0.5)  # 0.1 of 0.1 + 0.1
    assert found.updates_per_s == pytest.approx(5)  # 10 in 2 s, which is longer than environments take
    assert found.transitions_per_s == pytest.approx(5 * 10 * 2)
    assert found.env_steps_per_s == pytest.approx(4 * 2 / 2)
    assert found.member_updates_per_s == pytest.approx(2 * 10 / 1)


def test_slow_environments_bound_the_forecast() -> None:
    found = forecast(Parts(**{**vars(PARTS), "vec_step_s": 4.0}), PAIR)
    assert (found.updates_per_s, found.env_steps_per_s, found.member_updates_per_s) == (2.5, 2.0, 5.0)


def test_the_model_begins_with_what_was_measured() -> None:
    rows = json.loads((page.HERE / "results" / "h100" / "gpu.json").read_text())["rows"]
    by_name = {row["name"]: row for row in rows}
    parts, trained = Parts(), by_name["HalfCheetah-v5, 256 envs, utd 0.25"]
    alone = by_name["batch 256, 1 member, high, K 16"]
    assert (alone["batch_size"], round(alone["gpu_us_per_update"])) == (parts.batch_size, 1e6 * parts.update_s)
    assert round(trained["env_ms_per_vec_step"]["median"], 1) == pytest.approx(1e3 * parts.vec_step_s)
    assert trained["num_envs"] * trained["utd_ratio"] == parts.updates
    assert forecast(parts, CLUSTERS[0]).env_steps_per_s == pytest.approx(trained["median"], rel=0.02)
    config = train_config(["--env", "HalfCheetah-v5", "--buffer-size", "10_000"])
    learner = make_parts(config, make_spec("HalfCheetah-v5"), CPU, "eager").learner
    assert [4 * n for n in reduced_sizes(learner.algorithm, learner.buffers["state"])] == [parts.vector_bytes]


def test_the_model_says_that_it_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    report = scale.main(["--model"])
    out = capsys.readouterr().out
    assert "A MODEL, NOT MEASURED" in out
    assert all(cluster.name in out for cluster in CLUSTERS)
    assert report["model"][1]["bytes_per_s"] == CLUSTERS[1].bytes_per_s  # what is assumed is told
    assert all(table.heading == "" for table in scale.figures(report))  # not on the page of results


# What is measured -----------------------------------------------------------------------------------------------------


def test_each_process_has_what_one_process_has() -> None:
    settings = scale.Settings(env="Pendulum-v1", args="--num-envs 6 --batch-size 32 --utd-ratio 0.5")
    each = train_config(settings.flags())
    for rank in range(3):
        part = share_of(train_config([*settings.flags(), *scale.Arrangement("data", 3).flags(each, 2)]), rank, 3)
        assert (part.num_envs, part.batch_size, part.num_members) == (6, 32, 1)
        assert part.utd_ratio * part.num_envs * 3 == pytest.approx(each.utd_ratio * each.num_envs)  # a vector step
        some = share_of(train_config([*settings.flags(), *scale.Arrangement("members", 3).flags(each, 2)]), rank, 3)
        assert (some.num_envs, some.batch_size, some.num_members, some.utd_ratio) == (6, 32, 2, 0.5)


def reduced(rank: int, size: int, changes: Mapping[str, object]) -> tuple[list[int], list[int], dict[str, Any]]:
    """In one of `size` processes: what an update was seen to reduce, what it is known to, and what that takes."""
    config = BASE.replace(learning_starts=16, batch_size=16, total_steps=1_000, **changes)
    learner = make_parts(config, SPEC, CPU, "eager", reduction=reduction_of(size)).learner
    known = [4 * numbers for numbers in reduced_sizes(learner.algorithm, learner.buffers["state"])]
    return rank_worker.reduced_bytes(learner), known, rank_worker.reductions(learner)


@pytest.mark.parametrize("changes", [{}, {"update_order": "critics-first"}, tiny("flashsac")], ids=str)
def test_an_update_of_one_process_has_no_reduction_and_of_two_has_those_of_its_gradients(
    ranks: Ranks, changes: dict[str, object]
) -> None:
    seen, known, found = reduced(0, 1, changes)
    assert (seen, found) == ([], {"reduced_bytes": []})
    for seen, known, found in ranks.call(reduced, 2, changes):
        assert [size for size in seen if size in known] == known
        assert (len(seen) > len(known)) == ("network" in changes)  # BatchNorm reduces statistics, too
        assert (found["reduced_bytes"], found["backend"]) == (seen, "gloo")
        assert found["reduction_s"] > 0
        assert found["latency_s"] < LARGE_BYTES / found["bytes_per_s"]


def test_a_process_alone_measures_its_run(tmp_path: Path) -> None:
    out, threads = tmp_path / "figures.json", torch.get_num_threads()
    flags = ["--env", "Pendulum-v1", *TINY.split(), "--seeds", "2", "--utd-ratio", "0.5"]
    rank_worker.main(Task(flags=flags, device="cpu", threads=threads, seconds=0.05), out)
    found = json.loads(out.read_text())
    assert (found["mode"], found["reduced_bytes"]) == ("eager", [])
    assert found["updates_per_s"] == pytest.approx(found["env_steps_per_s"] / 2, rel=0.2)


@pytest.mark.slow
def test_processes_of_torchrun_measure_their_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "scale.json"
    report = scale.main([*BRIEF, "--ranks", "2", "--kinds", "data", "--json", str(path)])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    rows = {row["name"]: row for row in report["rows"]}
    assert list(rows) == ["data, 1 process", "data, 2 processes"]
    one, both = rows.values()
    assert both["times_one"]["by_round"]["median"] == both["median"] / one["median"]
    assert 2 * both["updates_per_s"]["median"] == pytest.approx(both["median"], rel=0.2)  # each with the data of both
    assert [len(row["reduced_bytes"]) for row in report["rows"]] == [0, 1]
    share = both["reduction_s"]["median"] * both["updates_per_s"]["median"]
    assert both["reduction_share"]["median"] == pytest.approx(share)
    assert "gloo, 2 processes" in capsys.readouterr().out


# Rows and tables ------------------------------------------------------------------------------------------------------


class FakeRuns:
    """In the place of `processes.run_process`: two processes make 1.5 times as many steps; members on two fail."""

    def __init__(self) -> None:
        self.ranks: list[str] = []

    def __call__(self, command: Callable[[float], list[str]], out: Path, *_: Any) -> dict[str, Any]:
        """As if the command had been run."""
        words = command(0.0)
        ranks = words[words.index("--nproc-per-node") + 1]
        self.ranks.append(ranks)
        task = json.loads(words[-2])
        if ranks == "1":
            return {"env_steps_per_s": 100.0, "updates_per_s": 100.0, "mode": "eager", "reduced_bytes": []}
        if "members" in task["flags"]:
            return {"error": "rank 1 (box:7) has ended: no room"}
        link = {"backend": "gloo", "reduction_s": 0.002, "latency_s": 0.0001, "bytes_per_s": 5e8}
        return {"env_steps_per_s": 150.0, "updates_per_s": 75.0, "mode": "eager", "reduced_bytes": [8_000], **link}


def test_arrangements_take_turns_and_one_that_fails_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = FakeRuns()
    monkeypatch.setattr(processes, "run_process", runs)
    report = scale.main([*BRIEF, "--repeats", "2", "--ranks", "2"])
    assert runs.ranks == ["1", "2", "1", "2", "1", "1", "2"]  # not again what has failed
    members, agent, alone = scale.figures(report)
    assert members.title == "Pendulum-v1: 2 members, 2 environments and batch 8 in each process, eager"
    assert members.rows == [
        ["members, 1 process", "100", "1.00", "100", "0", "", ""],
        ["members, 2 processes", "", "", "", "", "", "error: rank 1 (box:7) has ended: no room"],
    ]
    assert agent.rows[1] == ["data, 2 processes", "150", "1.50", "75.0", "1 of 8.00 kB", "15.0%", ""]
    assert alone.rows == [["gloo, 2 processes", "0.100", "0.500", "2.00"]]
    assert {table.heading for table in (members, agent, alone)} <= {*sum(page.SECTIONS.values(), ())}


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, ""), (harness.summary([0.1234]), "12.3%"), (harness.summary([0.1, 0.3]), "20.0% (10.0 to 30.0)")],
)
def test_percent(share: harness.Row | None, text: str) -> None:
    assert scale.percent(share) == text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--ranks", "0"], "ranks must be at least 1, got (0,)"),
        (["--members", "0"], "members must be at least 1, got 0"),
        (["--env", "Pendulun-v1"], "Pendulum-v1"),
        (["--args=--batch-size 0"], "batch_size must be at least 1, got 0"),
        (["--kinds", "agents"], "agents"),
    ],
)
def test_a_wrong_call_is_one_clear_line(args: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as error:
        scale.main([*BRIEF, *args, "--json", str(tmp_path / "scale.json")])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
