"""What goes wrong in one process of several ends all with one line; so does a wrong call; killed ones start again."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fastsac import checkpoint
from tests.support import rank_runs
from tests.support.launched import launch, values
from tests.support.rank_checks import (
    DATA,
    KINDS,
    MEMBERS,
    at,
    complaints,
    flags,
    summary,
)
from tests.support.rank_runs import Fate, command, commands, in_use, poisoned, trained
from tests.support.runs import BASE

KILLS = int(os.environ.get("FASTSAC_RANK_KILLS", "1"))
ROOT = Path(__file__).parents[2]
QUICK_S = 5.0  # after which a process is lost, in tests of that


# What goes wrong in one rank ----------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_is_told_by_the_rank_that_has_it(tmp_path):
    config = at(tmp_path, BASE.replace(sweep=("critic_lr=3e-4,1e-3,1e30",), total_steps=200))
    ended = launch(tmp_path / "out", 3, command, flags(config))
    assert [each.value for each in ended] == [1, 1, 1]
    (line,) = complaints(ended)
    assert re.match(r"fastsac train: rank 2: critic_loss.* of member 2 \(seed 1, critic_lr 1e\+30\) w", line)
    assert [path.name for path in (tmp_path / "run").glob("nan-*/*")] == ["member2.pt"]


def test_a_loss_of_one_agent_is_told_once(tmp_path):
    ended = launch(tmp_path / "out", 2, command, flags(at(tmp_path, DATA.replace(critic_lr=1e30))))
    assert [each.value for each in ended] == [1, 1]
    (line,) = complaints(ended)
    assert re.match(r"fastsac train: rank \d: .*critic_loss.* of member 0 \(seed 1\) w.* not finite at gradient", line)
    found = sorted((tmp_path / "run").glob("nan-*/*.pt"))
    assert "rank0-member0.pt" in [path.name for path in found]
    assert torch.load(found[0], weights_only=True)["batch"]["reward"].shape == (6,)


@pytest.mark.parametrize("kind", KINDS)
def test_all_go_on_after_a_rollback_on_one_rank(tmp_path, kind):
    config = at(tmp_path, KINDS[kind].replace(on_nan="rollback", total_steps=200, eval_every=0, checkpoint_every=0))
    ended = launch(tmp_path / "out", 2, poisoned, config, 1, 100)
    results = values(ended)
    assert results[0].env_steps >= 200
    (line,) = complaints(ended)
    assert "for time 1 of 3" in line
    assert ("of member 2 (" in line) == (kind == "members")
    state, meta = checkpoint.load(tmp_path / "run")
    assert meta["rollbacks"] == ([0, 0, 1] if kind == "members" else [1])
    assert all(value.isfinite().all() for value in state["state"]["params"].values())


# At 70 env steps rank 1 has an environment at the first step of its episode, and rank 0 has none.
SPLIT = DATA.replace(obs_norm=False, log_every=1000, eval_every=0, checkpoint_every=0)
FIRST_STEPS = Fate(None, 70, "first steps")
FOUND = r"params.actor of member 0 \(seed 1\) was not finite at gradient step \d+\."


def test_actions_that_are_nan_on_one_rank_take_all_back_together(tmp_path):
    config = at(tmp_path, SPLIT.replace(on_nan="rollback"))
    ended = launch(tmp_path / "out", 2, trained, config, FIRST_STEPS)
    (first, learned), (_, other) = values(ended)
    assert learned == other
    (line,) = complaints(ended)
    assert re.match(rf"{FOUND} .* for time 1 of 3", line)
    assert (first.env_steps >= 120, first.interrupted) == (True, False)
    state, meta = checkpoint.load(tmp_path / "run")
    assert meta["rollbacks"] == [1]
    assert state["state"]["params"]["actor"].isfinite().all()
    assert state["replay"]["rows.action"].isfinite().all()


def test_actions_that_are_nan_on_one_rank_end_all_with_one_line(tmp_path):
    ended = launch(tmp_path / "out", 2, command, flags(at(tmp_path, SPLIT)), FIRST_STEPS)
    assert [each.value for each in ended] == [1, 1]
    (line,) = complaints(ended)
    assert re.match(rf"fastsac train: rank 1: {FOUND}", line)


def test_actions_that_are_nan_in_an_evaluation_on_all_ranks_are_told_once(tmp_path):
    config = at(tmp_path, SPLIT.replace(eval_every=60, learning_starts=100, random_steps=16))  # 63 steps follow 57
    ended = launch(tmp_path / "out", 2, command, flags(config), Fate(None, 63, "first steps"))
    assert [each.value for each in ended] == [1, 1]
    (line,) = complaints(ended)
    assert re.match(rf"fastsac train: rank \d: {FOUND}", line)


def test_actions_that_no_rollback_helps_against_end_all_with_one_line(tmp_path):
    config = at(tmp_path, SPLIT.replace(on_nan="rollback"))
    ended = launch(tmp_path / "out", 2, command, flags(config), Fate(1, 70, "copies"))
    assert [each.value for each in ended] == [1, 1]
    (line,) = complaints(ended)
    gave = r"(1: the policy of member 0 \(seed 1\) gave|0: the policy of member 0 \(seed 1\) gave another process)"
    assert re.match(rf"fastsac train: rank {gave} an action that is not finite at env step \d+\.", line)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("_fail", r"environment \d of .* failed in [a-z ]+ at env step \d+: RuntimeError: the simulator exploded"),
        ("_nan_obs", r"environment \d of .* returned an observation that is not finite in [a-z ]+ at env step \d+\."),
    ],
)
def test_an_environment_that_fails_on_one_rank_ends_all_with_one_line(tmp_path, kind, what, words):
    ended = launch(tmp_path / "out", 2, command, flags(at(tmp_path, KINDS[kind])), Fate(1, 60, what))
    assert [each.value for each in ended] == [1, 1]
    (line,) = complaints(ended)
    assert re.match(f"fastsac train: rank 1: {words}", line)
    assert len(checkpoint.checkpoint_dirs(tmp_path / "run")) >= 1
    assert summary(tmp_path / "run")["stopped_by"] == "error"


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_of_the_program_on_one_rank_ends_all(tmp_path, kind):
    first, second = launch(tmp_path / "out", 2, command, flags(at(tmp_path, KINDS[kind])), Fate(1, 60, "error"))
    assert (first.value, first.err) == (1, first.err if "importing" in first.err else "")
    assert second.error is not None
    *_, error, note = second.error.splitlines()
    assert (error, note) == ("ZeroDivisionError: a fault of the program", "Checkpoints written so far are kept.")
    assert "rank 1" in summary(tmp_path / "run")["error"]


@pytest.mark.parametrize("what", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("kind", KINDS)
def test_a_rank_that_is_killed_or_hangs_is_named_by_one_of_the_others(tmp_path, kind, what):
    ended = launch(tmp_path / "out", 3, command, flags(at(tmp_path, KINDS[kind])), Fate(1, 60, what), lost_s=QUICK_S)
    assert [each.status for each in ended][1] == -signal.SIGKILL
    assert [each.value or each.status for each in (ended[0], ended[2])] == [1, 1]
    (line,) = complaints(ended)
    how = "no sign of life for 5 s" if what is signal.SIGSTOP else "(its process has ended without a word|no sign .*)"
    words = rf"rank 1 \(.+:\d+\) is gone: {how}\."
    kept = r"Checkpoints written so far are kept\.(?: See .*error\.txt\.)?"
    assert re.fullmatch(f"fastsac(?:: {words}| train: {words} {kept})", line)


def test_compiled_code_hides_no_lost_rank(tmp_path):
    ended = launch(
        tmp_path / "out", 2, rank_runs.called_by_compiled_code, at(tmp_path, DATA), Fate(1, 60, signal.SIGKILL),
        lost_s=QUICK_S,
    )  # fmt: skip
    assert (ended[0].error or "").splitlines()[-2].startswith("fastsac.runtime.peers.PeerError: rank 1 (")


# Wrong calls --------------------------------------------------------------------------------------------------------


def test_wrong_calls_are_one_line_of_rank_0_and_write_nothing(tmp_path):
    env = ["train", "--env", BASE.env, "--run-dir", str(tmp_path / "run"), "--preset", "none", "--compile", "off"]
    calls = {
        ("--parallel", "data", "--seeds", "2"): r"parallel data trains one agent, got 2 members\. Give --parallel",
        ("--parallel", "members"): r"3 processes cannot share 1 member\. Start at most 1, or give more seeds\.",
        ("--num-envs", "4"): r"num_envs 4 cannot be divided among 3 processes\. Give 3 or 6\.",
        ("--num-envs", "6", "--batch-size", "256"): r"batch_size 256 cannot be divided .* Give 255 or 258\.",
        ("--num-envs", "6", "--batch-size", "255", "--env-kwargs", '{"fail": [0, -1]}'): (
            r"the environments cannot be made: RuntimeError: the simulator exploded"
        ),
    }
    found = values(launch(tmp_path / "out", 3, commands, *([*env, *more] for more in calls)))
    for number, words in enumerate(calls.values()):
        told = [each[number] for each in found]
        assert [status for status, _ in told] == [2, 2, 2]
        assert re.fullmatch(f"fastsac train: {words}.*\n", told[0][1]), told[0][1]
        assert [text for _, text in told[1:]] == ["", ""]
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_is_told_by_rank_0(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    ended = launch(tmp_path / "out", 2, command, flags(at(tmp_path, MEMBERS)))
    assert values(ended) == [2, 2]
    (line,) = complaints(ended)
    assert line.startswith(f"fastsac train: run_dir {tmp_path / 'run'} exists and is not empty.")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_restarts_need_a_folder_that_is_found_again(tmp_path, monkeypatch):
    args = flags(at(tmp_path, MEMBERS))
    place = args.index("--run-dir")
    ended = launch(
        tmp_path / "out", 2, command, args[:place] + args[place + 2 :], variables={"TORCHELASTIC_MAX_RESTARTS": "3"}
    )
    assert values(ended) == [2, 2]
    assert complaints(ended) == [
        "fastsac train: --max-restarts needs a run directory that a restart finds again. Give --run-dir."
    ]


def test_settings_that_differ_between_ranks_are_refused(tmp_path):
    ended = launch(tmp_path / "out", 2, rank_runs.different, at(tmp_path, MEMBERS))
    messages = [(each.error or "").strip().splitlines()[-1] for each in ended]
    assert all("rank 1 has other settings than rank 0. Start all processes by the same command" in m for m in messages)
    assert not (tmp_path / "run").exists()


def test_a_program_that_uses_torch_distributed_itself_is_refused(tmp_path):
    ended = launch(tmp_path / "out", 2, in_use, flags(at(tmp_path, MEMBERS)))
    assert values(ended) == [2, 2]
    (line,) = complaints(ended)
    assert line.startswith("fastsac train: torch.distributed is in use by this program already")
    assert not (tmp_path / "run").exists()


def test_with_parallel_off_each_trains_a_run_of_its_own(tmp_path):
    args = [*flags(at(tmp_path, MEMBERS.replace(seeds=1)), "--parallel", "off")]
    place = args.index("--run-dir")
    ended = launch(tmp_path / "out", 2, rank_runs.command_in, tmp_path, args[:place] + args[place + 2 :])
    assert values(ended) == [0, 0]
    names = {each.out.strip() for each in ended}
    assert len(names) == 2
    for name in names:
        assert summary(tmp_path / name)["interrupted"] is False
    ended = launch(tmp_path / "out", 2, command, args)
    assert sorted(each.value for each in ended) == [0, 2]
    (line,) = complaints(ended)
    assert str(tmp_path / "run") in line


@pytest.mark.slow
def test_killed_ranks_are_started_again_and_nothing_is_lost(tmp_path):
    """FASTSAC_RANK_KILLS=20 for more of them."""
    script = [sys.executable, "-m", "tests.support.killed_ranks", str(tmp_path), str(KILLS), "1"]
    done = subprocess.run(script, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert sum(len(run["killed"]) for run in json.loads(done.stdout)) >= KILLS
