"""The benchmarks' own arithmetic, and that one of them runs."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from bench import compile as bench_compile
from bench import harness, train, update
from bench.peers import sb3 as peers
from fastsac.config import Config


class FakeClock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(harness, "time", clock)
    return clock


def worker(clock: FakeClock, name: str, seconds_per_unit: list[float], calls: list[str]) -> harness.Candidate:
    """A candidate whose calls after calibration (which stops at its first call) take the given seconds per unit."""
    remaining = iter(seconds_per_unit)

    def run(units: int) -> int:
        calls.append(name)
        clock.now += units * next(remaining)
        return units

    return harness.Candidate(name, run)


def test_summary() -> None:
    assert harness.summary([4.0, 1.0, 3.0]) == {"median": 3.0, "min": 1.0, "max": 4.0, "values": [4.0, 1.0, 3.0]}
    assert harness.summary([4.0, 1.0])["median"] == 2.5


def test_ratio_of_medians_and_by_round() -> None:
    rows = [{"name": "a", **harness.summary([10.0, 40.0, 30.0])}, {"name": "b", **harness.summary([5.0, 10.0, 20.0])}]
    ratio = harness.ratio(rows, "a", "b")
    assert ratio is not None
    assert ratio["of_medians"] == 3.0  # 30 / 10
    assert ratio["by_round"] == {"median": 2.0, "min": 1.5, "max": 4.0, "values": [2.0, 4.0, 1.5]}


def test_no_ratio_with_a_skipped_row() -> None:
    rows = [{"name": "a", **harness.summary([1.0])}, {"name": "b", "skipped": "not installed"}]
    assert harness.ratio(rows, "a", "b") is None
    assert harness.ratio(rows, "a", "c") is None


def test_calibrate_doubles_until_half_the_time_and_scales(clock: FakeClock) -> None:
    units_run = []

    def run(units: int) -> int:
        units_run.append(units)
        clock.now += 0.25 * units
        return units

    assert harness.calibrate(run, seconds=3.0) == 12
    assert units_run == [1, 2, 4, 8]  # 8 * 0.25 = 2 seconds, the first to reach 1.5


def test_interleave_takes_turns_and_leaves_the_warm_up_out(clock: FakeClock) -> None:
    calls: list[str] = []
    a = worker(clock, "a", [1.0, 0.5, 0.25], calls)  # calibration: 1 unit a second, so 2 units a round
    b = worker(clock, "b", [2.0, 4.0, 1.0], calls)  # half a unit a second, so 1 unit a round
    row_a, row_b, row_c = harness.interleave([a, b, harness.Skipped("c", "no such thing")], repeats=2, seconds=2.0)
    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert row_a["values"] == [2.0, 4.0]
    assert row_b["values"] == [0.25, 1.0]
    assert (row_a["units_per_round"], row_b["units_per_round"]) == (2, 1)
    assert (row_a["warm_up_s"], row_b["warm_up_s"]) == (1.0, 2.0)
    assert row_c == {"name": "c", "skipped": "no such thing"}


def test_rate_counts_what_was_done_not_what_was_asked_for(clock: FakeClock) -> None:
    def run(units: int) -> int:
        clock.now += 2.0
        return units + 15

    (row,) = harness.interleave([harness.Candidate("a", run)], repeats=1, seconds=2.0)
    assert row["units_per_round"] == 16  # 16 done in the 2 seconds that the round is to last
    assert row["values"] == [15.5]  # 31 in 2 seconds


@pytest.mark.parametrize(("name", "value"), [("repeats", 0), ("seconds", 0.0), ("threads", 0)])
def test_settings_out_of_range(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
        harness.Settings(**{name: value})


def test_updates_until_compiling_has_paid() -> None:
    assert bench_compile.pays_after(compile_s=20.0, saved_s=0.003) == 6667  # 6666.7 rounded up
    assert bench_compile.pays_after(compile_s=20.0, saved_s=0.0) is None
    assert bench_compile.pays_after(compile_s=20.0, saved_s=-0.001) is None


def test_cache_dir_is_empty_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(bench_compile.CACHE_DIR, "/before")
    with bench_compile.cache_dir():
        folder = Path(os.environ[bench_compile.CACHE_DIR])
        assert list(folder.iterdir()) == []
    assert os.environ[bench_compile.CACHE_DIR] == "/before"
    assert not folder.exists()


def test_default_sizes_of_the_peer_are_ours() -> None:
    """The comparisons rest on equal defaults; bench/README.md says so."""
    sac = pytest.importorskip("stable_baselines3").SAC
    with torch.random.fork_rng():
        model = sac("MlpPolicy", peers.make_idle_env(17, 6), device="cpu")
    config = Config(env="HalfCheetah-v5")
    assert tuple(model.policy.net_arch) == config.hidden_dims
    assert (model.batch_size, model.buffer_size) == (config.batch_size, config.buffer_size)
    assert (model.gamma, model.tau, model.learning_rate) == (config.gamma, config.tau, config.actor_lr)
    assert (model.policy.critic_kwargs["n_critics"], model.target_entropy) == (config.num_critics, -6.0)


BRIEF = ["--repeats", "2", "--seconds", "0.02", "--device", "cpu", "--threads", str(torch.get_num_threads())]
TINY = [*BRIEF, "--obs-dim", "3", "--action-dim", "2", "--hidden-dims", "8", "8"]
TINY += ["--batch-size", "8", "--transitions", "64", "--modes", "eager"]


def test_update_writes_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results" / "update.json"
    report = update.main([*TINY, "--peers", "none", "--json", str(path)])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    assert report["bench"] == "update"
    assert report["settings"]["hidden_dims"] == (8, 8)
    assert {"cpu", "cores", "memory_bytes", "torch_threads", "gpu"} <= set(report["machine"])
    assert {"fastsac", "torch", "envpool", "gymnasium", "numpy", "stable_baselines3"} <= set(report["versions"])
    assert {"commit", "dirty", "started", "load_before", "load_after"} <= set(report)
    (row,) = report["rows"]
    assert (row["name"], row["notes"]["mode"], len(row["values"])) == ("fastsac, eager", "eager", 2)
    assert 0 < row["min"] <= row["median"] <= row["max"]
    assert "fastsac, eager" in capsys.readouterr().out


def test_train_runs_the_loop_past_the_random_steps() -> None:
    args = ["--env", "Pendulum-v1", "--num-envs", "2", "--learning-starts", "256", "--compile", "off"]
    (row,) = train.main([*BRIEF, *args, "--peers", "none"])["rows"]
    assert row["name"] == "fastsac, 2 envs"
    assert row["notes"] == {"mode": "eager", "compile_s": 0.0}
    assert row["min"] > 0


def test_a_missing_peer_is_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)  # as if it were not installed
    report = update.main(TINY)
    assert report["rows"][1]["name"] == "Stable-Baselines3"
    assert 'pip install "fastsac[bench]"' in report["rows"][1]["skipped"]
    assert report["ratios"] == []
