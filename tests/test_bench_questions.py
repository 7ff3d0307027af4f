"""The benchmarks of replay, environments, start-up and the loop's parts: their arithmetic, and that they run."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import env, harness, profile, profile_show, replay, startup, startup_worker
from fastsac.acting.collector import Collector

BRIEF = ["--repeats", "2", "--seconds", "0.02", "--device", "cpu", "--threads", str(torch.get_num_threads())]


def all_text(tables: list[harness.Figures]) -> str:
    """Every cell; each row has as many as there are columns."""
    for table in tables:
        assert all(len(row) == len(table.columns) for row in table.rows), table.title
    return "\n".join(cell for table in tables for row in table.rows for cell in row)


# Replay ---------------------------------------------------------------------------------------------------------------

SMALL = replay.Settings(obs_dim=3, action_dim=2, transitions=(24,), batch_size=16, num_envs=4)


def test_both_replays_hold_the_same_transitions() -> None:
    pytest.importorskip("torchrl")
    cpu = torch.device("cpu")
    ours, theirs = replay.Ours(SMALL, 24, cpu), replay.Torchrl(SMALL, 24, cpu)
    a, b = ours.draw(), theirs.draw()
    drawn = [
        torch.cat([a.obs, a.action, a.reward.unsqueeze(1), a.next_obs], dim=1),
        torch.cat([b["observation"], b["action"], b["next", "reward"], b["next", "observation"]], dim=1),
    ]  # [B, O + A + 1 + O] each
    stream = replay.Stream(SMALL, cpu)
    steps = [torch.cat([o, u, r.unsqueeze(1), n], dim=1) for o, u, r, n in (stream.step() for _ in range(6))]
    for batch in drawn:
        assert batch.shape == (16, 9)
        assert (batch.unsqueeze(1) == torch.cat(steps)).all(-1).any(-1).all()  # each drawn one is one of the stream
        assert len(batch.unique(dim=0)) > 5  # of 24, by 16 draws


def test_bytes_per_transition_by_hand() -> None:
    cpu = torch.device("cpu")
    # 7 rows of 4: obs 12, action 8, reward 4, two flags, one entry of the table; one more of those, and 7 counts of 8.
    assert replay.Ours(SMALL, 24, cpu).bytes_per_transition == (28 * (12 + 8 + 4 + 2 + 4) + 4 + 7 * 8) / 24
    pytest.importorskip("torchrl")
    # Both observations, action, reward, two flags, and an index of its own.
    assert replay.Torchrl(SMALL, 24, cpu).bytes_per_transition == 2 * 12 + 8 + 4 + 2 + 8


def test_replay_writes_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchrl")
    path = tmp_path / "replay.json"
    args = ["--obs-dim", "3", "--action-dim", "2", "--transitions", "64", "--batch-size", "8", "--num-envs", "4"]
    report = replay.main([*BRIEF, *args, "--modes", "eager", "--json", str(path)])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    for part in ("draws", "writes"):
        assert all(row["min"] > 0 for row in report[part]["rows"])
        assert [r["to"] for r in report[part]["ratios"]] == ["torchrl, 64"]
    assert [row["name"] for row in report["draws"]["rows"]] == ["fastsac eager, 64", "torchrl, 64"]
    assert "bytes per transition" in capsys.readouterr().out
    all_text(replay.figures(report))


def test_draws_recorded_as_a_graph_are_those_of_eager(recorder: Any) -> None:
    ours = [replay.Ours(SMALL, 24, torch.device("cpu")) for _ in range(2)]
    draw = ours[0].drawing("captured")
    draw(3)
    for _ in range(3):
        ours[1].draw()
    # The buffers were made from draw 0 by both; warming up does not count, so three launched draws end at counter 4.
    assert (int(ours[0].counter), int(ours[1].counter)) == (4, 3)


# Environments ---------------------------------------------------------------------------------------------------------


def test_share_of_the_environments_time_that_is_hidden() -> None:
    # 8 environments: 1 ms alone; in turn 4 ms, overlapped 3.25 and 4.5 ms.
    rates = {"alone": [8000.0, 8000.0], "off": [2000.0, 2000.0], "on": [8 / 3.25e-3, 8 / 4.5e-3]}
    row = env.overlap_of(rates, num_envs=8)
    assert row["ms_per_vec_step"]["off"]["median"] == 4.0
    assert row["hidden"]["values"] == pytest.approx([0.75, -0.5])


def test_cases_leave_out_threads_that_nothing_can_use() -> None:
    settings = env.Settings(envs=("Pendulum-v1",), num_envs=(1, 8), env_threads=(1, 2))
    names = [case.name for case in env.cases(settings, settings.num_envs)]
    assert names == [
        "envpool:Pendulum-v1, 1 env, 1 thread", "envpool:Pendulum-v1, 8 envs, 1 thread",
        "envpool:Pendulum-v1, 8 envs, 2 threads",
        "gymnasium:Pendulum-v1, 1 env, 1 thread", "gymnasium:Pendulum-v1, 8 envs, 1 thread",
    ]  # fmt: skip


def test_env_measures_alone_and_beside_the_learner(tmp_path: Path) -> None:
    path = tmp_path / "env.json"
    args = ["--envs", "Pendulum-v1", "--backends", "envpool", "--num-envs", "1", "2", "--env-threads", "1"]
    report = env.main([*BRIEF, *args, "--overlap-envs", "2", "--compile", "off", "--json", str(path)])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    assert path.with_suffix(".png").stat().st_size > 10_000
    assert [row["num_envs"] for row in report["rows"]] == [1, 2]
    (row,) = report["overlap"]
    assert (row["mode"], row["updates_per_vec_step"]) == ("eager", 1)
    assert row["ms_per_vec_step"]["off"]["min"] > row["ms_per_vec_step"]["alone"]["min"]
    assert "envpool:Pendulum-v1, 2 envs, 1 thread" in all_text(env.figures(report))


def test_an_environment_that_is_not_there_is_a_row_that_says_so() -> None:
    settings = env.Settings(envs=("Nothing-v0",), num_envs=(1,), overlap_envs=(1,), backends=("envpool",))
    (case,) = env.cases(settings, (1,))
    row = env.beside_learner(settings, case, torch.device("cpu"))
    assert "unknown envpool id 'Nothing-v0'" in row["skipped"]
    found = env.alone_or_skipped(case)
    assert isinstance(found, harness.Skipped)


# Start-up -------------------------------------------------------------------------------------------------------------


def test_parts_lie_between_the_marks() -> None:
    rounds = [
        {"interpreter": 0.5, "imports": 2.0, "first update": 5.0, "log row": 6.0},
        {"interpreter": 0.5, "imports": 3.0, "first update": 5.5, "log row": 7.0},
    ]
    row = startup.parts(rounds)
    assert {name: part["values"] for name, part in row["parts"].items()} == {
        "interpreter": [0.5, 0.5], "imports": [1.5, 2.5], "first update": [3.0, 2.5], "log row": [1.0, 1.5],
    }  # fmt: skip
    assert row["until"]["log row"]["median"] == 6.5


def test_marks_are_kept_at_the_first_call_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)

    class Learner:
        grad_steps = 0

        def launch(self, due: int) -> None:
            self.grad_steps += due

    marks = startup_worker.Marks(startup_worker.ENTERED - 1.0, tmp_path / "marks.json", {"first update"})
    marks.after(Learner, "launch", "first update", when=lambda learner: learner.grad_steps > 0)
    learner = Learner()
    learner.launch(0)
    assert left == []
    learner.launch(2)
    assert left == [0]
    found = json.loads((tmp_path / "marks.json").read_text())
    assert found["interpreter"] == pytest.approx(1.0)
    assert found["first update"] > 1.0
    marks.mark("first update")  # once more, later
    assert json.loads((tmp_path / "marks.json").read_text()) == found


def test_startup_times_whole_processes(tmp_path: Path) -> None:
    path = tmp_path / "startup.json"
    args = ["--envs", "Pendulum-v1", "--ways", "off", "--peers", "none", "--commands", "version", "--json", str(path)]
    tiny = ["--args=--hidden-dims 8 --batch-size 8 --no-tensorboard --utd-ratio 0.05"]
    report = startup.main([*args, *tiny, "--repeats", "1", "--device", "cpu", "--threads", "1"])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    (row,) = report["rows"]
    assert list(row["parts"]) == [
        "interpreter", "imports", "command line", "plan", "building", "files, reset", "first update", "log row",
    ]  # fmt: skip
    assert sum(part["median"] for part in row["parts"].values()) == pytest.approx(row["until"]["log row"]["median"])
    assert [c["name"] for c in report["commands"]] == [*startup.FLOORS, "fastsac --version"]
    assert path.with_suffix(".png").stat().st_size > 10_000
    all_text(startup.figures(report))


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    settings = startup.Settings(threads=1)
    with pytest.raises(startup.WorkerError, match=r"fastsac ended with status 2: .*unknown command 'trian'"):
        startup.run_worker(settings, "fastsac", ["trian"], tmp_path)


# Profile --------------------------------------------------------------------------------------------------------------


def test_spans_do_not_count_what_is_inside_them() -> None:
    now = [0.0]

    def wait(seconds: float) -> None:
        now[0] += seconds

    stopwatch = profile.Stopwatch(lambda: now[0])
    inner = stopwatch.timed("inner", wait)

    def outer_() -> None:
        wait(1.0)
        inner(2.0)
        inner(4.0)

    outer = stopwatch.timed("outer", outer_)
    outer()
    inner(8.0)
    assert stopwatch.seconds == {"inner": 14.0, "outer": 1.0}
    assert stopwatch.calls == {"inner": [2.0, 4.0, 8.0], "outer": [1.0]}


def test_profile_divides_all_of_the_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, sends = tmp_path / "profile.json", Collector.send
    args = ["--env", "Pendulum-v1", "--num-envs", "2", "--compile", "off", "--learning-starts", "256"]
    args += ["--trace-updates", "6", "--out", str(tmp_path)]
    report = profile.main([*BRIEF, *args, "--json", str(path)])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    (row,) = report["rows"]
    assert row["mode"] == "eager"
    assert sum(group["share"] for group in row["groups"].values()) == pytest.approx(1.0)
    assert row["groups"]["learner"]["share"] > 0.3
    spans = {s["name"]: s for s in row["spans"]}
    assert spans["environment: recv"]["calls_per_vec_step"] == pytest.approx(1.0)
    assert spans["learner: launch"]["min"] > 0
    assert Collector.send is sends  # everything is as it was
    trace = json.loads((tmp_path / row["trace"]).read_text())
    names = [event["name"] for event in trace["traceEvents"]]
    assert names.count("learner: launch") == 3  # vector steps of two updates each
    assert "log points: files" in names
    assert row["operators"][0]["us"] >= row["operators"][-1]["us"] > 0
    assert "learner: launch" in all_text(profile.figures(report))
    profile_show.main([str(path)])
    assert (tmp_path / "profile.png").stat().st_size > 10_000
    assert "what took longest in the trace" in capsys.readouterr().out


# What is wrong is one line -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "values", "message"),
    [
        (replay.Settings, {"transitions": (8,)}, r"transitions must be at least batch_size \(256\) and .*, got 8\."),
        (replay.Settings, {"obs_dim": 0}, r"obs_dim must be at least 1, got 0\."),
        (env.Settings, {"backends": ("mujco",)}, r"unknown back end 'mujco'; choose from envpool, gymnasium"),
        (env.Settings, {"env_threads": (0,)}, r"env_threads must be numbers of at least 1, got 0\."),
        (env.Settings, {"updates": 0}, r"updates must be at least 1, got 0\."),
        (startup.Settings, {"ways": ("warm",)}, r"ways must have cold where they have warm"),
        (profile.Settings, {"num_envs": (0,)}, r"num_envs must be numbers of at least 1, got 0\."),
        (profile.Settings, {"trace_updates": 0}, r"trace_updates must be at least 1, got 0\."),
    ],
)
def test_settings_out_of_range(settings: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(**values)


@pytest.mark.parametrize(("main", "flag"), [(startup.main, "--envs"), (profile.main, "--env")])
def test_an_unknown_environment_is_one_line(main: Any, flag: str) -> None:
    with pytest.raises(SystemExit, match=r"^bench\.\w+: unknown envpool id 'Nothing-v0'") as error:
        main([flag, "Nothing-v0", "--device", "cpu", "--threads", "1"])
    assert "\n" not in str(error.value)
