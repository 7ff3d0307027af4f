"""What all questions share: turns, ratios, tables, charts, reports, and peers in processes; update and train run."""

import json
import os
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from bench import train, update
from bench.lib import charts, children, harness, processes, record, tables
from bench.peers import common, environments, products, script
from fastsac.cli.parsing import parse
from fastsac.config.settings import Config
from fastsac.env import make_env
from fastsac.report.style import new_figure
from tests.support.fake_clock import FakeClock
from tests.support.figures import widths


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
    row_a, row_b, row_c = harness.interleave([a, b, harness.Absent("c", "no such thing")], repeats=2, seconds=2.0)
    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert row_a["values"] == [2.0, 4.0]
    assert row_b["values"] == [0.25, 1.0]
    assert (row_a["units_per_round"], row_b["units_per_round"]) == (2, 1)
    assert row_c == {"name": "c", "skipped": "no such thing"}


def test_rate_counts_what_was_done_not_what_was_asked_for(clock: FakeClock) -> None:
    def run(units: int) -> int:
        clock.now += 2.0
        return units + 15

    (row,) = harness.interleave([harness.Candidate("a", run)], repeats=1, seconds=2.0)
    assert row["units_per_round"] == 16  # 16 done in the 2 seconds that the round is to last
    assert row["values"] == [15.5]  # 31 in 2 seconds


