"""Whole runs on a GPU that computes nothing: log points, evaluations, checkpoints, the way back from NaN."""

import json

import pytest

from fastsac import checkpoint
from fastsac.config.settings import Config
from fastsac.run import nan_guard
from fastsac.run.nan_guard import Fault
from fastsac.run.plan import make_plan
from fastsac.run.trainer import Run, train
from tests.support.demonstrations import transitions, write
from tests.support.fake_cuda import fake_cuda
from tests.support.runs import BASE, dumps, go_wrong

ALL = {
    "seeds": 2, "obs_norm": True, "reward_norm": True, "noise_repeat": 3, "n_step": 2, "actor_delay": 2,
    "lr_schedule": "cosine", "log_every": 20, "eval_every": 20, "checkpoint_every": 20, "on_nan": "rollback",
}  # fmt: skip


@pytest.fixture
def faults(monkeypatch):
    """What the guard finds, where the host reads zeros from the device."""
    faults: list[Fault] = []
    monkeypatch.setattr(nan_guard, "find", lambda *_: [faults.pop()] if faults else [])
    return faults


ON_CUDA = {"device": "cuda", "compile": "auto", "updates_per_launch": 1}


def settings(tmp_path, name, **changes):
    return BASE.replace(run_dir=str(tmp_path / name), **ALL, **changes)


def mode_of(result):
    return json.loads((result.run_dir / "summary.json").read_text())["mode"]


def test_log_points_evaluations_checkpoints_and_the_way_back_from_nan(tmp_path, faults):
    fault = Fault(member=1, step=3, names=("critic_loss",), head=9, tail=0, count=20)

    def go_bad(training):
        if training.collector.vec_steps == 9:
            faults.append(fault)

    with fake_cuda(), Run(make_plan(settings(tmp_path, "run", **ON_CUDA))) as training:
        go_wrong(training, go_bad)
        result = training.train()
    assert mode_of(result) == "captured"
    assert training.guard.rollbacks == [0, 1]
    (dump,) = dumps(tmp_path / "run")
    assert dump["batch"]["obs"].shape == (8, 5)
    assert len(checkpoint.checkpoint_dirs(tmp_path / "run")) > 1


@pytest.mark.parametrize("saves_state", [False, True])
def test_a_run_of_a_cpu_goes_on(tmp_path, faults, saves_state):
    first = train(settings(tmp_path, "run", env_kwargs={"saves_state": saves_state}))
    with fake_cuda() as gpu:
        config = Config.load(first.run_dir).replace(resume=str(first.run_dir), run_dir=None, total_steps=90, **ON_CUDA)
        result = train(config)
        gpu.waits.clear()
    assert mode_of(result) == "captured"
    assert result.env_steps >= 90


def test_a_run_begins_with_demonstrations(tmp_path, faults):
    file = write(tmp_path / "demos.npz", transitions("...T..C....T", obs_dim=5))
    with fake_cuda():
        result = train(settings(tmp_path, "run", prefill=file, prefill_share=0.5, **ON_CUDA))
    assert mode_of(result) == "captured"
