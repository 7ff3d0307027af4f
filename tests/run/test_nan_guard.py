"""NaN and infinity in losses and parameters: what is told, what is written, the way back."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree

from fastsac import checkpoint
from fastsac.acting.errors import NotFiniteError
from fastsac.algorithms.batch import Batch
from fastsac.config.settings import Config
from fastsac.config.shares import PartOfAgent
from fastsac.learning import gradient_step
from fastsac.learning.draw import draw_batch
from fastsac.learning.learner import make_parts
from fastsac.run import nan_guard, plan
from fastsac.run.extract import extract
from fastsac.run.plan import make_plan
from fastsac.run.trainer import Run, train
from tests.support.interrupted_runs import interrupt, resumed
from tests.support.learners import BASE as LEARNER
from tests.support.learners import CPU, SPEC, fill, make_filled
from tests.support.poison import Poison
from tests.support.runs import BASE, dumps, file_size_limit, go_wrong, rows, run, run_with

ROLLBACK: dict[str, Any] = {"on_nan": "rollback", "total_steps": 200, "checkpoint_every": 0}


@pytest.mark.parametrize("changes", [{"critic_lr": 1e30}, {"reward_scale": 1e38}])
def test_a_run_that_goes_wrong_names_the_loss_and_leaves_a_dump(tmp_path, changes):
    with pytest.raises(NotFiniteError) as error:
        run(tmp_path, total_steps=200, **changes)
    (dump,) = dumps(tmp_path / "run")
    message, step = str(error.value), dump["grad_step"]
    assert message.startswith(f"{', '.join(dump['names'])} of member 0 (seed 1) w")
    assert f"not finite at gradient step {step}." in message
    assert "critic_loss" in dump["names"]
    assert f"See {tmp_path / 'run' / f'nan-{step}' / 'member0.pt'}." in message
    assert "or --on-nan rollback" in message
    assert dump["batch"]["obs"].shape == (8, 5)
    assert not dump["overwritten"].any()
    assert not dump["state"]["params"]["critic"].isfinite().all()
    assert Config.from_json(dump["config"]).total_steps == 200


def test_only_the_member_that_goes_bad_is_named_and_goes_back(tmp_path, capsys):
    sweep = {"sweep": ("critic_lr=3e-4,1e30",), "total_steps": 200, "log_every": 20}
    with pytest.raises(NotFiniteError, match=r"of member 1 \(seed 1, critic_lr 1e\+30\) were not finite at gradient"):
        run(tmp_path, "stop", **sweep)
    capsys.readouterr()
    with pytest.raises(NotFiniteError, match="3 rollbacks did not help: try a smaller learning rate"):
        run(tmp_path, "back", **sweep, on_nan="rollback")
    out = capsys.readouterr().out
    assert [f"for time {n} of 3." in out for n in (1, 2, 3, 4)] == [True, True, True, False]
    assert "member 0" not in out
    found = dumps(tmp_path / "back")
    assert len(found) == 4
    assert all(dump["held"]["params"]["critic"].isfinite().all() for dump in found)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seeds": 2, "actor_delay": 2},
        {"obs_norm": True, "n_step": 3, "reward_norm": True},
        {"env_kwargs": {"discrete": True}},
    ],
    ids=["one", "members", "n-step", "discrete"],
)
def test_a_passing_fault_is_survived_with_the_whole_budget(tmp_path, changes):
    member = changes.get("seeds", 1) - 1
    result = run_with(tmp_path, Poison(at=100, member=member), **ROLLBACK, **changes)
    (dump,) = dumps(result.run_dir)
    assert dump["member"] == member
    assert [m["grad_steps"] for m in result.members] == [200 - 16] * (member + 1)
    state = checkpoint.load(result.run_dir)[0]
    assert all(t.isfinite().all() for t in pytree.tree_leaves(state["state"]))
    assert all(t.isfinite().all() for t in pytree.tree_leaves(state["actor"]))
    assert state["replay"]["rows.action"].isfinite().all()  # no action of NaN was ever taken
    assert state["counter_offset"].tolist()[member] > 0
    if member:
        clean = run(tmp_path, "clean", **{**ROLLBACK, **changes})
        for name, value in checkpoint.load(clean.run_dir)[0]["state"]["params"].items():
            assert torch.equal(value[0], state["state"]["params"][name][0])  # the other one noticed nothing
        assert state["counter_offset"].tolist()[0] == 0
    assert all(float(row["grad_steps_per_s"]) >= 0 for row in rows(result.run_dir / "metrics.csv"))


def test_recorded_launches_go_back_as_eager_ones_do(tmp_path, recorder, monkeypatch):
    monkeypatch.setattr(plan, "choose_mode", lambda *_: ("captured", "recorded"))
    result = run_with(tmp_path, Poison(at=100), **ROLLBACK, updates_per_launch=4, actor_delay=2)
    assert result.grad_steps == 200 - 16
    assert recorder.replayed > 30


def test_a_fault_after_the_last_step_is_made_up_for(tmp_path, monkeypatch):
    """No vector step follows that would launch the updates that are lost."""
    poison = Poison(at=200)
    done: list[Callable[[int], None]] = []

    def hook(training):
        poison(training)
        if poison.kept is not None and not done:
            done.append(training.guard._roll_back)
            monkeypatch.setattr(training.guard, "_roll_back", partial(heal_and_roll_back, training))

    def heal_and_roll_back(training, member):
        poison(training)
        done[0](member)

    result = run_with(tmp_path, hook, **ROLLBACK)
    assert done
    assert len(dumps(result.run_dir)) == 1
    assert result.grad_steps == 200 - 16


def test_the_updates_that_a_resumed_run_begins_with_can_be_taken_back(tmp_path, monkeypatch):
    folder = interrupt(BASE.replace(run_dir=str(tmp_path / "run"), **ROLLBACK), 100)
    with Run(make_plan(resumed(folder))) as training:
        assert max(training.collector.due()) > 0
        reward, launch = training.replay.rows.reward, training.learner.launch
        kept = reward.clone()
        reward.fill_(math.nan)

        def launch_and_heal(due):
            launch(due)
            reward.copy_(kept)
            monkeypatch.setattr(training.learner, "launch", launch)

        monkeypatch.setattr(training.learner, "launch", launch_and_heal)
        result = training.train()
    assert len(dumps(folder)) == 1
    state = checkpoint.load(folder)[0]
    assert all(t.isfinite().all() for t in pytree.tree_leaves(state["state"]))
    assert result.grad_steps == 200 - 16


def test_a_parameter_alone_is_found_named_and_taken_back(tmp_path, capsys):
    done: list[torch.Tensor] = []

    def spoil(training):
        if training.collector.env_steps[0] >= 100 and not done:
            done.append(training.learner.buffers["state"]["exp_avg_sq"]["actor"].fill_(math.inf))

    result = run_with(tmp_path, spoil, **ROLLBACK)
    assert "exp_avg_sq.actor of member 0 (seed 1) was not finite at gradient step" in capsys.readouterr().out
    assert dumps(result.run_dir)[0]["names"] == ["exp_avg_sq.actor"]
    assert result.grad_steps == 200 - 16


def test_without_a_fault_rollback_changes_no_number(tmp_path):
    states = [checkpoint.load(run(tmp_path, name, on_nan=name).run_dir)[0]["state"] for name in ("stop", "rollback")]
    for a, b in zip(*map(pytree.tree_leaves, states), strict=True):
        assert torch.equal(a, b)


def second_half():
    """What the second of two processes has, each with as much as other learners here."""
    config = LEARNER.replace(num_envs=8, batch_size=16, learning_starts=16, buffer_size=400)
    parts = make_parts(PartOfAgent.of(config, 1, 2), SPEC, CPU, "eager")
    fill(parts)
    return parts


@pytest.mark.parametrize(("n_step", "is_part"), [(1, False), (3, False), (1, True)])
def test_the_batch_of_a_bad_step_is_drawn_again(monkeypatch, n_step, is_part):
    drawn: list[Batch] = []
    parts = second_half() if is_part else make_filled(n_step=n_step, buffer_size=200)
    mine = parts.learner
    mine.launch([5])

    def keep(*args):
        drawn.append(draw_batch(*args))
        return drawn[-1]

    monkeypatch.setattr(gradient_step, "draw_batch", keep)
    parts.replay.rows.reward[0, 3] = math.inf
    while mine.fault_steps() == [gradient_step.NO_FAULT_STEP]:
        mine.launch([1])
    expected = drawn[-1]
    fill(parts, steps=10)  # the ring has 51 rows, 41 of which are in use now
    mine.launch([3])
    (fault,) = nan_guard.find(mine, parameters=True)
    batch, overwritten = nan_guard.redraw(mine, fault)
    for a, b in zip(batch[:5], expected[:5], strict=True):
        assert torch.equal(a, b)
    if n_step > 1:  # what is beyond a window's end has no weight
        assert batch.window is not None
        assert expected.window is not None
        assert torch.equal(batch.window.discount, expected.window.discount)
        live = expected.window.discount > 0
        assert torch.equal(batch.window.obs[live], expected.window.obs[live])
    assert not overwritten.any()
    fill(parts, steps=20)  # rows 0 to 10 are of another time now
    batch, overwritten = nan_guard.redraw(mine, fault)
    same = (batch.obs == expected.obs).all(-1)
    assert 0 < overwritten.sum() < 8
    assert torch.equal(same, ~overwritten)


def test_no_draw_comes_again_after_a_rollback():
    mine = make_filled().learner
    held = pytree.tree_map(torch.clone, mine.buffers["state"])
    counters: list[int] = []
    for _ in range(3):
        mine.launch([4])
        state = mine.buffers["state"]["grad_steps"] + mine.buffers["counter_offset"]
        counters += range(int(state) - 4, int(state))
        mine.rewind_(0, held)
    assert counters == list(range(12))
    assert mine.grad_steps == [0] == mine.buffers["state"]["grad_steps"].tolist()


def test_a_dump_that_finds_no_room_does_not_hide_what_was_wrong(tmp_path):
    expected = r"were not finite at gradient step \d+\. No dump could be written \(File too large\)\."
    with file_size_limit(5000), pytest.raises(NotFiniteError, match=expected):
        run(tmp_path, total_steps=200, checkpoint_every=0, tensorboard=False, critic_lr=1e30)
    assert not list(tmp_path.glob("run/nan-*/*.pt"))


def test_a_resumed_run_goes_back_to_the_same_state_and_counts_on(tmp_path, capsys):
    settings = {**ROLLBACK, "log_every": 60, "total_steps": 400}
    folder = interrupt(BASE.replace(run_dir=str(tmp_path / "run"), **settings), 100)
    state, meta = checkpoint.load(folder)
    held, rollbacks = state["held"], meta["rollbacks"]
    assert rollbacks == [0]
    assert int(held["grad_steps"][0]) < meta["grad_steps"][0]  # of the last log point
    capsys.readouterr()
    back = int(held["grad_steps"][0])
    for number, (at, total_steps) in enumerate([(110, 400), (450, 600)], 1):
        with Run(make_plan(resumed(folder, total_steps=total_steps))) as training:
            go_wrong(training, Poison(at))
            training.train()
        assert checkpoint.load_meta(folder)["rollbacks"] == [number]
        out = " ".join(capsys.readouterr().out.split())
        assert f"for time {number} of 3." in out
        assert number > 1 or f"Back to gradient step {back:,}, for time 1" in out


def test_a_member_alone_keeps_its_own_count_of_rollbacks(tmp_path):
    result = run_with(tmp_path, Poison(at=100, member=1), **ROLLBACK, seeds=2)
    for member, rollbacks in enumerate([0, 1]):
        out = tmp_path / f"alone{member}"
        extract(result.run_dir, member, out)
        state, meta = checkpoint.load(out)
        assert meta["rollbacks"] == [rollbacks]
        assert len(state["held"]["grad_steps"]) == 1
        assert train(resumed(out, total_steps=300)).env_steps >= 300
        assert checkpoint.load_meta(out)["rollbacks"] == [rollbacks]
