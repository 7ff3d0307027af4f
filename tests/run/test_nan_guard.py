"""NaN and infinity in losses and parameters: what is told, what is written, the way back; environments that fail."""

import json
import math
import os
import signal
import threading
import time
from contextlib import closing

import numpy as np
import pytest
import torch
from torch.utils import _pytree as pytree

from fastsac import checkpoint
from fastsac.acting.errors import BadStepError, EnvFailedError, NotFiniteError
from fastsac.checkpoint.thread import CheckpointError
from fastsac.checkpoint.writer import Writer
from fastsac.cli.main import main
from fastsac.config.settings import Config
from fastsac.env import make_env
from fastsac.learning import gradient_step
from fastsac.run import nan_guard, plan
from fastsac.run.extract import extract
from fastsac.run.plan import make_plan
from fastsac.run.result import Result
from fastsac.run.trainer import Run, train
from tests.support.interrupted_runs import interrupt, resumed
from tests.support.learners import fill, make_filled
from tests.support.runs import BASE, complaints, file_size_limit, go_wrong, rows, run, run_with

ROLLBACK = {"on_nan": "rollback", "total_steps": 200, "checkpoint_every": 0}


def dumps(folder):
    return [torch.load(path, weights_only=True) for path in sorted(folder.glob("nan-*/member*.pt"))]


class Poison:
    """All rewards of one member are NaN for one vector step."""

    def __init__(self, at, member=0):
        self.at, self.member, self.kept = at, member, None

    def __call__(self, training):
        reward = training.replay.rows.reward[self.member]
        if self.kept is not None:
            reward[self.kept.isfinite()] = self.kept[self.kept.isfinite()]
            self.kept, self.at = None, math.inf
        elif training.collector.env_steps[self.member] >= self.at:
            self.kept = reward.clone()
            reward.fill_(math.nan)
            self.kept[training.replay.host_head] = math.nan  # is written in between


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
        reward, launch = training.replay.rows.reward, training.learner.launch
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
            done.append(training.learner.buffers["state"]["exp_avg_sq"]["actor"].fill_(math.inf))

    result = run_with(tmp_path, spoil, **ROLLBACK)
    assert "exp_avg_sq.actor of member 0 (seed 1) was not finite at gradient step" in capsys.readouterr().out
    assert dumps(result.run_dir)[0]["names"] == ["exp_avg_sq.actor"]
    assert result.grad_steps == 200 - 16


