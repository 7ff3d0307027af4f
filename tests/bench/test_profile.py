"""bench.profile: spans do not count twice, and all of the time is divided."""

import json
from pathlib import Path

import pytest
import torch

from bench import profile

BRIEF = ["--repeats", "2", "--seconds", "0.02", "--device", "cpu", "--threads", str(torch.get_num_threads())]


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


def test_profile_divides_all_of_the_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "profile.json"
    report = profile.main([*BRIEF, "--env", "Pendulum-v1", "--num-envs", "2", "--eager", "--json", str(path)])
    assert json.loads(path.read_text()) == json.loads(json.dumps(report))
    (row,) = report["rows"]
    assert row["mode"] == "eager"
    assert sum(group["share"] for group in row["groups"].values()) == pytest.approx(1.0)
    assert row["groups"]["learner"]["share"] > 0.3
    assert min(group["us"] for group in row["groups"].values()) >= 0
    assert "env steps/s without timing" in capsys.readouterr().out


def test_a_wrapped_part_is_as_it_was_afterwards() -> None:
    class Part:
        def work(self) -> int:
            return 1

    part = Part()
    with profile.wrapped([("learner", part, "work")], lambda name, method: lambda: 2):
        assert part.work() == 2
    assert part.work() == 1
    assert vars(part) == {}


def test_what_is_wrong_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"num_envs must be at least 1, got .0,.\."):
        profile.Settings(num_envs=(0,))
    with pytest.raises(SystemExit, match=r"^bench\.profile: unknown envpool id 'Nothing-v0'"):
        profile.main(["--env", "Nothing-v0", "--device", "cpu", "--threads", "1"])
