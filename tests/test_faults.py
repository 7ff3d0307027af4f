"""NaN and infinity in losses and parameters: what is told, what is written, the way back; environments that fail."""

import math
from contextlib import closing

import numpy as np
import pytest
import torch
from conftest import file_size_limit
from test_learner import fill
from test_learner import make as make_learner
from test_resume import interrupt, resumed
from test_training import BASE, rows, run
from torch.utils import _pytree as pytree

from fastsac import checkpoint, faults, learner, plan
from fastsac.cli import main
from fastsac.collect import BadStepError, NotFiniteError
from fastsac.config import Config
from fastsac.env import make_env
from fastsac.extract import extract
from fastsac.plan import make_plan
from fastsac.training import Run, train

ROLLBACK = {"on_nan": "rollback", "total_steps": 200, "checkpoint_every": 0}


def dumps(folder):
    return [torch.load(path, weights_only=True) for path in sorted(folder.glob("nan-*/member*.pt"))]


def run_with(tmp_path, hook, **changes):
    """A run in which `hook(training)` is called after every vector step."""
    with Run(make_plan(BASE.replace(run_dir=str(tmp_path / "run"), **changes))) as training:
        go_wrong(training, hook)
        return training.train()


def go_wrong(training, hook):
    """Call `hook(training)` after every vector step."""
    recv = training.collector.recv

    def recv_then_hook():
        recv()
        hook(training)

    training.collector.recv = recv_then_hook


class Poison:
    """All rewards of one member are NaN for one vector step."""

    def __init__(self, at, member=0):
        self.at, self.member, self.kept = at, member, None

    def __call__(self, training):
        reward = training.learner.replay.rows["reward"][self.member]
        if self.kept is not None:
            reward[self.kept.isfinite()] = self.kept[self.kept.isfinite()]
            self.kept, self.at = None, math.inf
        elif training.collector.env_steps[self.member] >= self.at:
            self.kept = reward.clone()
            reward.fill_(math.nan)
            self.kept[training.learner.replay.host_head] = math.nan  # is written in between


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
    [{}, {"seeds": 2, "actor_delay": 2}, {"obs_norm": True, "n_step": 3}, {"env_kwargs": {"discrete": True}}],
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
    assert all(t.isfinite().all() for t in pytree.tree_leaves(state["behaviour"]))
    assert state["replay"]["rows.action"].isfinite().all()  # no action of NaN was ever taken
    assert state["skipped"].tolist()[member] > 0
    if member:
        clean = run(tmp_path, "clean", **{**ROLLBACK, **changes})
        for name, value in checkpoint.load(clean.run_dir)[0]["state"]["params"].items():
            assert torch.equal(value[0], state["state"]["params"][name][0])  # the other one noticed nothing
        assert state["skipped"].tolist()[0] == 0
    assert all(float(row["grad_steps_per_s"]) >= 0 for row in rows(result.run_dir / "metrics.csv"))


def test_recorded_launches_go_back_as_eager_ones_do(tmp_path, recorder, monkeypatch):
    monkeypatch.setattr(plan, "choose_mode", lambda *_: ("captured", "recorded"))
    result = run_with(tmp_path, Poison(at=100), **ROLLBACK, updates_per_launch=4, actor_delay=2)
    assert result.grad_steps == 200 - 16
    assert recorder.replayed > 30


def test_a_fault_after_the_last_step_is_made_up_for(tmp_path):
    """No vector step follows that would launch the updates that are lost."""
    poison, done = Poison(at=200), []

    def hook(training):
        poison(training)
        if poison.kept is not None and not done:
            done.append(training.guard._roll_back)
            training.guard._roll_back = lambda member: (poison(training), done[0](member))

    result = run_with(tmp_path, hook, **ROLLBACK)
    assert done
    assert len(dumps(result.run_dir)) == 1
    assert result.grad_steps == 200 - 16


def test_the_updates_that_a_resumed_run_begins_with_can_be_taken_back(tmp_path):
    folder = interrupt(BASE.replace(run_dir=str(tmp_path / "run"), **ROLLBACK), 100)
    with Run(make_plan(resumed(folder))) as training:
        assert max(training.collector.due()) > 0
        reward, launch = training.learner.replay.rows["reward"], training.learner.launch
        kept = reward.clone()
        reward.fill_(math.nan)

        def launch_and_heal(due):
            launch(due)
            reward.copy_(kept)
            training.learner.launch = launch

        training.learner.launch = launch_and_heal
        result = training.train()
    assert len(dumps(folder)) == 1
    state = checkpoint.load(folder)[0]
    assert all(t.isfinite().all() for t in pytree.tree_leaves(state["state"]))
    assert result.grad_steps == 200 - 16


