"""Runs of several processes leave what one would have, however they end, and whatever befalls one of them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import fastsac
from fastsac import checkpoint
from fastsac.cli.main import main
from fastsac.config.settings import Config
from fastsac.learning.replay import valid_rows
from fastsac.run.extract import extract
from fastsac.run.trainer import train
from tests.support import demonstrations, rank_runs
from tests.support.interrupted_runs import assert_same_run, resumed
from tests.support.launched import Ended, launch, values
from tests.support.rank_runs import Fate, called, command, commands, in_use, poisoned, trained
from tests.support.recipes import tiny
from tests.support.runs import BASE, TIME_COLUMNS, rows

OFTEN: dict[str, Any] = {
    "eval_every": 20, "checkpoint_every": 20, "utd_ratio": 0.5, "env_kwargs": {"saves_state": True},
}  # fmt: skip
MEMBERS = BASE.replace(seeds=3, **OFTEN)
DATA = BASE.replace(num_envs=6, batch_size=12, buffer_size=600, total_steps=120, obs_norm=True, **OFTEN)
KINDS = {"members": MEMBERS.replace(total_steps=120), "data": DATA}
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}
KILLS = int(os.environ.get("FASTSAC_RANK_KILLS", "1"))
ROOT = Path(__file__).parents[2]
QUICK_S = 5.0  # after which a process is lost, in tests of that


def at(folder: Path, config: Config, name: str = "run") -> Config:
    return config.replace(run_dir=str(folder / name))


def flags(config: Config, *more: str) -> list[str]:
    """The command that trains as a file of settings says."""
    path = Path(str(config.run_dir)).with_suffix(".json")
    path.write_text(config.replace(run_dir=None).to_json())
    return ["train", "--config", str(path), "--run-dir", str(config.run_dir), "--trust-env", "--quiet", *more]


def numbers(path: Path) -> dict[str, list[float]]:
    """Columns of a table, but for times."""
    table = rows(path, TIME_COLUMNS)
    return {name: [float(row[name] or "nan") for row in table] for name in table[0]}


def summary(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return read


def assert_close_tables(mine: Path, other: Path, but: tuple[str, ...] = ()) -> None:
    for name in ("metrics.csv", "eval.csv"):
        columns, others = numbers(mine / name), numbers(other / name)
        assert [*columns] == [*others]
        for column, expected in others.items():
            if column not in but:
                np.testing.assert_allclose(columns[column], expected, **CLOSE, err_msg=f"{name} {column}")


def complaints(ended: list[Ended]) -> list[str]:
    """All lines that stand on stderr."""
    lines = [line for each in ended for line in each.err.splitlines()]
    return [line for line in lines if ": importing tests." not in line]


# Members ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_size(tmp_path_factory):
    """The same three members on 1, 2 and 3 ranks."""
    folder, found = tmp_path_factory.mktemp("members"), {}
    config = MEMBERS.replace(tensorboard=True)
    found[1] = train(at(folder, config, "1"), quiet=True).run_dir
    for size in (2, 3):
        results = values(launch(folder / f"out{size}", size, trained, at(folder, config, str(size))))
        assert len({repr(result.members) for result, _ in results}) == 1, "all ranks know the result"
        found[size] = results[0][0].run_dir
    return found


@pytest.mark.parametrize("size", [2, 3])
def test_members_leave_what_one_process_does(by_size, size):
    mine, one = by_size[size], by_size[1]
    assert_close_tables(mine, one)
    assert {p.name for p in mine.iterdir()} == {p.name for p in one.iterdir()}
    assert numbers(mine / "eval.csv")["member"] == [0, 1, 2] * 3
    configs = [json.loads((folder / "config.json").read_text()) | {"run_dir": None} for folder in (mine, one)]
    assert configs[0] == configs[1]
    told, expected = summary(mine), summary(one)
    assert told.keys() == expected.keys()
    assert [(m["member"], m["env_steps"], m["grad_steps"]) for m in told["members"]] == [
        (m["member"], m["env_steps"], m["grad_steps"]) for m in expected["members"]
    ]
    assert told["processes"] == size
    assert told["eval_return_mean"] == pytest.approx(expected["eval_return_mean"], rel=1e-4)
    scalars = []
    for folder in (mine, one):
        events = EventAccumulator(str(folder / "tensorboard")).Reload()
        scalars.append({tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]})
    assert scalars[0] == scalars[1]


@pytest.mark.parametrize("size", [2, 3])
def test_members_have_the_numbers_of_their_own_runs(by_size, size, tmp_path):
    state, _ = checkpoint.load(by_size[size])
    for member in range(3):
        alone, _ = checkpoint.load(train(at(tmp_path, MEMBERS.of_member(member), f"{member}"), quiet=True).run_dir)
        count = (
            MEMBERS.num_random_steps // MEMBERS.num_envs
        )  # vector steps, in which nobody's action depends on learning
        for name in ("rows.obs", "rows.action", "rows.reward"):
            random, own = (each["replay"][name][m, :count] for each, m in ((state, member), (alone, 0)))
            assert torch.equal(random, own)
            torch.testing.assert_close(state["replay"][name][member], alone["replay"][name][0], **CLOSE)
        for name, value in alone["state"]["params"].items():
            torch.testing.assert_close(state["state"]["params"][name][member], value[0], **CLOSE)


@pytest.mark.parametrize("size", [2, 3])
def test_a_sweep_of_18_settings_has_all_rows(tmp_path, size):
    sweep = ("critic_lr=1e-3,3e-3,1e-2", "gamma=0.9,0.95,0.99", "tau=0.01,0.02")
    config = at(tmp_path, BASE.replace(sweep=sweep, total_steps=24, log_every=12, eval_every=12))
    values(launch(tmp_path / "out", size, trained, config))
    for name in ("metrics.csv", "eval.csv"):
        table = rows(tmp_path / "run" / name)
        assert [int(row["member"]) for row in table] == [*range(18)] * 2
        settings = [config.member_setting(m) for m in range(18)]
        assert [{k: float(row[k]) for k in settings[0]} for row in table] == settings * 2
        assert all(row["env_steps"] for row in table)


# One agent --------------------------------------------------------------------------------------------------------

VARIANTS: dict[str, dict[str, Any]] = {
    "returns and steps": {"n_step": 3, "reward_norm": True, "utd_ratio": 0.5},
    "flashsac": {**tiny("flashsac"), "utd_ratio": 0.25},
    "delays": {"obs_norm": False, "actor_delay": 2, "max_grad_norm": 1.0, "seed": 5},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_one_agent_has_the_budget_of_one_process_and_the_same_parameters_everywhere(tmp_path, name):
    config = DATA.replace(**VARIANTS[name])
    one = train(at(tmp_path, config, "one"), quiet=True)
    (two, first), (_, second) = values(launch(tmp_path / "out", 2, trained, at(tmp_path, config, "two")))
    assert first == second
    for table in ("metrics.csv", "eval.csv"):
        mine, expected = (numbers(result.run_dir / table) for result in (two, one))
        assert [*mine] == [*expected]
        for column in ("env_steps", "grad_steps", *(["episodes"] if table == "eval.csv" else [])):
            assert mine[column] == expected[column]
    assert numbers(two.run_dir / "eval.csv")["episodes"][-1] == config.eval_episodes
    assert summary(two.run_dir)["processes"] == 2
    replay, whole = (checkpoint.load(result.run_dir)[0]["replay"] for result in (two, one))
    assert [t.shape for t in replay.values()] == [t.shape for t in whole.values()]
    count = config.num_random_steps // config.num_envs
    for column in ("rows.obs", "rows.action", "rows.reward"):
        assert torch.equal(replay[column][:, :count], whole[column][:, :count])


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_one_agent_begins_with_transitions_as_one_process_does(tmp_path, share):
    shown = demonstrations.write(
        tmp_path / "shown.npz", demonstrations.transitions("...T....C..." * 2, obs_dim=5, action_dim=2)
    )
    config = DATA.replace(prefill=shown, prefill_share=share, total_steps=24)
    one = train(at(tmp_path, config, "one"), quiet=True)
    (two, first), (_, second) = values(launch(tmp_path / "out", 2, trained, at(tmp_path, config, "two")))
    assert first == second
    (mine, _), (expected, _) = (checkpoint.load(result.run_dir) for result in (two, one))
    torch.testing.assert_close(mine["normalizer"], expected["normalizer"])
    count = int(mine["replay"]["count"])
    assert count == int(expected["replay"]["count"])
    if share == 0:
        filled = slice(0, 24 // config.num_envs)
        assert torch.equal(mine["replay"]["rows.reward"][:, filled], expected["replay"]["rows.reward"][:, filled])


# How a run ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["all", "any"])
def test_a_goal_ends_all_where_it_ends_one_process(by_size, tmp_path, when):
    returns = numbers(by_size[1] / "eval.csv")["return_mean"]
    goal = (min(returns[:3]) if when == "all" else max(returns[:3])) - 0.01
    config = MEMBERS.replace(stop_at_return=goal, stop_when=when)
    one = train(at(tmp_path, config, "one"), quiet=True)
    results = values(launch(tmp_path / "out", 3, trained, at(tmp_path, config, "three")))
    assert (one.stopped_by, one.env_steps < config.total_steps) == ("goal", True)
    for result, _ in results:
        assert (result.stopped_by, result.env_steps) == ("goal", one.env_steps)
        assert [m["goal_at"] for m in result.members] == [m["goal_at"] for m in one.members]


@pytest.mark.parametrize("kind", KINDS)
def test_a_callback_stops_all_where_it_stops_one_process(tmp_path, kind):
    one = called(at(tmp_path, KINDS[kind], "one"), rank_runs.stop_at_40)
    results = values(launch(tmp_path / "out", 2, called, at(tmp_path, KINDS[kind], "two"), rank_runs.stop_at_40))
    assert one.stopped_by == "callback: enough"
    assert {(r.stopped_by, r.env_steps) for r in results} == {(one.stopped_by, one.env_steps)}
    assert one.env_steps < 60


def test_an_error_in_a_callback_ends_all(tmp_path):
    first, second = launch(tmp_path / "out", 2, called, at(tmp_path, MEMBERS), rank_runs.fail_at_40)
    assert first.error is not None
    assert first.error.splitlines()[-2] == "ZeroDivisionError: in a callback"
    assert second.error is not None
    assert re.search(r"PeerError: rank 0 \(.*\) has ended: ZeroDivisionError: in a callback", second.error)
    assert summary(tmp_path / "run")["stopped_by"] == "error"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """By kind: a run on 2 ranks that was not stopped, and the folder of one that a SIGTERM to rank 1 stopped."""
    found = {}
    for kind, config in KINDS.items():
        folder = tmp_path_factory.mktemp(kind)
        values(launch(folder / "out", 2, trained, at(folder, config, "whole")))
        ended = launch(folder / "out", 2, command, flags(at(folder, config, "stopped")), Fate(1, 50, signal.SIGTERM))
        assert values(ended) == [143, 143]
        assert complaints(ended) == []
        found[kind] = folder / "whole", folder / "stopped"
    return found


def copied(folder: Path, to: Path) -> Path:
    """A run directory to go on in."""
    shutil.copytree(folder, to)
    return to


@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_to_one_rank_stops_all_and_the_resumed_run_is_one_that_was_not_stopped(stopped, tmp_path, kind):
    whole, folder = stopped[kind]
    told = summary(folder)
    assert (told["interrupted"], told["stopped_by"]) == (True, "SIGTERM")
    assert 50 <= told["env_steps"] < 90
    again = copied(folder, tmp_path / "run")
    results = values(launch(tmp_path / "out", 2, trained, resumed(again)))
    assert results[0][1] == results[1][1] or kind == "members"
    assert_same_run(again, whole)


@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_within_an_evaluation_gives_it_up_in_all_ranks_and_the_resumed_run_makes_it(stopped, tmp_path, kind):
    config = at(tmp_path, KINDS[kind])
    ended = launch(tmp_path / "out", 2, rank_runs.interrupted_in_an_evaluation, flags(config), 1)
    assert values(ended) == [143, 143]
    told = summary(tmp_path / "run")
    assert (told["interrupted"], told["stopped_by"]) == (True, "SIGTERM")
    assert 20 <= told["env_steps"] < 40
    assert rows(tmp_path / "run" / "eval.csv", TIME_COLUMNS) == []
    values(launch(tmp_path / "again", 2, trained, resumed(tmp_path / "run")))
    assert_same_run(tmp_path / "run", stopped[kind][0])


@pytest.mark.parametrize(("kind", "size"), [("members", 1), ("members", 3), ("data", 1), ("data", 3)])
def test_another_number_of_ranks_goes_on_from_the_same_checkpoint(stopped, tmp_path, kind, size):
    _, folder = stopped[kind]
    again = copied(folder, tmp_path / "run")
    before, meta = checkpoint.load(again)
    config = resumed(again)
    if size == 1:
        result = train(config, quiet=True)
    else:
        result = values(launch(tmp_path / "out", size, trained, config))[0][0]
    assert (result.env_steps >= 120, result.interrupted) == (True, False)
    after, _ = checkpoint.load(again)
    kept = meta["replay"]["span"][1] - 1  # rows up to the one that was under way
    for name in ("rows.obs", "rows.action", "rows.reward"):
        assert torch.equal(before["replay"][name][:, :kept], after["replay"][name][:, :kept])
    metrics = numbers(again / "metrics.csv")
    assert metrics["member"] == [*range(KINDS[kind].num_members)] * (len(metrics["member"]) // KINDS[kind].num_members)
    assert int(after["replay"]["count"][0]) == int(valid(after).sum())


def valid(state: Any) -> Any:
    """Which rows of the first member are transitions."""
    return valid_rows(state["replay"])[0]


def test_all_commands_read_the_checkpoint_of_several_ranks(by_size, tmp_path, capsys):
    folder = by_size[2]
    actions = [fastsac.load(each, member=2).act(np.zeros(5, np.float32)) for each in (folder, by_size[1])]
    np.testing.assert_allclose(actions[0], actions[1], **CLOSE)
    assert main(["eval", str(folder), "--member", "1", "--episodes", "2", "--trust-env"]) == 0
    assert "return" in capsys.readouterr().out
    config = extract(folder, 2, tmp_path / "one")
    more = train(resumed(tmp_path / "one", total_steps=100), quiet=True)
    assert (more.env_steps >= 100, config.member_seeds) == (True, [MEMBERS.member_seeds[2]])


def test_the_time_is_over_for_all(tmp_path):
    config = at(tmp_path, MEMBERS.replace(total_steps=10**8, log_every=1000, eval_every=0, checkpoint_every=0))
    ended = launch(tmp_path / "out", 2, command, flags(config, "--max-wall-time", "3s"))
    assert values(ended) == [75, 75]
    assert summary(tmp_path / "run")["stopped_by"] == "max_wall_time"
    assert len(checkpoint.checkpoint_dirs(tmp_path / "run")) == 1


def test_what_is_told_to_stop_is_not_started_again(tmp_path):
    fate, restarts = Fate(1, 50, signal.SIGTERM), {"TORCHELASTIC_MAX_RESTARTS": "3"}
    ended = launch(tmp_path / "out", 2, command, flags(at(tmp_path, MEMBERS)), fate, variables=restarts)
    assert values(ended) == [0, 0]
    assert summary(tmp_path / "run")["stopped_by"] == "SIGTERM"


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
    assert re.match(r"fastsac train: rank 0: .*critic_loss.* of member 0 \(seed 1\) w.* not finite at gradient", line)
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
    assert second.error.splitlines()[-1] == "ZeroDivisionError: a fault of the program"
    assert "rank 1" in summary(tmp_path / "run")["error"]


@pytest.mark.parametrize("what", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("kind", KINDS)
def test_a_rank_that_is_killed_or_hangs_is_named_by_one_of_the_others(tmp_path, kind, what):
    ended = launch(tmp_path / "out", 3, command, flags(at(tmp_path, KINDS[kind])), Fate(1, 60, what), lost_s=QUICK_S)
    assert [each.status for each in ended][1] == -signal.SIGKILL
    assert [each.value or each.status for each in (ended[0], ended[2])] == [1, 1]
    (line,) = complaints(ended)
    how = "no sign of life for 5 s" if what is signal.SIGSTOP else "(its process has ended without a word|no sign .*)"
    words = rf"rank 1 \(.+:\d+\) is gone: {how}\. Checkpoints written so far are kept\."
    assert re.fullmatch(f"fastsac(?: train)?: {words}", line)


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


def test_a_restart_goes_on_and_of_a_complete_run_it_does_nothing(stopped, tmp_path):
    whole, folder = stopped["members"]
    again = copied(folder, tmp_path / "run")
    restarted = {"TORCHELASTIC_MAX_RESTARTS": "3", "TORCHELASTIC_RESTART_COUNT": "1"}
    for words in (again.name, "is complete: nothing to do"):
        args = [*flags(at(tmp_path, KINDS["members"]))]
        args = [arg for arg in args if arg != "--quiet" or words == again.name]
        ended = launch(tmp_path / "out", 2, command, args, variables=restarted)
        assert values(ended) == [0, 0]
        assert words in ended[0].out
        assert ended[1].out == ""
        assert_same_run(again, whole)


def test_a_run_directory_that_one_rank_does_not_see_is_told_with_its_name(stopped, tmp_path):
    _, folder = stopped["members"]
    copied(folder, tmp_path / "0" / "run")
    (tmp_path / "1").mkdir()
    args = flags(at(tmp_path, KINDS["members"]), "--resume", "auto")
    args[args.index("--run-dir") + 1] = "run"
    ended = launch(tmp_path / "out", 2, rank_runs.command_apart, tmp_path, args)
    assert values(ended) == [2, 2]
    (line,) = complaints(ended)
    assert line.startswith("fastsac train: rank 1: run has no checkpoint"), line


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
