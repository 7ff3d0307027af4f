"""Films of evaluations: which there are, what they show, and that a run does not depend on them."""

import signal
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fastsac.config.settings import Config
from fastsac.run.evaluator import Evaluation, evaluate
from fastsac.run.films import Films
from fastsac.run.plan import make_plan
from fastsac.run.trainer import Run, train
from tests.support.films import watch
from tests.support.runs import BASE, TIME_COLUMNS, parameters, rows, run

FILMED: dict[str, Any] = {"eval_every": 20, "video_every": 20}
NAMES = ["step-000000021.mp4", "step-000000042.mp4", "step-000000062.mp4"]  # of BASE, where resets are no steps


def films(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "videos").glob("*")) if (folder / "videos").is_dir() else []


def same_numbers(a: Path, b: Path) -> bool:
    return all(rows(a / name, TIME_COLUMNS) == rows(b / name, TIME_COLUMNS) for name in ("metrics.csv", "eval.csv"))


@pytest.mark.parametrize("env", [BASE.env, "Pendulum-v1"])
def test_a_run_has_the_same_numbers_with_films_and_without(tmp_path, env):
    settings: dict[str, Any] = {"env": env, "max_episode_steps": 20 if env == "Pendulum-v1" else None}
    plain = run(tmp_path, "plain", eval_every=20, **settings)
    filmed = run(tmp_path, "filmed", **FILMED, **settings)
    assert same_numbers(plain.run_dir, filmed.run_dir)
    assert all(parameters(plain)[name].equal(value) for name, value in parameters(filmed).items())
    assert len(films(filmed.run_dir)) == len(rows(plain.run_dir / "eval.csv")) == 3
    assert not (plain.run_dir / "videos").exists()


@pytest.mark.parametrize("obs_norm", [False, True])
def test_a_film_shows_the_first_episode_of_the_evaluation(tmp_path, monkeypatch, obs_norm):
    evaluations: list[Evaluation] = []
    films_of: list[float] = []

    def evaluate_and_keep(training: Run) -> Evaluation:
        evaluations.append(evaluate(training))
        return evaluations[-1]

    film = Films._film

    def film_and_keep(*args: Any) -> float:
        films_of.append(film(*args))
        return films_of[-1]

    monkeypatch.setattr(Films, "_film", film_and_keep)
    settings = {**FILMED, "env": "Pendulum-v1", "max_episode_steps": 30, "obs_norm": obs_norm}
    with Run(make_plan(BASE.replace(run_dir=str(tmp_path / "run"), **settings)), evaluate_and_keep) as training:
        training.train()
    assert films_of == [evaluation.returns[0, 0] for evaluation in evaluations]
    seen = watch(tmp_path / "run" / "videos" / "step-000000020.mp4")
    assert (len(seen.pictures), seen.frames_per_s) == (31, 30)


def test_pictures_are_of_the_steps_of_the_episode(tmp_path):
    result = run(tmp_path, env="tests.support.scripted_env:9c", **FILMED)  # 100 steps a second: every second is shown
    seen = watch(result.run_dir / "videos" / "step-000000040.mp4")
    assert (seen.greys, seen.frames_per_s) == ([0, 20, 40, 60, 80, 90], 50)


@pytest.mark.parametrize(
    ("eval_every", "video_every", "names"),
    [(20, 20, NAMES), (20, 40, NAMES[1:2]), (20, 30, NAMES[1:]), (0, 60, NAMES[2:]), (0, 59, NAMES[2:]), (20, 0, [])],
)
def test_the_evaluation_after_so_many_steps_is_filmed(tmp_path, eval_every, video_every, names):
    result = run(tmp_path, eval_every=eval_every, video_every=video_every)
    assert films(result.run_dir) == names