@pytest.mark.parametrize(("name", "value"), [("repeats", 0), ("seconds", 0.0), ("threads", 0)])
def test_settings_out_of_range(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
        harness.Settings(**{name: value})


def test_default_sizes_of_the_peer_are_ours() -> None:
    """The comparisons rest on equal defaults; bench/README.md says so."""
    sac = pytest.importorskip("stable_baselines3").SAC
    with torch.random.fork_rng():
        model = sac("MlpPolicy", common.make_idle_env(17, 6), device="cpu")
    config = Config(env="HalfCheetah-v5", preset="none")
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
    assert report["command"].startswith("python -m bench.update --repeats 2 --seconds 0.02")
    assert report["command"].endswith("--peers none --json .../update.json")  # nobody else has the folders of here
    row, bound = report["rows"]
    assert bound["name"] == update.PRODUCTS
    assert bound["min"] > row["max"]
    assert (row["name"], row["notes"]["mode"], len(row["values"])) == ("fastsac, eager", "eager", 2)
    assert 0 < row["min"] <= row["median"] <= row["max"]
    assert "fastsac, eager" in capsys.readouterr().out


@pytest.mark.slow
def test_train_runs_the_loop_past_the_random_steps() -> None:
    args = ["--env", "Pendulum-v1", "--cases", "2", "1", "--learning-starts", "256", "--compile", "off"]
    row, brax = train.main([*BRIEF, *args, "--peers", "brax", "--cleanrl", "/nowhere"])["rows"]
    assert row["name"] == "fastsac, 2 envs, UTD 1/2"
    assert row["notes"] == {"mode": "eager", "compile_s": 0.0}
    assert (row["about"]["hyper"]["utd_ratio"], row["about"]["hyper"]["num_envs"]) == (0.5, 2)
    assert row["about"]["threads"]["torch"] == torch.get_num_threads()
    assert row["min"] > 0
    assert brax["name"] == "Brax, 2 envs, UTD 1/2"
    assert "skipped" in brax  # not installed, or it has environments of its own only


def test_cases_in_words() -> None:
    assert train.describe(1, 1) == "1 env, UTD 1"
    assert train.describe(64, 8) == "64 envs, UTD 1/8"
    assert train.describe(2, 8) == "2 envs, UTD 4"
    assert parse(train.Settings, "train", ["--cases", "2", "1", "64", "8"]).cases == ((2, 1), (64, 8))
    with pytest.raises(ValueError, match=r"cases must be .*, got 1 0\."):
        train.Settings(cases=((1, 0),))


# Peers in processes -------------------------------------------------------------------------------------------------


FAKE_PEER = """
import os, sys, time
from bench.peers.common import Sizes, Unsupported, Work

def updates(sizes: Sizes, fail_at: int = 0, die_at: int = 0) -> Work:
    print("prints are not answers")
    def run(units):
        if units == fail_at:
            raise ValueError("out of luck")
        if units == die_at:
            print("a last word", file=sys.stderr, flush=True)
            os._exit(3)
        os.write(1, b"nor are those from below\\n")
        time.sleep(0.001 * units)
        return units + 1
    return Work(run, {"per call": 1}, {"batch_size": sizes.batch_size})

def env_steps(task):
    raise Unsupported("own environments only")
"""


@pytest.fixture
def fake_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an adapter's module that children find."""
    (tmp_path / "fake_peer.py").write_text(FAKE_PEER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "fake_peer"


def build(what: str = "updates", **options: int) -> dict[str, object]:
    return {"build": {"what": what, "threads": 1, "sizes": {}, "options": options}}


def test_a_child_answers_fails_and_ends(fake_peer: str) -> None:
    child = children.Child(children.THIS, fake_peer, threads=1)
    try:
        with pytest.raises(harness.Unable, match="own environments only"):
            child.ask(build("env_steps"))
        with pytest.raises(harness.Unable, match="has no dances"):
            child.ask(build("dances"))
        with pytest.raises(harness.Failed, match="ValueError: a request must have build or run"):
            child.ask({"walk": 1})
        built = child.ask(build(fail_at=7, die_at=9))["built"]
        assert built["notes"] == {"per call": 1}
        assert built["about"]["hyper"] == {"batch_size": 256}
        assert built["about"]["threads"]["OMP_NUM_THREADS"] == "1"
        assert len(built["about"]["threads"]["cpus"]) == 1
        done, seconds = child.run(3)
        assert done == 4
        assert 0.003 <= seconds < 60
        with pytest.raises(harness.Failed, match="ValueError: out of luck"):
            child.run(7)
        assert child.run(3).done == 4  # a failed call is not the end
        with pytest.raises(harness.Failed, match="ended with status 3: a last word"):
            child.run(9)
    finally:
        child.close()


def test_a_child_that_is_stuck_is_ended(fake_peer: str) -> None:
    child = children.Child(children.THIS, fake_peer, threads=1)
    try:
        child.ask(build())
        with pytest.raises(harness.Failed, match=r"no answer after 0\.2 seconds"):
            child.ask({"run": 60_000}, limit_s=0.2)
    finally:
        child.close()


def test_a_child_takes_the_package_of_another_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "fastsac").mkdir(parents=True)
    (checkout / "fastsac" / "__init__.py").write_text("MARK = 'the other one'")
    (tmp_path / "marked.py").write_text(
        "import fastsac\nfrom bench.peers.common import Work\n"
        "def updates(sizes):\n    return Work(lambda units: units, {'mark': fastsac.MARK})\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = children.Child(children.THIS, "marked", threads=1, checkout=checkout)
    try:
        assert child.ask(build())["built"]["notes"] == {"mark": "the other one"}
    finally:
        child.close()
    settings = update.Settings(before=checkout)
    specs = settings.own(", eager", what="updates", sizes={})
    assert [(spec.name, spec.checkout) for spec in specs] == [
        ("fastsac, eager", None), ("fastsac of checkout, eager", checkout),
    ]  # fmt: skip
    with pytest.raises(SystemExit, match="before must be a checkout of fastsac, got"):
        update.Settings(before=tmp_path).own("", what="updates", sizes={})


def test_products_of_an_update_by_hand() -> None:
    sizes = common.Sizes(obs_dim=1, action_dim=1, hidden_dims=(2,), batch_size=3, transitions=8)
    # Actor (1, 2), (2, 2) twice; two critics (2, 2) three times; weights of the critics; back to the action; weights of
    # the actor, and back through its last layer.
    multiply_adds = 2 * (6 + 12) + 3 * 2 * 12 + 2 * 12 + 2 * 6 + (6 + 12) + 12
    found = list(products.products(sizes))
    assert sum(p.number * p.rows * p.inner * p.columns for p in found) == multiply_adds
    work = products.updates(sizes)
    assert work.run(2) == 2
    assert work.notes == {"MFLOP": round(2 * multiply_adds / 1e6, 1)}


def test_the_end_of_stdin_ends_a_child(fake_peer: str) -> None:
    child = children.Child(children.THIS, fake_peer, threads=1)
    try:
        child.ask(build())
        child._process.stdin.close()  # type: ignore[union-attr]
        assert child._process.wait(timeout=30) == 0
    finally:
        child.close()


def test_a_candidate_that_fails_is_a_row_with_its_error(clock: FakeClock) -> None:
    def fail(units: int) -> int:
        raise harness.Failed("out of memory")

    calls: list[str] = []
    good = worker(clock, "good", [1.0, 1.0], calls)
    rows = harness.interleave(
        [harness.Candidate("bad", fail), good, harness.Absent("worse", "no build", failed=True)], 1, 1.0
    )
    assert rows[0] == {"name": "bad", "error": "out of memory"}
    assert rows[1]["values"] == [1.0]
    assert rows[2] == {"name": "worse", "error": "no build"}
    assert harness.ratio(rows, "good", "bad") is None


def test_a_candidate_that_takes_its_own_time(clock: FakeClock) -> None:
    def run(units: int) -> harness.Timed:
        clock.now += 100.0 * units  # the way there and back
        return harness.Timed(units, 0.5 * units)

    (row,) = harness.interleave([harness.Candidate("a", run)], repeats=2, seconds=2.0)
    assert row["values"] == [2.0, 2.0]


def test_python_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTSAC_PEERS", str(tmp_path))
    monkeypatch.setattr(environments, "is_importable", lambda module: module == "torchrl")
    assert environments.python_of("torchrl") == Path(sys.executable)
    assert environments.python_of("skrl") is None
    python = environments.python_in("skrl")
    python.parent.mkdir(parents=True)
    python.touch()
    assert environments.python_of("skrl") is None  # an environment whose installation did not finish
    (tmp_path / "skrl/lib/python3.11/site-packages/skrl").mkdir(parents=True)
    assert environments.python_of("skrl") == python
    assert environments.python_of("cleanrl") is None
    with pytest.raises(ValueError, match="unknown peer 'rlax'; choose from sb3"):
        environments.python_of("rlax")


def test_environments_are_listed_and_unknown_ones_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert environments.main([]) == 0
    listed = capsys.readouterr().out
    assert all(f"{name}: " in listed for name in environments.ENVIRONMENTS)
    assert environments.main(["rlax"]) == 2
    assert "unknown environment 'rlax'" in capsys.readouterr().err


def test_a_missing_peer_is_a_row_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTSAC_PEERS", str(tmp_path))
    monkeypatch.setattr(environments, "is_importable", lambda module: False)
    settings = update.Settings()
    specs = [settings.spec(peer, peer, what="updates", sizes={}) for peer in ("sb3", "brax", "cleanrl")]
    specs.append(update.Settings(leanrl=tmp_path).spec("leanrl", "leanrl", what="updates", sizes={}))
    with children.started(specs, threads=1) as candidates:
        rows = harness.interleave(candidates, repeats=1, seconds=1.0)
    assert "python -m bench.peers.environments sb3" in rows[0]["skipped"]
    assert "python -m bench.peers.environments brax" in rows[1]["skipped"]
    assert rows[2]["skipped"] == "no checkout given; --cleanrl DIR names one"
    assert "python -m bench.peers.environments scripts" in rows[3]["skipped"]


def test_gate_lets_a_loop_go_on_by_so_many_units() -> None:
    made = []

    def loop(gate: common.Gate) -> None:
        for i in range(10):
            made.append(i)
            gate.progress(2)

    gate = common.Gate(loop)
    assert gate.run(3) == 4
    assert len(made) == 2
    assert gate.run(1) == 2
    assert len(made) == 3
    with pytest.raises(RuntimeError, match="its loop ended: RuntimeError: it returned"):
        gate.run(100)


SCRIPT = """
import sys
import gymnasium as gym
print("told", sys.argv[1:])
assert "--policy-frequency" in sys.argv and "--no-cuda" in sys.argv
def value(name, default): return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default
n = int(value("--num-envs", 1))
envs = gym.vector.SyncVectorEnv([lambda: gym.make(value("--env-id", None))] * n)
envs.reset(seed=1)
for _ in range(int(value("--total-timesteps", 0))):
    envs.step(envs.action_space.sample())
"""


def test_a_script_of_a_checkout_runs_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "cleanrl").mkdir()
    (tmp_path / "cleanrl" / "sac_continuous_action.py").write_text(SCRIPT)
    asked = {"env": "Pendulum-v1", "num_envs": 16, "updates_per_vec_step": 8, "learning_starts": 4}
    options = {"checkout": str(tmp_path)}
    spec = children.Spec(
        name="a", adapter="cleanrl", what="env_steps", sizes=asked, options=options, python=children.THIS
    )
    alone = children.Spec(
        name="b", adapter="cleanrl", what="updates", sizes={"transitions": 8}, options=options, python=children.THIS
    )
    other = children.Spec(name="c", adapter="leanrl", what="updates", sizes={}, options=options, python=children.THIS)
    with children.started([spec, alone, other], threads=1) as candidates:
        envs, updates, missing = candidates
        assert isinstance(envs, harness.Candidate)
        assert envs.notes == {"env": "Pendulum-v1", "envs": 2}  # one update per vector step, and 1 per 2 steps
        assert envs.run(5).done == 6  # type: ignore[union-attr]
        assert isinstance(updates, harness.Candidate)
        assert updates.run(5).done == 5  # type: ignore[union-attr]
    assert isinstance(missing, harness.Absent)
    assert missing.failed
    assert "sac_continuous_action_torchcompile.py is not there" in missing.why


def test_a_script_s_command_line() -> None:
    words = script.command_line({"env_id": "A-v1", "cuda": False, "compile": True, "tau": 0.005})
    assert words == ["--env-id", "A-v1", "--no-cuda", "--compile", "--tau", "0.005"]
    asked = common.Sizes(hidden_dims=(64, 64))
    with pytest.raises(common.Unsupported, match=r"its networks are 256, 256, not \(64, 64\)"):
        script.arguments(asked)


def test_slots_share_no_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3, 5, 7}, raising=False)
    assert processes.make_slots(jobs=2, threads=2) == [[1, 3], [5, 7]]
    assert processes.make_slots(jobs=1, threads=1) == [[1]]
    with pytest.raises(ValueError, match="at most the 4 cores there are, got 6"):
        processes.make_slots(jobs=3, threads=2)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import time; time.sleep(60)", "the process was ended, for it had not come to an end after 0.5 seconds"),
        ("raise SystemExit('no room')", "the process ended with status 1: no room"),
        ("pass", "the process ended with status 0: no message"),
    ],
)
def test_a_process_that_leaves_nothing_says_why(code: str, error: str, tmp_path: Path) -> None:
    running: processes.Running = set()
    command = [sys.executable, "-S", "-c", code]
    outcome = processes.run_process(lambda _: command, tmp_path / "out.json", dict(os.environ), running, limit_s=0.5)
    assert outcome == {"error": error}
    assert not running