def test_a_parameter_alone_is_found_named_and_taken_back(tmp_path, capsys):
    done = []

    def spoil(training):
        if training.collector.env_steps[0] >= 100 and not done:
            done.append(training.learner.buffers["state"]["second"]["actor"].fill_(math.inf))

    result = run_with(tmp_path, spoil, **ROLLBACK)
    assert "second.actor of member 0 (seed 1) was not finite at gradient step" in capsys.readouterr().out
    assert dumps(result.run_dir)[0]["names"] == ["second.actor"]
    assert result.grad_steps == 200 - 16


def test_without_a_fault_rollback_changes_no_number(tmp_path):
    states = [checkpoint.load(run(tmp_path, name, on_nan=name).run_dir)[0]["state"] for name in ("stop", "rollback")]
    for a, b in zip(*map(pytree.tree_leaves, states), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("n_step", [1, 3])
def test_the_batch_of_a_bad_step_is_drawn_again(monkeypatch, n_step):
    drawn, original = [], learner.draw_batch
    mine = make_learner(n_step=n_step, buffer_size=200)
    mine.launch([5])

    def keep(*args):
        drawn.append(original(*args))
        return drawn[-1]

    monkeypatch.setattr(learner, "draw_batch", keep)
    mine.replay.rows["reward"][0, 3] = math.inf
    while mine.bad_steps() == [learner.NEVER]:
        mine.launch([1])
    expected = drawn[-1]
    fill(mine, steps=10)  # the ring has 51 rows, 41 of which are in use now
    mine.launch([3])
    (fault,) = faults.find(mine, parameters=True)
    batch, overwritten = faults.redraw(mine, fault)
    for a, b in zip(batch[:5], expected[:5], strict=True):
        assert torch.equal(a, b)
    if n_step > 1:  # what is beyond a window's end has no weight
        assert torch.equal(batch.between.discount, expected.between.discount)
        live = expected.between.discount > 0
        assert torch.equal(batch.between.obs[live], expected.between.obs[live])
    assert not overwritten.any()
    fill(mine, steps=20)  # rows 0 to 10 are of another time now
    batch, overwritten = faults.redraw(mine, fault)
    same = (batch.obs == expected.obs).all(-1)
    assert 0 < overwritten.sum() < 8
    assert torch.equal(same, ~overwritten)


def test_no_draw_comes_again_after_a_rollback():
    mine = make_learner()
    held = pytree.tree_map(torch.clone, mine.buffers["state"])
    counters = []
    for _ in range(3):
        mine.launch([4])
        state = mine.buffers["state"]["grad_steps"] + mine.buffers["skipped"]
        counters += range(int(state) - 4, int(state))
        mine.rewind_(0, held)
    assert counters == list(range(12))
    assert mine.grad_steps == [0] == mine.buffers["state"]["grad_steps"].tolist()


# Environments that fail


@pytest.mark.parametrize("key", ["nan_obs", "nan_reward", "fail"])
def test_the_state_before_an_environment_failed_is_written(tmp_path, capsys, key):
    """It is what a run has that ends there by itself."""
    long = {"env": "tests.scripted_env:100c", "total_steps": 40}
    expected = checkpoint.load(run(tmp_path, "expected", **long).run_dir)[0]
    with pytest.raises((BadStepError, NotFiniteError)) as error:
        run(tmp_path, **{**long, "total_steps": 100, "env_kwargs": {key: [2, 11]}, "log_every": 1000})
    assert str(error.value).startswith("environment 2 of member 0 (seed 1) ")
    assert "at env step 40" in str(error.value)
    assert "wrote a checkpoint of the state before, at 40 steps" in capsys.readouterr().out
    found = checkpoint.load(tmp_path / "run")[0]
    for (path, a), (_, b) in zip(*map(pytree.tree_leaves_with_path, (found, expected)), strict=True):
        if path[0].key not in ("sums", "read_at", "best"):  # a run that ends has logged and evaluated
            assert torch.equal(a, b), path
    config = Config.load(tmp_path / "run").replace(resume=str(tmp_path / "run"), run_dir=None, env_kwargs={})
    assert train(config).grad_steps == 100 - 16


def test_a_dead_environment_is_one_line_and_status_1(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [
        "train", "--env", "tests.scripted_env:5c", "--preset", "none", "--num-envs", "2", "--total-steps", "40",
        "--learning-starts", "16", "--batch-size", "8", "--buffer-size", "100", "--hidden-dims", "8", "--device", "cpu",
        "--no-tensorboard", "--eval-every", "0", "--env-kwargs", '{"fail": [1, 9]}',
    ]  # fmt: skip
    assert main(command) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "environment 1 of member 0 (seed 1) failed in recv at env step" in line
    assert "RuntimeError: the simulator exploded (" in line
    assert "scripted_env.py, line " in line


def test_an_environment_that_dies_in_an_evaluation(tmp_path):
    with pytest.raises(BadStepError, match=r"environment 1 of member 0 .* failed in an evaluation at env step 20:"):
        run(tmp_path, env="tests.scripted_env:100c", eval_every=20, env_kwargs={"fail": [1, 9]})
    assert checkpoint.load_meta(tmp_path / "run")["env_steps"] == [20]


def test_gymnasium_tells_which_environment_it_was():
    env = make_env("gymnasium:tests.failing_env:Falls-v0", [2, 4, 7, 9], env_kwargs={"after": 3})
    env.reset()
    action = np.zeros((4, 1), np.float32)
    for _ in range(3):
        env.send(action)
        env.recv()
    env.send(action)
    with pytest.raises(ArithmeticError, match="joint 3 came off") as error:
        env.recv()
    assert error.value.env_index == 2
    env.close()


@pytest.mark.parametrize("seeds", [[5, 2, 4], [2, 5, 4], [2, 4, 5]])
def test_gymnasium_tells_which_environment_gave_another_shape(seeds):
    env = make_env("gymnasium:tests.failing_env:Grows-v0", seeds, env_kwargs={"after": 1})
    env.reset()
    env.send(np.zeros((3, 1), np.float32))
    with pytest.raises(ValueError, match="same shape") as error:
        env.recv()
    assert error.value.env_index == seeds.index(5)
    env.close()


def two_steps(task, **env_kwargs):
    """The second step of three copies in Gymnasium, of which the middle one does something else."""
    env = make_env(f"gymnasium:tests.failing_env:{task}-v0", [2, 5, 4], env_kwargs=env_kwargs)
    with closing(env):
        env.reset()
        for _ in range(2):
            env.send(np.zeros((3, 1), np.float32))
            step = env.recv()
    return step


@pytest.mark.parametrize(
    ("key", "gift", "message"),
    [
        *[
            (key, gift, f"step of Gives must return {key} as True or False, got ")
            for key in ("terminated", "truncated")
            for gift in ("nan", "text", "no", "none", "two", "complex", "pair")
        ],
        *[
            ("reward", gift, "step of Gives must return reward as one number, got ")
            for gift in ("text", "none", "complex", "pair")
        ],
        ("obs", "complexes", "Cannot cast"),
        ("obs", "objects", "Cannot cast"),
        ("obs", "text", "same shape"),
    ],
)
def test_gymnasium_takes_truths_and_numbers_only_and_tells_who_gave_others(key, gift, message):
    with pytest.raises((TypeError, ValueError), match=message) as error:
        two_steps("Gives", key=key, gift=gift)
    assert error.value.env_index == 1


def test_gymnasium_takes_whatever_holds_a_truth_or_a_number():
    for gift in ("bool", "numpy bool", "one", "1.0", "int8", "array", "tensor", "float16"):
        for key in ("reward", "terminated", "truncated"):
            step = two_steps("Gives", key=key, gift=gift)
            expected = {"reward": [0.5] * 3, "terminated": [False] * 3, "truncated": [False] * 3}
            expected[key][1] = 1.0 if key == "reward" else True
            for name, values in expected.items():
                assert getattr(step, name).tolist() == values
            assert (step.reward.dtype, step.terminated.dtype, step.truncated.dtype) == (np.float32, bool, bool)
    assert np.isnan(two_steps("Gives", key="reward", gift="nan").reward).tolist() == [False, True, False]


@pytest.mark.parametrize("where", ["reset", "step"])
def test_gymnasium_tells_which_environment_wanted_to_end_the_program(where):
    with pytest.raises(SystemExit, match="no licence") as error:
        two_steps("Quits", where=where)
    assert error.value.env_index == (1 if where == "reset" else 0)


def test_gymnasium_makes_a_wrong_call_of_a_constructor_that_ends_the_program():
    with pytest.raises(ValueError, match=r"gymnasium cannot make .*Quits-v0 with env_kwargs .*: no licence\."):
        two_steps("Quits", where="make")


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
