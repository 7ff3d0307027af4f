"""Exact resume: a run that is interrupted and continued gives, bit for bit, the numbers of one that was not.

Environments cannot save their state, but for those that can: the other run makes its environments anew at that point.
"""

import math
from typing import Any

import pytest
from torch.multiprocessing.reductions import StorageWeakRef

from fastsac import checkpoint
from fastsac.checkpoint import read_rows
from fastsac.config.settings import Config
from fastsac.learning.replay import Piece
from fastsac.run import plan
from fastsac.run.plan import make_plan
from fastsac.run.trainer import Run, train
from tests.support.interrupted_runs import EXACT, assert_same_run, drive, interrupt, resumed
from tests.support.runs import BASE

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"utd_ratio": 1.0},
    "members": {"seeds": 2, "sweep": ("critic_lr=1e-3,1e-2",), "obs_norm": True},
    "n_step": {"n_step": 3, "obs_norm": True, "utd_ratio": 0.7},
    "scheduled": {"lr_schedule": "cosine", "sweep": ("lr_final=0,0.5",), "actor_delay": 2},
    "delayed": {"actor_delay": 2, "seeds": 2, "utd_ratio": 1.25},
    "course": {"bootstrap_time_limits": False, "random_steps": 3, "log_std_map": "clamp", "n_step": 2, "seeds": 2},
    "recipe": {"reward_norm": True, "noise_repeat": 6, "n_step": 2, "sweep": ("gamma=0.9,0.99",)},
    "goals": {"seeds": 2, "stop_at_return": 1e9, "num_envs": 1, "checkpoint_every": 25},
}


def assert_exact(tmp_path, config, at, renews=True):
    """Interrupt `config` at `at`, go on, and compare."""
    folder = interrupt(config.replace(run_dir=str(tmp_path / "interrupted")), at)
    train(resumed(folder))
    other = drive(config.replace(run_dir=str(tmp_path / "other")), renew_at=at if renews else math.inf)
    assert_same_run(folder, other.run_dir)


# Before learning, after a row, after an evaluation, with both, and after the ring has wrapped.
@pytest.mark.parametrize(
    ("name", "at"), [(name, at) for name in SETTINGS for at in ((5, 31, 47, 90, 110) if name == "plain" else (5, 110))]
)
def test_a_resumed_run_is_one_that_made_its_environments_anew(tmp_path, name, at):
    assert_exact(tmp_path, EXACT.replace(**SETTINGS[name]), at)


def test_a_run_resumes_exactly_a_second_time(tmp_path):
    config = EXACT.replace(**SETTINGS["n_step"])
    folders = []
    for name in ("a", "b"):
        folder = tmp_path / name
        if name == "a":
            interrupt(config.replace(run_dir=str(folder)), 40)
            interrupt(resumed(folder), 77)
        else:
            interrupt(config.replace(run_dir=str(folder)), 77, renew_at=40)
        train(resumed(folder))
        folders.append(folder)
    assert_same_run(*folders)


def test_recorded_launches_resume_exactly(tmp_path, recorder, monkeypatch):
    monkeypatch.setattr(plan, "choose_mode", lambda *_: ("captured", "recorded"))
    assert_exact(tmp_path, EXACT.replace(obs_norm=True, updates_per_launch=4, utd_ratio=2.0, actor_delay=2), 63)
    assert recorder.replayed > 30


def test_members_out_of_step_resume_exactly(tmp_path):
    """One environment each: at a dummy row only one of the two members makes a step."""
    assert_exact(tmp_path, EXACT.replace(env="tests.support.scripted_env:2t,4c", num_envs=1, seeds=2, log_every=10), 52)


@pytest.mark.parametrize(("name", "at"), [("plain", 5), *((name, 95) for name in SETTINGS)])
def test_with_environments_that_save_their_state_nothing_differs_at_all(tmp_path, name, at):
    config = EXACT.replace(env_kwargs={"saves_state": True}, **SETTINGS[name])
    assert_exact(tmp_path, config, at, renews=False)


def test_checkpoints_change_no_number(tmp_path):
    results = [
        train(EXACT.replace(run_dir=str(tmp_path / f"{every}"), checkpoint_every=every, actor_delay=2, obs_norm=True))
        for every in (0, 7)
    ]
    assert_same_run(*(result.run_dir for result in results))


class OneAtATime:
    """The pieces of a replay; each must be gone when the next is asked for."""

    def __init__(self, found: checkpoint.Found) -> None:
        self.pieces = read_rows(found)
        self.given: list[StorageWeakRef] = []

    def __iter__(self) -> "OneAtATime":
        return self

    def __next__(self) -> Piece:
        assert all(storage.expired() for storage in self.given)
        begin, rows = next(self.pieces)
        self.given += [StorageWeakRef(value.untyped_storage()) for value in rows.values()]
        return begin, rows


def test_no_more_than_a_file_of_the_replay_is_held_beside_the_ring(tmp_path, monkeypatch):
    monkeypatch.setattr("fastsac.checkpoint.writer.PIECE", 1000)
    folder = interrupt(EXACT.replace(run_dir=str(tmp_path / "run")), 110)
    read: list[OneAtATime] = []

    def watched(found: checkpoint.Found) -> OneAtATime:
        read.append(OneAtATime(found))
        return read[-1]

    monkeypatch.setattr(checkpoint, "read_rows", watched)
    with Run(make_plan(resumed(folder))):
        pass
    assert len(read) == 1
    assert len(read[0].given) >= 3 * 5  # files, and columns


@pytest.mark.parametrize("by", ["name", "auto"])
def test_a_run_of_a_version_that_took_settings_without_effect_goes_on_with_them(tmp_path, monkeypatch, by):
    own: dict[str, Any] = {"num_atoms": 51, "lr_final": 0.5, "run_dir": str(tmp_path / "run")}
    with monkeypatch.context() as earlier:
        earlier.setattr(plan, "settle", lambda config, *_: (config, ""))
        train(BASE.replace(**own))
    again = resumed(tmp_path / "run") if by == "name" else BASE.replace(resume="auto", **own)
    assert train(again.replace(total_steps=80)).env_steps >= 80
    assert Config.load(tmp_path / "run").num_atoms == 51
    with pytest.raises(ValueError, match=r"^lr_final has no effect with lr_schedule constant\. Leave it out\.$"):
        train(again.replace(total_steps=100, lr_final=0.25))


def test_real_environments_resume_exactly(tmp_path):
    config = Config(
        env="Pendulum-v1", preset="none", num_envs=4, total_steps=450, learning_starts=100, batch_size=16,
        buffer_size=300, hidden_dims=(8,), log_every=60, eval_every=150, eval_episodes=2, utd_ratio=0.5, device="cpu",
        compile="off", tensorboard=False,
    )  # fmt: skip
    assert_exact(tmp_path, config, 333)