def test_a_resumed_run_films_what_the_whole_one_would(tmp_path):
    settings: dict[str, Any] = {"eval_every": 20, "video_every": 60, "env_kwargs": {"saves_state": True}}
    whole, half = (run(tmp_path, name, total_steps=n, **settings) for name, n in (("whole", 120), ("half", 80)))
    train(Config.load(half.run_dir).replace(resume=str(half.run_dir), run_dir=None, total_steps=120))
    assert films(half.run_dir) == films(whole.run_dir)
    assert len(films(whole.run_dir)) == 2


def test_of_several_members_the_best_is_filmed(tmp_path):
    result = run(tmp_path, seeds=3, eval_every=0, video_every=60)
    returns = [float(row["return_mean"]) for row in rows(result.run_dir / "eval.csv")]
    assert films(result.run_dir) == [f"step-000000062-member{returns.index(max(returns))}.mp4"]
    assert len(set(returns)) == 3


@pytest.mark.parametrize("failure", ["picture", "disk", "logger"])
def test_a_film_that_fails_costs_a_line(tmp_path, capsys, monkeypatch, failure):
    plain = run(tmp_path, "plain", eval_every=20)
    settings = {**FILMED, "eval_env_kwargs": {"bad_picture": 2} if failure == "picture" else {}}
    training = Run(make_plan(BASE.replace(run_dir=str(tmp_path / "run"), **settings)))
    if failure == "disk":
        (tmp_path / "run" / "videos").write_text("a file in the way")
    if failure == "logger":
        monkeypatch.setattr("fastsac.report.sinks.Sinks.film", lambda *_: 1 / 0)
    capsys.readouterr()
    with training:
        training.train()
    lines = [line for line in capsys.readouterr().out.splitlines() if "was not filmed" in line]
    assert len(lines) == 3
    reason = {"picture": "the lamp broke", "disk": "File exists", "logger": "division by zero"}[failure]
    assert lines[0].startswith(f"videos/{NAMES[0]} was not filmed: ")
    assert reason in lines[0]
    assert lines[0].endswith("The run goes on.")
    if failure == "picture":
        assert films(tmp_path / "run") == []
    assert same_numbers(plain.run_dir, tmp_path / "run")


def test_a_film_that_a_signal_cuts_short_is_none(tmp_path):
    training = Run(
        make_plan(BASE.replace(run_dir=str(tmp_path / "run"), env="tests.support.scripted_env:9c", **FILMED))
    )
    with training:
        film, count = training.learner.act_of_member, 0

        def act(member: int, obs: Any) -> Any:
            nonlocal count
            count += 1
            if count == 9 + 4:  # 9 of the evaluation
                signal.raise_signal(signal.SIGTERM)
            return film(member, obs)

        training.learner.act_of_member = act  # type: ignore[method-assign]
        result = training.train()
    assert (result.stopped_by, result.env_steps) == ("SIGTERM", 20)
    assert films(tmp_path / "run") == []


def test_tensorboard_shows_the_films(tmp_path):
    result = run(tmp_path, tensorboard=True, **FILMED)
    events = EventAccumulator(str(result.run_dir / "tensorboard"), {"images": 0}).Reload()
    images = events.Images("eval/film")
    assert [image.step for image in images] == [21, 42, 62]
    assert all(image.encoded_image_string.startswith(b"GIF89a") for image in images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"video_every": 61}, "video_every 61 must be at most total_steps 60, or nothing is filmed"),
        ({"video_every": -1}, "video_every must be at least 0, got -1"),
        (
            {"video_every": 1, "env": "Taxi-v3"},
            "envpool:Taxi-v3 cannot be drawn: render not implemented",
        ),
        ({"video_every": 1, "env_kwargs": {"bad_picture": 1}}, "cannot be drawn: the lamp broke."),
    ],
)
def test_films_that_cannot_be_made_are_refused_before_any_work(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_without_an_encoder_a_run_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("fastsac.film.film.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="films need PyAV"):
        run(tmp_path, **FILMED)
    assert not list(tmp_path.iterdir())
