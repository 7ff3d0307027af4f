"""Exact resume: a run that is interrupted and continued gives, bit for bit, the numbers of one that was not.

Environments cannot save their state, but for those that can: the other run makes its environments anew at that point.
"""

import json
import math
import signal

import pytest
import torch
from test_training import BASE, TIME_COLUMNS, rows

from fastsac import checkpoint
from fastsac.config.settings import Config
from fastsac.run import plan
from fastsac.run.evaluator import make_training_envs
from fastsac.run.plan import make_plan
from fastsac.run.trainer import Run, train

EXACT = BASE.replace(total_steps=140, log_every=30, eval_every=45, buffer_size=60)
SETTINGS = {
    "plain": {},
    "members": {"seeds": 2, "sweep": ("critic_lr=1e-3,1e-2",), "obs_norm": True},
    "n_step": {"n_step": 3, "obs_norm": True, "utd_ratio": 0.7},
    "delayed": {"actor_delay": 2, "seeds": 2, "utd_ratio": 2.5},
    "goals": {"seeds": 2, "stop_at_return": 1e9, "num_envs": 1, "checkpoint_every": 25},
}


def drive(config, interrupt_at=math.inf, renew_at=math.inf):
    """Train until a Ctrl-C in the middle of a vector step, with new environments after another one, if any."""
    with Run(make_plan(config)) as run:
        recv, sent = run.collector.recv, []

        def recv_and_interrupt():
            recv()
            if run.env_steps >= interrupt_at and not sent:
                sent.append(signal.raise_signal(signal.SIGINT))

        run.collector.recv = recv_and_interrupt
        run.start()
        while not run.is_over:
            before = run.env_steps
            run.step()
            if before < renew_at <= run.env_steps:
                run.catch_up()
                run.env.close()
                run.env = run.collector.env = make_training_envs(config, run.collector.vec_steps)
                run.collector.reset()
        return run.finish()


def interrupt(config, at, **changes):
    """Train until a Ctrl-C in the middle of a vector step at `at` environment steps."""
    result = drive(config, interrupt_at=at, **changes)
    assert result.interrupted
    assert at <= result.env_steps < at + 3 * config.num_envs
    return result.run_dir


def resumed(folder, **changes):
    return Config.load(folder).replace(resume=str(folder), run_dir=None, **changes)


def assert_same_tree(mine, other, path=""):
    if isinstance(mine, dict):
        assert mine.keys() == other.keys(), path
        for key in mine:
            assert_same_tree(mine[key], other[key], f"{path}.{key}")
    elif isinstance(mine, torch.Tensor):
        assert torch.equal(mine, other), path
    else:
        assert mine == other, path


def without_times(meta):
    evals = [{k: v for k, v in row.items() if k != "wall_s"} for row in meta["last_evals"]]
    row = {k: v for k, v in meta["last_row"].items() if k not in ("ago_s", "waited")}
    kept = {k: v for k, v in meta.items() if k not in ("wall_s", "name", "learner", "replay")}
    return {**kept, "last_evals": evals, "last_row": row}


def assert_same_run(first, second):
    """Tables, parameters, replay, counters: everything but times."""
    for name in ("metrics.csv", "eval.csv"):
        mine, other = (rows(folder / name, TIME_COLUMNS) for folder in (first, second))
        assert mine == other
        assert len(mine) >= 3
    assert checkpoint.load_meta(first)["replay"]["span"] == checkpoint.load_meta(second)["replay"]["span"]
    (state, meta), (other_state, other_meta) = (checkpoint.load(folder) for folder in (first, second))
    assert_same_tree(state, other_state)
    assert_same_tree(without_times(meta), without_times(other_meta))
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (first, second)]
    for key in ("members", "env_steps", "grad_steps", "eval_return_mean", "eval_return_std"):
        assert summaries[0][key] == summaries[1][key]


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
    assert_exact(tmp_path, EXACT.replace(env="tests.scripted_env:2t,4c", num_envs=1, seeds=2, log_every=10), 52)


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


def test_real_environments_resume_exactly(tmp_path):
    config = Config(
        env="Pendulum-v1", num_envs=4, total_steps=450, learning_starts=100, batch_size=16, buffer_size=300,
        hidden_dims=(8,), log_every=60, eval_every=150, eval_episodes=2, utd_ratio=0.5, device="cpu",
        compile="off", tensorboard=False,
    )  # fmt: skip
    assert_exact(tmp_path, config, 333)