def test_without_a_fault_rollback_changes_no_number(tmp_path):
    states = [checkpoint.load(run(tmp_path, name, on_nan=name).run_dir)[0]["state"] for name in ("stop", "rollback")]
    for a, b in zip(*map(pytree.tree_leaves, states), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("n_step", [1, 3])
def test_the_batch_of_a_bad_step_is_drawn_again(monkeypatch, n_step):
    drawn, original = [], gradient_step.draw_batch
    parts = make_filled(n_step=n_step, buffer_size=200)
    mine = parts.learner
    mine.launch([5])

    def keep(*args):
        drawn.append(original(*args))
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
    counters = []
    for _ in range(3):
        mine.launch([4])
        state = mine.buffers["state"]["grad_steps"] + mine.buffers["counter_offset"]
        counters += range(int(state) - 4, int(state))
        mine.rewind_(0, held)
    assert counters == list(range(12))
    assert mine.grad_steps == [0] == mine.buffers["state"]["grad_steps"].tolist()


# Environments that fail


@pytest.mark.parametrize("key", ["nan_obs", "nan_reward", "fail"])
def test_the_state_before_an_environment_failed_is_written(tmp_path, capsys, key):
    """It is what a run has that ends there by itself."""
    long = {"env": "tests.support.scripted_env:100c", "total_steps": 40}
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


@pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt"])
def test_an_environment_that_would_end_the_program_has_failed(tmp_path, capsys, error):
    kwargs = {"fail": [2, 11], "error": error}
    with pytest.raises(
        EnvFailedError, match=rf"step 11 of its episode at env step 40: {error}: the simulator exploded"
    ):
        run(tmp_path, env="tests.support.scripted_env:100c", total_steps=100, env_kwargs=kwargs)
    assert "wrote a checkpoint of the state before, at 40 steps" in capsys.readouterr().out
    assert checkpoint.load_meta(tmp_path / "run")["env_steps"] == [40]


def test_an_environment_that_fails_in_its_reset_or_as_it_is_made(tmp_path):
    kwargs = {"error": "SystemExit"}
    expected = r"environment 1 of member 0 \(seed 1\) failed in reset at env step 0: SystemExit: the simulator exploded"
    with pytest.raises(EnvFailedError, match=expected):
        run(tmp_path, "reset", env_kwargs={**kwargs, "fail": [1, 0]})
    with pytest.raises(ValueError, match="the environments cannot be made: SystemExit: the simulator exploded"):
        run(tmp_path, "make", env_kwargs={**kwargs, "fail": [1, -1]})
    assert not (tmp_path / "make").exists()


TINY = [
    "train", "--env", "tests.support.scripted_env:5c", "--preset", "none", "--num-envs", "2", "--total-steps", "40",
    "--learning-starts", "16", "--batch-size", "8", "--buffer-size", "100", "--hidden-dims", "8", "--device", "cpu",
    "--no-tensorboard", "--eval-every", "0", "--eval-episodes", "2", "--run-dir", "run",
]  # fmt: skip


@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit", "KeyboardInterrupt", "LinAlgError"])
def test_a_dead_environment_is_one_line_and_status_1(tmp_path, capsys, monkeypatch, error):
    monkeypatch.chdir(tmp_path)
    assert main([*TINY, "--env-kwargs", json.dumps({"fail": [1, 9], "error": error})]) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    # Vector step 9: five steps of the first episode, a dummy, and the third step of the next one.
    assert "environment 1 of member 0 (seed 1) failed in step 3 of its episode at env step 14: " in line
    assert f": {error}: " in line
    assert "scripted_env.py, line " in line
    assert line.endswith("Checkpoints written so far are kept. See run/error.txt.\n")
    text = (tmp_path / "run" / "error.txt").read_text()
    assert "The above exception was the direct cause of the following exception" in text
    assert 'scripted_env.py", line ' in text
    assert error != "LinAlgError" or "_linalg.py" in text


@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit", "KeyboardInterrupt"])
def test_an_environment_that_dies_in_an_evaluation(tmp_path, error):
    expected = r"environment 1 of member 0 .* failed in step 9 of its episode in an evaluation at env step 20: " + error
    with pytest.raises(BadStepError, match=expected):
        run(tmp_path, env="tests.support.scripted_env:100c", eval_every=20, env_kwargs={"fail": [1, 9], "error": error})
    assert checkpoint.load_meta(tmp_path / "run")["env_steps"] == [20]


def test_an_environment_that_cannot_be_made_for_an_evaluation(tmp_path):
    kwargs = {"fail": [1, -1], "error": "SystemExit"}
    expected = r"the environments failed in make in an evaluation at env step 21: SystemExit: the simulator exploded"
    with pytest.raises(EnvFailedError, match=expected):
        run(tmp_path, eval_every=20, eval_env_kwargs=kwargs)
    assert checkpoint.load_meta(tmp_path / "run")["env_steps"] == [21]


@pytest.mark.parametrize(("key", "word"), [("nan_obs", "an observation"), ("nan_reward", "a reward")])
def test_what_is_not_finite_in_an_evaluation_ends_the_run_as_in_training(tmp_path, key, word):
    settings = {"env": "tests.support.scripted_env:9c", "eval_every": 20, "seeds": 2}
    expected = rf"^environment 1 of member 1 \(seed 2\) returned {word} that is not finite in step 3 of its episode "
    with pytest.raises(NotFiniteError, match=expected + "in an evaluation at env step 20") as error:
        run(tmp_path, **settings, eval_env_kwargs={key: [4, 3]})
    assert "\n" not in str(error.value)
    assert checkpoint.load_meta(tmp_path / "run")["env_steps"] == [20, 20]
    assert rows(tmp_path / "run" / "eval.csv") == []
    config = resumed(tmp_path / "run", eval_env_kwargs={})
    expected = run(tmp_path, "expected", **settings)
    assert train(config).eval_return_mean == expected.eval_return_mean  # the evaluation that was due is made up for
    assert [row["env_steps"] for row in rows(tmp_path / "run" / "eval.csv")][:2] == ["20", "20"]


def test_a_policy_that_is_not_finite_is_blamed_before_the_environments_of_an_evaluation(tmp_path):
    def spoil(training):
        training.learner.policy.params.fill_(math.nan)

    with pytest.raises(NotFiniteError, match=r"^params.actor of member 0 \(seed 1\) was not finite at gradient step 0"):
        run_with(tmp_path, spoil, eval_every=4)
    assert len(dumps(tmp_path / "run")) == 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"nan_reward": [1, 3]}, "environment 1 returned a reward that is not finite in step 3 of its episode."),
        ({"nan_obs": [1, 0]}, "environment 1 returned an observation that is not finite in reset."),
        ({"fail": [1, 3]}, "environment 1 failed in step 3 of its episode: RuntimeError: the simulator exploded ("),
        ({"fail": [1, 3], "error": "SystemExit"}, "environment 1 failed in step 3 of its episode: SystemExit: the s"),
        ({"fail": [0, 0], "error": "KeyboardInterrupt"}, "environment 0 failed in reset: KeyboardInterrupt: the sim"),
    ],
)
def test_eval_tells_of_an_environment_in_one_line(tmp_path, capsys, wrong, told):
    folder = run(tmp_path, env="tests.support.scripted_env:9c").run_dir
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "eval_env_kwargs": wrong}))
    capsys.readouterr()
    assert main(["eval", str(folder), "--episodes", "2"]) == 1
    out, err = capsys.readouterr()
    err = complaints(err)
    assert err.startswith(f"fastsac eval: {told}")
    assert (err.count("\n"), out) == (1, "")


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_eval_and_is_no_failure_of_an_environment(tmp_path, capsys, signum, status):
    folder = run(tmp_path).run_dir
    config, touched = json.loads((folder / "config.json").read_text()), tmp_path / "touched"
    config["eval_env_kwargs"] = {"sleep": [2, 20, str(touched)]}
    (folder / "config.json").write_text(json.dumps(config))

    def send():
        while not touched.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signum)

    threading.Thread(target=send, daemon=True).start()
    assert main(["eval", str(folder)]) == status
    assert f"{signum.name}: stopped at once" in capsys.readouterr().err