def test_a_training_is_looked_at_and_ended(tmp_path: Path) -> None:
    looks: list[int] = []

    def look(pid: int) -> bool:
        looks.append(pid)
        return len(looks) == 2

    assert 0.1 < processes.train(tmp_path, "--env", "Pendulum-v1", look=look, every=0.1) < 20
    with pytest.raises(ProcessLookupError):
        os.kill(looks[0], 0)


def test_a_training_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(harness.Failed, match=r"training ended with status 2: .*Nothing-v0"):
        processes.train(tmp_path, "--env", "Nothing-v0")


def test_progress_is_that_of_the_first_member(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    rows = "member,wall_s,env_steps\n0,1.0,100\n1,1.0,99\n0,3.0,500\n1,3.0,499\n0,,600\n"
    (tmp_path / "run" / "metrics.csv").write_text(rows)
    assert processes.progress(tmp_path) == [(1.0, 100), (3.0, 500)]


# Charts ---------------------------------------------------------------------------------------------------------------


def test_bars_show_every_row_with_its_range() -> None:
    names = ["fastsac, compiled", "SB3", "SBX", "skrl"]
    values = [[200.0, 210.0], [100.0, 100.0], [50.0, 50.0], [40.0, 40.0]]
    rows = [{"name": name, **harness.summary(each)} for name, each in zip(names, values, strict=True)]
    report = {
        "unit": "updates/s",
        "rows": [*rows, {"name": "CleanRL", "skipped": "no checkout given"}],
        "settings": {"threads": 2},
        "machine": {"cpu": "A CPU", "cores": 4, "gpu": None},
        "versions": {"torch": "2.13.0"},
        "commit": "fdb69191892",
    }
    (figure,) = charts.rates(report).values()
    (axes,) = figure.axes
    assert figure.get_suptitle() == "updates/s (more is better)"
    assert widths(axes) == [205.0, 100.0, 50.0, 40.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert [text.get_text() for text in axes.texts][:2] == ["205 (200 to 210)", "100"]
    told = [text.get_text() for text in figure.texts]
    assert "CleanRL: skipped: no checkout given" in told
    about = "A CPU, 4 CPU cores, torch 2.13.0, fastsac fdb6919, 2 threads of torch; median of 2 rounds, from min to max"
    assert about in told
    assert charts.rates({**report, "rows": rows[1:]}) == {}


def test_charts_carry_their_origin(tmp_path: Path) -> None:
    path, rates = tmp_path / "update.png", {"rows": [1, 2]}
    assert not charts.is_current(rates, path)
    figure = new_figure(4, 3, "A")
    figure.subplots().plot([1, 2])
    charts.save(figure, rates, path)
    first = path.read_bytes()
    assert charts.is_current(rates, path)
    assert not charts.is_current({"rows": [1]}, path)
    charts.save(figure, rates, path)
    assert path.read_bytes() == first
    path.write_bytes(b"drawn by hand")
    assert not charts.is_current(rates, path)


def test_tables_leave_empty_columns_out_and_align_figures() -> None:
    rows = [["a|b", "1.0", "", "words that are longer than figures"], ["c_d _e_", "-", "", ""], ["e", "", "", "gone"]]
    assert tables.Figures("it", ["x", "nothing", "notes"], rows).markdown("box").splitlines() == [
        "| it on box | x | notes |",
        "| --- | ---: | --- |",
        "| a\\|b | 1.0 | words that are longer than figures |",
        "| c_d \\_e\\_ | - |  |",
    ]
    assert [tables.number(v) for v in (12345.6, 123.4, 12.34, 1.234, 0.1234, None)] == [
        "12,346", "123", "12.3", "1.23", "0.123", "",
    ]  # fmt: skip
    assert tables.problem({"error": "no\nmemory", "skipped": ""}) == "error: no"


def test_paths_lose_their_folders() -> None:
    assert record.without_folder("/some/folder/cleanrl") == ".../cleanrl"
    assert record.without_folder("bench/results/x.json") == "bench/results/x.json"


def test_adapters_agree_with_the_lists() -> None:
    folder = Path(environments.__file__).parent
    assert all((folder / f"{peer}.py").is_file() for peer in environments.NAMES)
    assert set(get_args(children.Peer)) == {*environments.PEERS, *environments.SCRIPTS} == set(environments.NAMES)
    assert set(update.ROWS) <= set(environments.NAMES)


def test_rewards_times_a_factor() -> None:
    """The same task else."""
    name = "gymnasium:bench.lib.scaled_rewards:ScaledPendulum-v1"
    envs = [make_env(name, [3, 4]), make_env(name, [3, 4], env_kwargs={"factor": 10.0})]
    for env in envs:
        env.reset()
    for _ in range(3):
        for env in envs:
            env.send(np.full((2, 1), 0.5, np.float32))
        plain, scaled = (env.recv() for env in envs)
        assert np.array_equal(plain.obs, scaled.obs)
        np.testing.assert_allclose(scaled.reward, 10 * plain.reward, rtol=1e-6)
    assert envs[0].spec.max_episode_steps == 200
    for env in envs:
        env.close()
