"""`fastsac collect`: transitions of a policy in a file, exactly as they came, which a run can begin with."""

import re

import numpy as np
import pytest
import torch

import fastsac
from fastsac.cli.main import main
from fastsac.run.plan import make_plan
from fastsac.run.stored_replay import read_replay, transitions_of
from fastsac.run.trainer import Run, train
from tests.support.demonstrations import arrays, transitions
from tests.support.runs import BASE, file_size_limit, run


def test_what_collect_writes_is_what_happened(tmp_path, capsys):
    result = run(tmp_path, "teacher")
    file = tmp_path / "shown.npz"
    assert main(["collect", str(result.run_dir), str(file), "--steps", "50"]) == 0
    out = capsys.readouterr().out
    assert re.search(rf"{file}: 50 transitions, \d+ whole episodes, mean return \d+\.\d\n$", out)
    found = np.load(file)
    assert {*found} == {*arrays(transitions("."))}
    ends = found["terminations"] | found["truncations"]
    assert np.diff(np.flatnonzero(ends)).tolist()[:5] == [3, 5, 2, 9, 3], "the lengths of the episodes"
    follows = (found["next_observations"][:-1] == found["observations"][1:]).all(-1)
    assert (follows == ~ends[:-1]).all()
    policy = fastsac.load(result.run_dir)
    np.testing.assert_allclose(policy.act(found["observations"]), found["actions"], atol=1e-6)
    assert train(BASE.replace(run_dir=str(tmp_path / "pupil"), prefill=str(file), prefill_share=0.5)).env_steps >= 60


def test_sampled_and_many_transitions_come_from_several_environments(tmp_path, monkeypatch):
    monkeypatch.setattr("fastsac.api.STEPS_OF_ONE", 20)
    result = run(tmp_path, "teacher")
    for name in ("a.npz", "b.npz"):
        fastsac.collect(result.run_dir, tmp_path / name, 45, deterministic=False)
    first, second = (np.load(tmp_path / name) for name in ("a.npz", "b.npz"))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert len({*first["observations"][:, 0].tolist()}) == 2, "the seeds of two environments"
    assert len(first["rewards"]) == 45
    pupil = train(BASE.replace(run_dir=str(tmp_path / "pupil"), prefill=str(tmp_path / "a.npz")), quiet=True)
    assert pupil.env_steps >= 60