# What a failed run leaves


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"env_kwargs": {"fail": [2, 11]}}, EnvFailedError, "environment 2 of member 0 (seed 1) failed in step 11"),
        ({"env_kwargs": {"nan_obs": [2, 11]}}, NotFiniteError, "environment 2 of member 0 (seed 1) returned an obs"),
        ({"critic_lr": 1e30}, NotFiniteError, "critic_loss"),
    ],
    ids=["exception", "nan", "loss"],
)
@pytest.mark.parametrize("resume", ["auto", "by name"])
def test_a_failed_run_says_so_and_can_be_resumed(tmp_path, changes, kind, told, resume):
    settings = {"env": "tests.support.scripted_env:100c", "total_steps": 100, "checkpoint_every": 20, "eval_every": 20}
    settings |= {"learning_starts": 30, "eval_env_kwargs": {"fail": [-1, -2], "nan_obs": None}}
    with pytest.raises(kind) as error:
        run(tmp_path, **settings, **changes)
    folder = tmp_path / "run"
    summary, meta = summary_of(folder), checkpoint.load_meta(folder)
    assert (summary["interrupted"], summary["stopped_by"]) == (True, "error")
    assert summary["error"] == str(error.value)
    assert summary["error"].startswith(told)
    assert summary["env_steps"] >= meta["env_steps"][0] >= 20
    assert summary["eval_return_mean"] == float(rows(folder / "eval.csv")[-1]["return_mean"])
    assert summary["versions"]
    assert str(error.value) in (folder / "error.txt").read_text()
    assert error.value.__notes__ == [f"See {folder / 'error.txt'}."]
    healed = {**settings, "env_kwargs": {}, "critic_lr": 3e-4}
    if resume == "auto":
        result = run(tmp_path, **healed, resume="auto")
    else:
        result = train(BASE.replace(**healed, resume=str(folder)))
    assert (result.interrupted, result.env_steps) == (False, 100)
    assert not (folder / "error.txt").exists()
    assert summary_of(folder)["stopped_by"] == "total_steps"
    assert "error" not in summary_of(folder)
    assert Result.read(folder) == result


