"""Many agents in one process: sweeps read and drawn, members as in their own runs, goals, one written alone."""

import csv
import json
import math

import pytest
import torch
from torch.utils import _pytree as pytree

from fastsac import checkpoint, load
from fastsac.cli.main import main
from fastsac.config import sweeps
from fastsac.config.presets import PRESETS, RANGES
from fastsac.config.settings import Config
from fastsac.report.statistics import iqm_of_finite
from fastsac.run.extract import best_member, extract
from fastsac.run.plan import make_plan
from fastsac.run.trainer import train
from tests.support.learners import make
from tests.support.runs import BASE, rows

SWEEP = ("critic-lr=1e-3,1e-2", "gamma=0.9,0.5")
MEMBERS = BASE.replace(sweep=SWEEP, seeds=2, seed=5, eval_every=25)


def run(path, config):
    return train(config.replace(run_dir=str(path)))


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A run of 4 settings x 2 seeds."""
    return run(tmp_path_factory.mktemp("swept") / "run", MEMBERS)


# Reading ----------------------------------------------------------------------------------------------------------


def test_a_grid_changes_its_last_setting_fastest_and_has_all_seeds_of_each():
    assert MEMBERS.settings == [
        {"critic_lr": lr, "gamma": gamma} for lr in (1e-3, 1e-2) for gamma in (0.9, 0.5)
    ]  # fmt: skip
    assert MEMBERS.num_members == 8
    assert MEMBERS.member_seeds == [5, 6] * 4
    assert MEMBERS.member_name(3) == "member 3 (seed 6, critic_lr 0.001, gamma 0.5)"
    assert MEMBERS.of_member(3) == MEMBERS.replace(sweep=(), seeds=1, seed=6, critic_lr=1e-3, gamma=0.5)
    assert Config.from_json(MEMBERS.to_json()) == MEMBERS


def test_random_settings_lie_in_the_ranges_and_are_drawn_from_the_seed():
    names = sweeps.Names({}, shapes=(), learning=(), all=())
    settings, same, other = (sweeps.settings(["random:200"], RANGES, seed, names) for seed in (1, 1, 2))
    assert settings == same != other
    for name, (low, high, kind) in RANGES.items():
        drawn = sorted(1 - s[name] if name == "gamma" else s[name] for s in settings)
        assert low <= drawn[0] * 1.01
        assert drawn[-1] <= high * 1.01
        middle = math.sqrt(low * high) if kind == "log" else (low + high) / 2
        assert drawn[60] < middle < drawn[140]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_ranges_that_can_be_drawn(name):
    config = Config(env="x", preset=name, sweep=("random:20",))
    assert config.num_members == 20


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["batch_size=1,2"],
            "batch_size cannot be swept: it sets the sizes of tensors, which members share. Start a run ",
        ),
        (["hidden-dims=64"], "hidden_dims cannot be swept: it sets the sizes of tensors, which members share."),
        (["learn-alpha=0,1"], "learn_alpha cannot be swept: it changes what is computed, and members share one graph."),
        (
            ["log_every=10,20"],
            "log_every cannot be swept: it is of the whole run. Start a run for each value. Members ",
        ),
        (["speed=1,2"], "'speed' in sweep is no setting. Members may differ in utd_ratio, learning_starts, "),
        (["learning_starts=10,20.5"], "sweep values of learning_starts must be whole numbers, got '10,20.5'"),
        (["learning_starts=20,1"], r"batch_size must be at most learning_starts \(1\)"),
        (["gamma"], "sweep must be name=value,value,... or random:COUNT, got 'gamma'"),
        (["gamma="], "sweep must be name=value"),
        (["gamma=0.9,a"], "sweep values of gamma must be numbers, got '0.9,a'"),
        (["gamma=0.9,0.9"], "sweep names a value of gamma twice"),
        (["gamma=0.9", "gamma=0.8"], "sweep names gamma twice"),
        (["gamma=0.9,1.5"], r"gamma must be in \[0, 1\], got 1.5"),
        (["random:0"], "random:COUNT with a count of at least 1, got 'random:0'"),
        (["random:4", "gamma=0.9"], "not both"),
    ],
)
def test_wrong_sweeps_are_one_line(texts, message):
    with pytest.raises(ValueError, match=message) as error:
        BASE.replace(sweep=texts)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algo": "sac-v1", "sweep": ("alpha_lr=1e-3,1e-4",)}, "alpha_lr cannot be swept with algo sac-v1"),
        ({"sweep": ("lr_final=0,0.1",)}, "lr_final cannot be swept with lr_schedule constant. Give --lr-schedule"),
        ({"sweep": ("learning_starts=500,20000",)}, "learning_starts 20,000 must be below total_steps 20,000"),
        ({"env": "CartPole-v1", "algo": "sql", "sweep": ("init_alpha=1,2",)}, "cannot be swept with algo sql-discrete"),
        ({"seeds": 10_000_000}, "10000000 members need .* of them fit"),
    ],
)  # fmt: skip
def test_members_that_would_not_differ_or_fit_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        make_plan(Config(**{"env": "Pendulum-v1", "run_dir": str(tmp_path / "run"), **changes}))


def test_interquartile_mean_by_hand():
    assert iqm_of_finite([1, 100, 3, 2]) == 2.5
    assert iqm_of_finite([5.0]) == 5.0
    assert iqm_of_finite([1, 2, 3, 4, 5, 6, 7, 800]) == 4.5
    assert iqm_of_finite([1, math.nan, 2]) == 1.5
    assert math.isnan(iqm_of_finite([]))


# Running ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("member", [0, 3, 6])
def test_a_member_has_the_numbers_of_its_own_run(tmp_path, swept, member):
    """Its environments exactly, and its parameters after the same updates up to the rounding of batched products."""
    alone = run(tmp_path / "alone", MEMBERS.of_member(member))
    states = [checkpoint.load(result.run_dir)[0] for result in (swept, alone)]
    mine, own = (pytree.tree_leaves(s["state"]) for s in states)
    for a, b in zip(mine, own, strict=True):
        torch.testing.assert_close(a[member], b[0], rtol=1e-4, atol=1e-4)
    stream, own_stream = (s["replay"]["rows.obs"][i] for s, i in zip(states, (member, 0), strict=True))
    steps = min(len(stream), len(own_stream))  # a member goes on, without updates, until the slowest is done
    assert steps > 15
    torch.testing.assert_close(stream[:steps], own_stream[:steps], rtol=1e-4, atol=1e-4)


COUNTED = BASE.replace(
    sweep=(
        "max_grad_norm=0,0.05", "reward_clip=0,5", "utd_ratio=0.5,1.5", "learning_starts=16,24",
        "random_steps=8,30",
    ),
    seed=5, reward_norm=True, noise_repeat=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """A run of 32 members that learn at their own times."""
    return run(tmp_path_factory.mktemp("counted") / "run", COUNTED)


@pytest.mark.parametrize("member", [0, 13, 31])
def test_members_that_learn_at_other_times_have_the_numbers_of_their_own_runs(tmp_path, counted, member):
    own = COUNTED.members[member]
    states = [checkpoint.load(result.run_dir)[0] for result in (counted, run(tmp_path / "alone", own))]
    assert states[0]["state"]["grad_steps"][member] == own.total_grad_steps
    for a, b in zip(*(pytree.tree_leaves(s["state"]) for s in states), strict=True):
        torch.testing.assert_close(a[member], b[0], rtol=1e-4, atol=1e-4)
    rewards = states[0]["replay"]["rows.reward"]  # of step n, n
    assert rewards[member].max() == (5 if own.reward_clip else rewards.max())
    assert rewards.max() > 5


def test_one_that_learned_at_its_own_time_goes_on_alone(tmp_path, counted):
    extract(counted.run_dir, 31, tmp_path / "alone")
    assert main(["train", "--resume", str(tmp_path / "alone"), "--total-steps", "80"]) == 0
    assert int(rows(tmp_path / "alone" / "metrics.csv")[-1]["grad_steps"]) == (80 - 24) * 1.5


def test_files_name_members_by_seed_and_setting(swept):
    for name in ("metrics.csv", "eval.csv"):
        table = rows(swept.run_dir / name)
        assert [row["member"] for row in table[:8]] == [str(i) for i in range(8)]
        for row in table:
            member = int(row["member"])
            assert int(row["seed"]) == MEMBERS.member_seeds[member]
            assert {k: float(row[k]) for k in ("critic_lr", "gamma")} == MEMBERS.member_setting(member)
    members = json.loads((swept.run_dir / "summary.json").read_text())["members"]
    assert [m["seed"] for m in members] == MEMBERS.member_seeds
    assert [{k: m[k] for k in ("critic_lr", "gamma")} for m in members] == [MEMBERS.member_setting(i) for i in range(8)]
    assert swept.eval_return_mean == pytest.approx(sum(m["eval_return_mean"] for m in members) / 8)


def test_tensorboard_has_twelve_tags_whatever_the_number_of_members(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = run(tmp_path / "run", BASE.replace(seeds=3, tensorboard=True))
    events = EventAccumulator(str(next((result.run_dir / "tensorboard").glob("events.*")).parent)).Reload()
    last = {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]}
    assert len(last) == 12
    returns = [member["eval_return_mean"] for member in result.members]
    assert last["eval/return_mean"] == pytest.approx(sum(returns) / 3)
    assert (last["eval/return_min"], last["eval/return_max"]) == pytest.approx((min(returns), max(returns)))
    losses = [float(row["critic_loss"]) for row in rows(result.run_dir / "metrics.csv")[-3:]]
    assert last["train/critic_loss"] == pytest.approx(sum(losses) / 3)


@pytest.mark.parametrize(("when", "ends_early"), [("any", True), ("all", False)])
def test_goals_are_noted_and_stop_the_run_when_asked(tmp_path, capsys, when, ends_early):
    """The scripted returns of the seeds differ: one goal lies between them."""
    settings = BASE.replace(seeds=3, eval_every=20, total_steps=100, eval_episodes=1)
    first = run(tmp_path / "first", settings)
    by_member: dict[int, list[float]] = {m: [] for m in range(3)}
    for row in rows(first.run_dir / "eval.csv"):
        by_member[int(row["member"])].append(float(row["return_mean"]))
    best = [max(values) for values in by_member.values()]
    assert min(best) < max(best)
    goal = (min(best) + max(best)) / 2
    result = run(tmp_path / "goal", settings.replace(stop_at_return=goal, stop_when=when))
    out = capsys.readouterr().out
    at = [m["goal_at"] for m in json.loads((result.run_dir / "summary.json").read_text())["members"]]
    values = list(by_member.values())
    first_at = min(k for series in values for k, value in enumerate(series) if value >= goal)
    seen = [max(series[: first_at + 1]) for series in values] if when == "any" else best
    assert [a is not None for a in at] == [value >= goal for value in seen]
    assert (result.env_steps < 100) == ends_early
    for member, reached in enumerate(at):
        assert (f"member {member} (seed {member + 1}) reached {goal:g} with " in out) == (reached is not None)


# One alone --------------------------------------------------------------------------------------------------------


def test_the_best_member_alone_is_a_run_like_any_other(tmp_path, swept, capsys):
    last = {int(row["member"]): float(row["return_mean"]) for row in rows(swept.run_dir / "eval.csv")}
    best = max(last, key=lambda m: last[m])
    assert best_member(swept.run_dir) == best
    out = tmp_path / "alone"
    assert main(["extract", str(swept.run_dir), "--out", str(out)]) == 0
    assert Config.load(out) == MEMBERS.of_member(best).replace(run_dir=str(out), algo="sac")
    obs = torch.randn(6, 5)
    assert torch.equal(load(out).act(obs), load(swept.run_dir, member=best).act(obs))
    assert [row["return_mean"] for row in rows(out / "eval.csv")] == [
        row["return_mean"] for row in rows(swept.run_dir / "eval.csv") if row["member"] == str(best)
    ]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["eval_return_mean"] == pytest.approx(last[best])
    assert summary["extracted_from"]["member"] == best
    capsys.readouterr()
    for folder, member in ((out, "0"), (swept.run_dir, "best"), (swept.run_dir, str(best))):
        assert main(["eval", str(folder), "--member", member, "--json"]) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert results[0]["returns"] == results[1]["returns"] == results[2]["returns"]
    assert main(["train", "--resume", str(out), "--total-steps", "120"]) == 0
    assert int(rows(out / "metrics.csv")[-1]["env_steps"]) >= 120
    assert "damaged" not in capsys.readouterr().out
    assert main(["plot", str(out)]) == 0


def test_extraction_refuses_what_is_not_there(tmp_path, swept, capsys):
    with pytest.raises(ValueError, match=r"member must be in \[0, 7\], got 8"):
        extract(swept.run_dir, 8, tmp_path / "x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ValueError, match="full exists and is not empty"):
        extract(swept.run_dir, 0, tmp_path / "full")
    with pytest.raises(ValueError, match="is not a run directory"):
        best_member(tmp_path)
    assert main(["extract", str(swept.run_dir), "--member", "last"]) == 2
    assert "must be best or a whole number" in capsys.readouterr().err
    with (swept.run_dir / "eval.csv").open() as f:
        assert len(list(csv.DictReader(f))) == 8 * 3  # untouched


def test_parameters_stay_those_of_the_own_run_over_200_updates():
    """The same data; three members, each beside the run of its seed alone."""
    together = make(seeds=3, batch_size=32, learning_starts=32)
    together.launch([200] * 3)
    for member, seed in enumerate(together.config.member_seeds):
        alone = make(seed=seed, batch_size=32, learning_starts=32)
        alone.launch([200])
        for name, value in alone.buffers["state"]["params"].items():
            torch.testing.assert_close(together.buffers["state"]["params"][name][member], value[0], rtol=0, atol=1e-4)
