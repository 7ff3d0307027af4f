"""Runs of several processes leave what one would have, however they end, and go on on any number."""

import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import fastsac
from fastsac import checkpoint
from fastsac.cli.main import main
from fastsac.run.extract import extract
from fastsac.run.trainer import train
from tests.support import demonstrations, rank_runs
from tests.support.interrupted_runs import assert_same_run, resumed
from tests.support.launched import launch, values
from tests.support.rank_checks import (
    CLOSE,
    DATA,
    KINDS,
    MEMBERS,
    assert_close_tables,
    at,
    complaints,
    flags,
    numbers,
    summary,
)
from tests.support.rank_runs import Fate, called, command, trained
from tests.support.recipes import tiny
from tests.support.runs import BASE, TIME_COLUMNS, rows

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


def returns_and_goals(out: str) -> list[str]:
    """What is shown of them, without rates."""
    lines = re.findall(r"\d+ steps.*?return +\S+|.* reached 19 with .*", out)
    return [re.sub(r"\(.*(?=return)", "", line) for line in lines]


def test_rank_0_shows_the_returns_and_goals_of_all_members(tmp_path, capsys):
    config = MEMBERS.replace(stop_at_return=19.0)
    assert main(flags(at(tmp_path, config, "one"), quiet=False)) == 0
    expected = returns_and_goals(capsys.readouterr().out)
    ended = launch(tmp_path / "out", 3, command, flags(at(tmp_path, config, "three"), quiet=False))
    assert values(ended) == [0, 0, 0]
    assert returns_and_goals(ended[0].out) == expected
    assert sum("reached" in line for line in expected) >= 2, "of several ranks"
    assert [each.out for each in ended[1:]] == ["", ""]


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
        of_table = {"metrics.csv": ["episode_return", "episode_length"], "eval.csv": ["episodes"]}[table]
        for column in ("env_steps", "grad_steps", *of_table):  # rewards do not depend on actions
            np.testing.assert_array_equal(mine[column], expected[column])
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


def test_a_goal_of_training_episodes_goes_by_those_of_all_ranks_where_they_meet(tmp_path):
    config = DATA.replace(
        total_steps=2_000, learning_starts=1_900, buffer_size=2_000, eval_every=0, checkpoint_every=150, log_every=100,
        stop_at_episode_return=180.0,
    )  # fmt: skip
    one = train(at(tmp_path, config, "one"), quiet=True)
    assert one.stopped_by == "goal"
    results = values(launch(tmp_path / "out", 2, trained, at(tmp_path, config, "two")))
    for result, _ in results:
        assert (result.stopped_by, result.env_steps) == ("goal", results[0][0].env_steps)
        assert result.members[0]["goal_at"] == result.env_steps
    ended = results[0][0].env_steps
    assert ended // 100 == one.env_steps // 100 + 1, "at the next log point"
    without = config.replace(stop_at_episode_return=None, total_steps=ended, learning_starts=400)
    whole = train(at(tmp_path, without, "whole"), quiet=True)
    last, expected = (
        checkpoint.load_meta(result.run_dir)["episodes"]["last_returns"][0] for result in (results[0][0], whole)
    )
    assert (len(last), last) == (100, expected)


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
    replay = state["replay"]
    done = replay["rows.terminated"] | replay["rows.truncated"]
    found = torch.cat([replay["oldest_valid"].unsqueeze(1), ~done[:, :-1]], 1)  # what follows no done
    found[:, -1] = False  # the head
    return found[0]


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
