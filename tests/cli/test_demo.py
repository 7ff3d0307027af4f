"""`fastsac demo`: lists the policies of the package, tells how each was made, and shows it as the machine can."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastsac
from fastsac import policies
from fastsac.cli.main import main
from fastsac.film import film, window
from fastsac.run.policy_dir import read_about

PENDULUM = read_about(policies.folder_of("pendulum")).card


@pytest.fixture(autouse=True)
def _without_a_display(tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.chdir(tmp_path)


def returns_of(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("episode ")]


def test_the_list_has_task_return_and_command_of_each(capsys):
    assert main(["demo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in policies.names():
        (number,) = [i for i, line in enumerate(lines) if line.startswith(name)]
        card = read_about(policies.folder_of(name)).card
        assert card.evaluation is not None
        assert lines[number].split()[2] == f"{card.evaluation.return_mean:,.0f}"
        assert lines[number + 1].strip() == card.command


def test_without_a_display_it_is_filmed_into_the_working_directory(capsys):
    for name in ("pendulum.mp4", "pendulum-2.mp4"):
        assert main(["demo", "pendulum", "--speed", "20"]) == 0
        out = capsys.readouterr().out
        assert f"film: {name}, " in out
        assert Path(name).stat().st_size > 1000
    assert PENDULUM.evaluation is not None
    assert f"return    {PENDULUM.evaluation.return_mean:,.1f} +- " in out
    assert f" <- {PENDULUM.evaluation.return_mean:,.0f}\n" in out
    assert PENDULUM.command in out
    assert str(policies.folder_of("pendulum") / "eval.csv") in out


def test_where_no_pictures_can_be_made_it_prints_the_returns(capsys, monkeypatch):
    monkeypatch.setattr(film, "find_spec", lambda name: None)
    assert main(["demo", "pendulum", "--episodes", "3", "--seed", "5"]) == 0
    out = capsys.readouterr().out
    assert "no pictures: films need PyAV" in out
    evaluation = fastsac.evaluate("demo:pendulum", episodes=3, seed=5)
    assert returns_of(out) == [f"episode {n + 1}: return {r:.1f}, length 200" for n, r in enumerate(evaluation.returns)]
    assert main(["demo", "pendulum", "--stochastic"]) == 0
    assert returns_of(capsys.readouterr().out) != returns_of(out)[:1]
    assert main(["demo", "pendulum", "--video", "a.mp4"]) == 2  # which was asked for
    assert "films need PyAV" in capsys.readouterr().err
    assert not [*Path().iterdir()]


def test_with_a_display_there_is_a_window(capsys, monkeypatch):
    """A window that closes at the third picture: not every machine has a display."""
    shown = list[np.ndarray]()

    class Screen:
        def __init__(self, title: str, frames_per_s: float) -> None:
            assert title == "envpool:Pendulum-v1, demo:pendulum"

        def show(self, picture: np.ndarray) -> None:
            shown.append(picture)
            if len(shown) == 3:
                raise window.WindowClosed

        def close(self) -> None:
            pass

    monkeypatch.setattr(window, "Window", Screen)
    assert main(["demo", "pendulum"]) == 0
    assert len(shown) == 3
    assert not [*Path().iterdir()]


def test_it_is_a_run_directory_for_other_commands(capsys):
    assert main(["eval", "demo:pendulum", "--episodes", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["returns"] == fastsac.evaluate("demo:pendulum", episodes=2).returns.tolist()
    assert main(["play", "demo:pendulum", "--speed", "20"]) == 0
    assert "film: pendulum.mp4, " in capsys.readouterr().out


def test_a_terminal_without_unicode_gets_plain_letters():
    command = [sys.executable, "-m", "fastsac", "demo", "pendulum", "--speed", "50"]
    env = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, capture_output=True, timeout=120, env=env)
    assert done.returncode == 0, done.stderr
    assert b"####" in done.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["cheetah"], "there is no demo 'cheetah'; choose from "),
        (["--episodes", "2"], "NAME must be given beside --episodes; choose from "),
        (["pendulum", "--episodes", "0"], "episodes must be at least 1, got 0."),
        (["pendulum", "--video", "a.avi"], "video must end in .mp4, got a.avi."),
        (["pendulum", "--member", "1"], "unknown option --member"),
    ],
)
def test_a_wrong_call_gets_one_line_and_status_2(capsys, args, message):
    assert main(["demo", *args]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert err.count("\n") == 1
    assert not out
    assert not [*Path().iterdir()]


def test_a_wrong_name_in_place_of_a_run_directory_is_told(capsys):
    for command in ("eval", "play", "extract"):
        assert main([command, "demo:cheetah"]) == 2
        assert "there is no demo 'cheetah'; choose from halfcheetah" in capsys.readouterr().err
