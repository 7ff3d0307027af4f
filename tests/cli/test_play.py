"""`fastsac play`: films and windows of a trained policy, and one line for each wrong call."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastsac
from fastsac.cli.main import main
from fastsac.env import make_rendered_env
from fastsac.film import window
from tests.support.films import watch
from tests.support.runs import complaints, run, wait_for

ENV = "tests.support.scripted_env:9c"


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.chdir(tmp_path)
    return run(tmp_path, env=ENV).run_dir.relative_to(tmp_path)


def test_without_a_display_it_films_into_the_run_directory(trained, capsys):
    capsys.readouterr()
    for name in ("play.mp4", "play-2.mp4"):
        assert main(["play", str(trained)]) == 0
        out, err = capsys.readouterr()
        why, episode, film = out.splitlines()
        assert why.startswith("no window: ")
        assert why.endswith("; this makes a film")
        assert episode.startswith("episode 1: return ")
        assert episode.endswith(", length 9")
        assert film == f"film: {trained}/videos/{name}, 6 frames, 50 a second"
        assert watch(trained / "videos" / name).greys == [0, 20, 40, 60, 80, 90]
        assert not complaints(err)


def test_its_episodes_are_those_that_eval_counts(trained, capsys):
    capsys.readouterr()
    assert main(["play", str(trained), "--episodes", "3", "--seed", "5", "--video", "out.mp4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    returns = fastsac.evaluate(trained, ENV, episodes=3, seed=5).returns
    assert lines[:3] == [f"episode {n}: return {value:.1f}, length 9" for n, value in enumerate(returns, start=1)]
    assert lines[3] == "film: out.mp4, 18 frames, 50 a second"
    assert watch(Path("out.mp4")).greys == [0, 20, 40, 60, 80, 90] * 3


@pytest.mark.parametrize(("speed", "frames_per_s", "count"), [("0.25", 25, 10), ("2", 50, 4)])
def test_speed(trained, speed, frames_per_s, count):
    assert main(["play", str(trained), "--speed", speed, "--video", "a.mp4"]) == 0
    seen = watch(Path("a.mp4"))
    assert (seen.frames_per_s, len(seen.pictures)) == (frames_per_s, count)


def test_the_first_seconds_alone(trained, capsys):
    for args in ([], ["--seconds", "0.06"]):
        assert main(["play", str(trained), "--video", "a.mp4", *args]) == 0
    episode, film = capsys.readouterr().out.splitlines()[-2:]
    assert episode.endswith(", length 9")  # which is played to its end
    assert film == "film: a.mp4, 3 frames, 50 a second, the first 0.06 s of each episode"
    assert watch(Path("a.mp4")).greys == [0, 20, 40]


def test_stochastic_actions_are_other_ones(tmp_path, monkeypatch, capsys):
    folder = run(tmp_path, env="Pendulum-v1", max_episode_steps=60).run_dir
    outs = []
    for flags in ([], [], ["--stochastic"], ["--stochastic"], ["--stochastic", "--seed", "1"]):
        capsys.readouterr()
        assert main(["play", str(folder), "--video", str(tmp_path / "a.mp4"), *flags]) == 0
        outs.append(capsys.readouterr().out)
    assert outs[0] == outs[1] != outs[2] == outs[3] != outs[4]


def test_a_member_is_chosen(tmp_path, capsys):
    folder = run(tmp_path, env="Pendulum-v1", max_episode_steps=20, seeds=2).run_dir
    policies = [fastsac.load(folder, member) for member in (0, 1)]
    returns = [fastsac.evaluate(policy, episodes=1).returns[0] for policy in policies]
    for member, value in (("0", returns[0]), ("1", returns[1])):
        capsys.readouterr()
        assert main(["play", str(folder), "--member", member, "--video", str(tmp_path / "a.mp4")]) == 0
        assert capsys.readouterr().out.startswith(f"episode 1: return {value:.1f}, length 20")
    assert returns[0] != returns[1]
    assert (
        main(["play", str(folder), "--member", "best", "--checkpoint", "best", "--video", str(tmp_path / "a.mp4")]) == 0
    )


def test_ctrl_c_keeps_what_was_filmed(tmp_path):
    """A real process and a real signal, in an episode that takes its time."""
    touched = tmp_path / "touched"
    folder = run(tmp_path, env=ENV).run_dir
    config = fastsac.Config.load(folder).replace(eval_env_kwargs={"sleep": [5, 1, str(touched)]})
    (folder / "config.json").write_text(config.to_json())
    command = [sys.executable, "-m", "fastsac", "play", str(folder), "--video", str(tmp_path / "a.mp4")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(process, touched.exists)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert out == f"film: {tmp_path}/a.mp4, 3 frames, 50 a second\n"
    assert not complaints(err)
    assert watch(tmp_path / "a.mp4").greys == [0, 20, 40]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "RUN_DIR must be given"),
        (["nowhere"], "nowhere is not a run directory"),
        (["run", "--episodes", "0"], "episodes must be at least 1, got 0."),
        (["run", "--seed", "-1"], "seed must be in [0, 2^31), got -1."),
        (["run", "--speed", "0"], "speed must be above 0 and finite, got 0.0."),
        (["run", "--seconds", "0"], "seconds must be above 0 and finite, or none, got 0.0."),
        (["run", "--video", "film.avi"], "video must end in .mp4, got film.avi."),
        (["run", "--video", "run/config.json/a.mp4"], "cannot write run/config.json/a.mp4: "),
        (["run", "--member", "1"], "member must be 0, the only one of this run, got 1."),
    ],
)
def test_a_wrong_call_gets_one_line_and_status_2(trained, capsys, args, message):
    capsys.readouterr()
    before = sorted(Path().rglob("*"))
    assert main(["play", *args]) == 2
    out, err = capsys.readouterr()
    assert message in complaints(err)
    assert complaints(err).count("\n") == 1
    assert not out
    assert sorted(Path().rglob("*")) == before


def test_a_task_that_cannot_be_drawn_is_refused(tmp_path, capsys):
    folder = run(tmp_path, env="tests.support.chain_env:random:5,3,0", env_kwargs={"max_episode_steps": 5}).run_dir
    capsys.readouterr()
    assert main(["play", str(folder)]) == 2
    assert "back end 'tests.support.chain_env' draws no pictures" in capsys.readouterr().err
    assert not (folder / "videos").exists()


def test_an_error_of_the_disk_in_the_environment_is_not_the_films(trained, tmp_path, capsys, monkeypatch):
    made = []

    def make(*args):
        made.append(args)
        if len(made) == 3:
            raise OSError(28, "No room for its log")
        return make_rendered_env(*args)

    monkeypatch.setattr("fastsac.env.make_rendered_env", make)
    capsys.readouterr()
    assert main(["play", "run", "--episodes", "2", "--video", str(tmp_path / "a.mp4")]) == 1
    err = complaints(capsys.readouterr().err)
    assert "failed in make: OSError: [Errno 28] No room for its log" in err
    assert "cannot write" not in err


def test_an_environment_that_fails_is_status_1_and_the_film_is_kept(tmp_path, capsys):
    folder = run(tmp_path, env=ENV).run_dir
    config = fastsac.Config.load(folder).replace(eval_env_kwargs={"bad_picture": 3})
    (folder / "config.json").write_text(config.to_json())
    capsys.readouterr()
    assert main(["play", str(folder), "--video", str(tmp_path / "a.mp4")]) == 1
    assert "the lamp broke" in capsys.readouterr().err
    assert watch(tmp_path / "a.mp4").greys == [0, 20]


def test_with_a_display_there_is_a_window_and_no_film(trained, capsys, monkeypatch):
    """A window that keeps what it is shown: not every machine has a display."""
    shown = list[np.ndarray]()

    class Screen:
        def __init__(self, title: str, frames_per_s: float) -> None:
            assert (title, frames_per_s) == (f"{ENV}, {trained}", 50)

        def show(self, picture: np.ndarray) -> None:
            shown.append(picture)
            if len(shown) == 9:
                raise window.WindowClosed

        def close(self) -> None:
            shown.append(np.zeros(0))

    monkeypatch.setattr(window, "Window", Screen)
    capsys.readouterr()
    assert main(["play", str(trained), "--episodes", "2"]) == 0
    assert [picture.size for picture in shown] == [30 * 41 * 3] * 9 + [0]  # closed once
    assert capsys.readouterr().out.count("\n") == 1  # the first episode
    assert not (trained / "videos").exists()