def test_a_run_that_fails_at_its_very_end_is_not_complete(tmp_path):
    with pytest.raises(EnvFailedError, match="in an evaluation at env step 60"):
        run(tmp_path, env="tests.support.scripted_env:9c", eval_env_kwargs={"fail": [1, 3]})
    assert summary_of(tmp_path / "run")["env_steps"] == 60
    for resume, folder in (("auto", tmp_path / "run"), (str(tmp_path / "run"), None)):
        config = BASE.replace(env="tests.support.scripted_env:9c", resume=resume, run_dir=folder and str(folder))
        assert not make_plan(config).is_complete
    assert math.isfinite(train(config).eval_return_mean)


def test_a_run_that_fails_before_its_first_checkpoint_is_made_afresh(tmp_path):
    for at in (0, 2):
        with pytest.raises(EnvFailedError):
            run(tmp_path, resume="auto", env_kwargs={"fail": [1, at]})
        for path in checkpoint.checkpoint_dirs(tmp_path / "run"):
            path.rename(path.with_suffix(".tmp"))
    assert summary_of(tmp_path / "run")["stopped_by"] == "error"
    assert run(tmp_path, resume="auto").env_steps >= 60
    assert not (tmp_path / "run" / "error.txt").exists()


def test_an_error_that_nobody_thought_of_leaves_word_too(tmp_path):
    def stumble(training):
        if training.collector.env_steps[0] >= 40:
            raise ZeroDivisionError("by nought\nat all")

    with pytest.raises(ZeroDivisionError):
        run_with(tmp_path, stumble)
    summary = summary_of(tmp_path / "run")
    assert (summary["stopped_by"], summary["error"]) == ("error", "ZeroDivisionError: by nought")
    assert "in stumble" in (tmp_path / "run" / "error.txt").read_text()


def test_a_checkpoint_that_cannot_be_written_is_told_in_the_summary(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("the array\nis gone")

    monkeypatch.setattr(Writer, "write", refuse)
    with pytest.raises(CheckpointError) as error:
        run(tmp_path)
    assert summary_of(tmp_path / "run")["error"] == " ".join(str(error.value).split())
    assert "is gone" in (tmp_path / "run" / "error.txt").read_text()


@pytest.mark.parametrize("name", ["error.txt", "summary.json"])  # another error.txt is not written over, but beside it
def test_word_that_cannot_be_left_does_not_hide_the_error(tmp_path, name):
    (tmp_path / "run").mkdir()

    def block(training):
        for taken in ("error.txt", "error-fastsac.txt") if name == "error.txt" else (name,):
            (training.files.folder / taken / "in the way").mkdir(parents=True, exist_ok=True)

    with pytest.raises(EnvFailedError, match="the simulator exploded") as error:
        run_with(tmp_path, block, env_kwargs={"fail": [1, 11]})
    folder, told = tmp_path / "run", hasattr(error.value, "__notes__")
    assert (told, (folder / "error.txt").is_file()) == (name != "error.txt",) * 2
    assert (folder / "summary.json").is_file() == (name == "error.txt")


def test_gymnasium_tells_which_environment_it_was():
    env = make_env("gymnasium:tests.support.failing_env:Falls-v0", [2, 4, 7, 9], env_kwargs={"after": 3})
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
    env = make_env("gymnasium:tests.support.failing_env:Grows-v0", seeds, env_kwargs={"after": 1})
    env.reset()
    env.send(np.zeros((3, 1), np.float32))
    with pytest.raises(TypeError, match="step of Grows must return an observation of Box") as error:
        env.recv()
    assert error.value.env_index == seeds.index(5)
    env.close()


def two_steps(task, **env_kwargs):
    """The second step of three copies in Gymnasium, of which the middle one does something else."""
    env = make_env(f"gymnasium:tests.support.failing_env:{task}-v0", [2, 5, 4], env_kwargs=env_kwargs)
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
        *[
            ("obs", gift, "step of Gives must return an observation of Box")
            for gift in ("complexes", "objects", "text", "none")
        ],
    ],
)
def test_gymnasium_takes_truths_and_numbers_only_and_tells_who_gave_others(key, gift, message):
    with pytest.raises(TypeError, match=message) as error:
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