def test_a_disk_that_fills_costs_one_line_and_leaves_no_file(tmp_path, capsys):
    result = run(tmp_path, "teacher")
    capsys.readouterr()
    with file_size_limit(2_000):
        assert main(["collect", str(result.run_dir), str(tmp_path / "shown.npz"), "--steps", "200"]) == 2
    assert capsys.readouterr().err.endswith(f"fastsac collect: cannot write {tmp_path}/shown.npz: File too large.\n")
    assert [*tmp_path.iterdir()] == [result.run_dir]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shown.txt"], "file must end in .npz, got shown.txt."),
        (["here.npz"], "here.npz exists. Give another path."),
        (["nowhere/shown.npz"], "nowhere is not a folder. Make it, or give another path."),
        (["/proc/shown.npz"], "/proc/shown.npz cannot be written (No such file or directory). Give another path."),
        ([f"{'x' * 300}.npz"], "x.npz cannot be written (File name too long). Give another path."),
        (["shown.npz", "--steps", "0"], "steps must be at least 1, got 0."),
        (["shown.npz", "--seed", "-1"], "seed must be in [0, 2^31), got -1."),
        ([], "RUN_DIR and FILE must be given."),
    ],
)
def test_wrong_calls_of_collect_are_refused_in_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    run(tmp_path, "teacher")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.npz").touch()
    capsys.readouterr()
    assert main(["collect", "teacher", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.splitlines()[-1].startswith("fastsac collect: ")


# The replay ---------------------------------------------------------------------------------------------------------


def in_order(recording):
    """Transitions as rows of numbers in the order of their rewards, which differ, and which of them are truncated.

    Termination decides where both flags are set.
    """
    columns = (recording.reward, recording.obs, recording.action, recording.terminated, recording.next_obs)
    rows = np.concatenate([np.reshape(column, (len(recording.reward), -1)) for column in columns], 1)
    order = np.argsort(recording.reward)
    return rows[order], (recording.truncated & ~recording.terminated)[order]


def in_memory(training, member=0):
    """Those in the replay of a run."""
    return transitions_of(training.replay.state_dict(), member)


@pytest.mark.parametrize("changes", [{}, {"buffer_size": 40}, {"seeds": 2, "env_kwargs": {"bound": 3.0}}], ids=str)
def test_a_run_that_begins_with_the_replay_of_another_has_its_transitions(tmp_path, changes, capsys):
    with Run(make_plan(BASE.replace(run_dir=str(tmp_path / "first"), **changes))) as training:
        training.train()
        member = len(training.config.members) - 1
        there, count = in_memory(training, member), int(training.replay.count[member])
        drawn = training.replay.table[member], training.replay.tail[member], training.replay.rows
    assert len(there.reward) == count
    entries = (drawn[1] + torch.arange(count)) % (len(drawn[0]) - 1)
    rewards = drawn[2].reward[member].flatten()[drawn[0][entries].long()]
    assert np.sort(rewards.numpy()).tolist() == np.sort(there.reward).tolist(), "what a draw sees"
    file = tmp_path / "seen.npz"
    assert main(["collect", str(tmp_path / "first"), str(file), "--replay", "--member", str(member)]) == 0
    ends = int((there.terminated | there.truncated).sum())
    assert capsys.readouterr().out.endswith(f"{file}: {count} transitions of the replay, {ends} ends of episodes\n")
    assert 4 < ends < count
    bound = changes.get("env_kwargs", {}).get("bound", 1.0)
    np.testing.assert_allclose(np.load(file)["actions"], bound * there.action, atol=1e-6)
    second = BASE.replace(run_dir=str(tmp_path / "second"), prefill=str(file), env_kwargs=changes.get("env_kwargs", {}))
    with Run(make_plan(second)) as training:
        (rows, truncated), (expected, were_truncated) = in_order(in_memory(training)), in_order(there)
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    assert truncated[were_truncated].all()
    assert truncated.sum() <= were_truncated.sum() + BASE.num_envs, "and the last of each environment"


def test_next_observations_are_those_of_the_environment(tmp_path):
    """The scripted one shows its seed, episode and step, and rewards tell the vector step."""
    found = read_replay(run(tmp_path, buffer_size=40).run_dir, 0)
    seed, episode, step = found.obs[:, :3].T
    assert (found.next_obs[:, :3] == np.stack([seed, episode, step + 1], 1)).all(), "no reset lies between"
    assert (found.next_obs[:, 3:] == found.action).all()
    assert (np.diff(seed) != 0).sum() == BASE.num_envs - 1, "one environment after the other"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--replay", "--steps", "20"], "--steps has no effect with --replay. Leave one of them out."),
        (["--replay", "--checkpoint", "best"], "--checkpoint has no effect with --replay. Leave one of them out."),
        (["--replay", "--member", "1"], "member must be 0, the only one of this run, got 1."),
        (
            ["--replay"],
            "holds no replay: it is a policy alone, or a run with checkpoint_replay none. Leave out --replay",
        ),
    ],
)
def test_a_replay_that_is_not_there_costs_one_line(tmp_path, capsys, arguments, message):
    folder = run(tmp_path, "run", checkpoint_replay="none").run_dir
    capsys.readouterr()
    assert main(["collect", str(folder), str(tmp_path / "seen.npz"), *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "seen.npz").exists()


def test_a_policy_alone_has_no_replay(tmp_path, capsys):
    assert main(["collect", "demo:pendulum", str(tmp_path / "seen.npz"), "--replay"]) == 2
    assert "holds no replay" in capsys.readouterr().err
