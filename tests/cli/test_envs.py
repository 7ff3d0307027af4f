"""`fastsac envs`: counts by family, and lists by name, family, back end and kind."""

import re

import pytest

from fastsac.cli.main import main
from fastsac.env import list_tasks


def lines(capsys, *args):
    assert main(["envs", *args]) == 0
    return capsys.readouterr().out.splitlines()


def test_families_are_counted(capsys):
    out = lines(capsys)
    rows = [re.fullmatch(r"(\w+) +(\w+) +(\d+)  (\S+)", line) for line in out]
    counts = {(row[1], row[2]): int(row[3]) for row in rows if row}
    assert counts["mujoco", "envpool"] == 33
    assert counts["atari", "envpool"] == 104
    assert counts["classic_control", "gymnasium"] >= 5
    assert f"all{sum(counts.values()):39}" in out
    assert len(out) < 40
    assert any(line.startswith("fastsac envs --family NAME") for line in out)


def test_sizes_are_listed(capsys):
    assert re.fullmatch(r"envpool:HalfCheetah-v5 +17 +6 +1000", lines(capsys, "HalfCheetah-v5")[1])
    assert re.fullmatch(r"envpool:CartPole-v1 +4 +2 choices +500", lines(capsys, "envpool:CartPole-v1")[1])
    assert re.fullmatch(r"envpool:Pong-v5 +4x84x84 +6 choices +27000", lines(capsys, "Pong-v5")[1])


def test_figures_stand_below_tasks_that_tell_the_same(capsys):
    for pattern in ("HalfCheetah-v5", "HalfCheetah"):
        assert lines(capsys, pattern)[-1] == "figures for --info-metrics: reward_run reward_ctrl x_position x_velocity"
    assert not [line for line in lines(capsys, "Cheetah") if "info" in line]
    assert len(lines(capsys, "envpool:Pendulum-v1")) == 2


def test_filters_narrow(capsys):
    box2d = lines(capsys, "--family", "box2d")
    assert len(box2d) == 9
    images = lines(capsys, "--family", "Box2D", "--images")
    assert len(images) == 3
    assert all("3x96x96" in line for line in images[1:])
    discrete = lines(capsys, "--back-end", "gymnasium", "--discrete")
    assert len(discrete) > 5
    assert all(re.match(r"gymnasium:\S+ +\d+ +\d+ choices ", line) for line in discrete[1:])
    assert len(lines(capsys, "cartpole", "--family", "classic-control", "--back-end", "envpool")) == 5


def test_slow_tasks_are_looked_at_by_family_or_name(capsys):
    out = lines(capsys, "--images")
    assert not any("84x84" in line for line in out)
    assert out[-1] == "104 more take a while to look at: fastsac envs --family atari"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["HalfCheetha"], "no environment matches 'HalfCheetha'; did you mean HalfCheetah-v5 or"),
        (["NoSuchThing"], "no environment matches 'NoSuchThing'. `fastsac envs` counts all."),
        (["--family", "mujocu"], "there is no family 'mujocu' among these; did you mean mujoco?"),
        (["cartpole", "--family", "xyz"], "there is no family 'xyz' among these; choose from classic_control"),
        (["--back-end", "envpul"], "there is no back end 'envpul' among these; did you mean envpool?"),
        (["HalfCheetah-v5", "--images"], "no trainable environment is like this. `fastsac envs` counts all."),
    ],
)
def test_what_there_is_not_gets_one_line(capsys, args, message):
    assert main(["envs", *args]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out


IMAGES = "tests.support.image_env"


@pytest.mark.parametrize(
    "args", [[f"{IMAGES}:Side"], [f"{IMAGES}:si*"], ["--back-end", IMAGES], ["--back-end", IMAGES, "S"]]
)
def test_a_module_of_ones_own_is_listed(capsys, args):
    out = lines(capsys, *args)
    assert len(out) == 2
    assert re.fullmatch(r"image:Side +1x36x36 +2 choices +8", out[1])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([f"{IMAGES}:Sied"], f"no environment matches '{IMAGES}:Sied'; did you mean {IMAGES}:Side?"),
        (["zzz", "--back-end", IMAGES], f"no environment matches 'zzz'. `fastsac envs --back-end {IMAGES}` lists all."),
        (
            ["--back-end", "no.such"],
            "back end 'no.such' cannot be imported: ModuleNotFoundError: No module named 'no'.",
        ),
    ],
)
def test_what_is_not_in_a_module_of_ones_own_gets_one_line(capsys, args, message):
    assert main(["envs", *args]) == 2
    assert capsys.readouterr().err == f"fastsac envs: {message}\n"


def test_a_back_end_without_families_is_one(monkeypatch):
    monkeypatch.setattr("fastsac.env.registry.backend_modules", lambda: {"own": "tests.support.scripted_env"})
    monkeypatch.setattr("tests.support.scripted_env.list_tasks", lambda: ["5c"], raising=False)
    assert [(task.env_id, task.family, task.is_slow) for task in list_tasks()] == [("own:5c", "own", False)]
