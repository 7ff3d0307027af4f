"""Checkpoints of several processes as those of one, and back."""

from typing import Any

import torch
from torch import Tensor

from fastsac.acting.episodes import Episodes
from fastsac.config.settings import Config
from fastsac.config.shares import PartOfAgent, Share, SomeMembers
from fastsac.learning.replay import Replay
from fastsac.run.merging import merged, merged_rows, merged_state, own, own_state
from fastsac.run.run_state import LastRow, RunState

CPU = torch.device("cpu")


def filled(num_members: int, num_envs: int, seed: int) -> Replay:
    """A replay that has gone round, with episodes of many lengths."""
    generator = torch.Generator().manual_seed(seed)
    replay = Replay(num_members, num_envs, 6 * num_envs, 2, 1, CPU)
    shape = (num_members, num_envs)
    draw = lambda *more: torch.rand(*shape, *more, generator=generator)  # noqa: E731
    replay.reset_(draw(2))
    for _ in range(15):
        replay.add_(draw(1), draw(), draw() < 0.2, draw() < 0.1, draw(2))
    return replay


def tree_of(replay: Replay, returns: Tensor, params: Tensor) -> dict[str, Any]:
    return {
        "state": {"params": {"actor": params}},
        "actor": {"vec_steps": torch.tensor(15)},
        "return_normalizer": {"returns": returns},
        "replay": replay.cursor(),
        "env": {"running_return": returns.clone()},
    }


def joined(replays: list[Replay], trees: list[dict[str, Any]], share: Config) -> dict[str, Any]:
    """As a checkpoint gives it back."""
    whole = merged(trees, share)
    rows = merged_rows([replay.read(*replay.span()) for replay in replays], share)
    return {**whole, "replay": {**whole["replay"], **rows}}


def assert_equal(one: Any, other: Any) -> None:
    if isinstance(one, Tensor):
        assert torch.equal(one, other)
        return
    assert one.keys() == other.keys()
    for name in one:
        assert_equal(one[name], other[name])


def shares(kind: type[SomeMembers] | type[PartOfAgent], size: int) -> list[Share]:
    config = Config(env="Pendulum-v1", num_envs=4, seeds=3 if kind is SomeMembers else 1)
    return [kind.of(config, rank, size) for rank in range(size)]


def test_members_of_processes_lie_side_by_side_and_come_back() -> None:
    parts = shares(SomeMembers, 2)  # two members, and one
    replays = [filled(part.num_members, 4, rank) for rank, part in enumerate(parts)]
    trees = [
        tree_of(replay, torch.rand(part.num_members, 4), torch.rand(part.num_members, 5))
        for replay, part in zip(replays, parts, strict=True)
    ]
    whole = joined(replays, trees, parts[0])
    assert_equal(whole["state"]["params"]["actor"], torch.cat([tree["state"]["params"]["actor"] for tree in trees]))
    assert whole["actor"]["vec_steps"].shape == ()

    for rank, (replay, tree, part) in enumerate(zip(replays, trees, parts, strict=True)):
        mine = own(whole, part, rank, 2)
        assert_equal(mine["env"], tree["env"])
        for name in ("state", "actor", "return_normalizer"):
            assert_equal(mine[name], tree[name])
        assert_equal(mine["replay"], replay.state_dict())
    for rank, part in enumerate(shares(SomeMembers, 3)):
        mine = own(whole, part, rank, 3)
        assert "env" not in mine  # simulators were divided otherwise
        again = Replay(1, 4, 24, 2, 1, CPU)
        again.load_state_dict(mine["replay"])  # which checks that all fits together


def test_environments_of_an_agent_lie_side_by_side_and_come_back() -> None:
    parts = shares(PartOfAgent, 2)
    replays, params = [filled(1, 2, seed) for seed in (3, 4)], torch.rand(1, 5)
    trees = [tree_of(replay, torch.rand(1, 2), params) for replay in replays]
    whole = joined(replays, trees, parts[0])
    assert whole["return_normalizer"]["returns"].shape == (1, 4)
    alone = Replay(1, 4, 24, 2, 1, CPU)
    alone.load_state_dict(own(whole, parts[0].whole, 0, 1)["replay"])
    assert int(alone.count) == sum(int(replay.count) for replay in replays)

    for rank, (replay, tree, part) in enumerate(zip(replays, trees, parts, strict=True)):
        mine = own(whole, part, rank, 2)
        assert_equal(mine["return_normalizer"], tree["return_normalizer"])
        assert_equal(mine["env"], tree["env"])
        again = Replay(1, 2, 12, 2, 1, CPU)
        again.load_state_dict(mine["replay"])
        assert_equal(again.read(*again.span()), replay.read(*replay.span()))
        in_order = lambda r: r.table[0, (r.tail + torch.arange(int(r.count))) % 14]  # noqa: E731
        assert torch.equal(in_order(again), in_order(replay))  # what a draw sees


def test_environments_that_one_process_had_go_on_in_one_alone() -> None:
    config, tree = Config(env="Pendulum-v1"), {"env": {"running_return": torch.rand(1, 4)}}
    assert_equal(own(tree, config, 0, 1), tree)
    assert own(tree, shares(PartOfAgent, 2)[1], 1, 2) == {}
    assert own({"env": {"0": tree["env"], "1": tree["env"]}}, config, 0, 1) == {}


def state_of(num_members: int, first: int) -> RunState:
    counts = [first + m for m in range(num_members)]
    figures = [[float(count)] for count in counts]
    return RunState(
        env_id="Pendulum-v1", sizes={}, action_bounds=[[-2.0, 2.0]], obs_parts=[], action_shape=None, action_start=0,
        env_steps=counts, grad_steps=counts, vec_steps=7, learn_from=counts, rollbacks=counts, goal_at=[*counts],
        goals=None, prefill=None, evaluation_due=False, last_evals=[], tables={"eval.csv": 3},
        episodes=Episodes(figures, figures, figures, figures), last_row=LastRow(0, 0, 0.0, {}), wall_s=1.0,
    )  # fmt: skip


def test_counters_of_members_are_joined_and_divided() -> None:
    parts = shares(SomeMembers, 2)
    states = [state_of(2, 10), state_of(1, 12)]
    whole = merged_state(states, parts[0])
    assert (whole.env_steps, whole.episodes.returns) == ([10, 11, 12], [[10.0], [11.0], [12.0]])
    assert [own_state(whole, part) for part in parts] == states


def test_counters_and_episodes_of_an_agent_are_the_same_in_all_processes() -> None:
    parts, state = shares(PartOfAgent, 2), state_of(1, 10)
    assert merged_state([state, state_of(1, 10)], parts[0]) == state
    assert [own_state(state, part) for part in parts] == [state, state]
