"""Checkpoints of several processes as those of one, and back."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from fastsac.acting.episodes import Episodes
from fastsac.acting.info_means import Total
from fastsac.config.settings import Config
from fastsac.config.shares import PartOfAgent, Share, SomeMembers
from fastsac.learning.replay import Piece, Replay
from fastsac.run.merging import merged, merged_rows, merged_state, own, own_piece, own_state
from fastsac.run.run_state import LastRow, RunState

CPU = torch.device("cpu")
NO_ROW = LastRow(0, 0, 0.0, {})


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


def rows_of(replays: list[Replay], share: Config) -> list[Piece]:
    """As a checkpoint gives the rows of all back: in two pieces, of which the second has one of the first again."""
    first, last = replays[0].span()
    spans = [(first, first + 4), (first + 3, last)]
    return [(begin, merged_rows([replay.read(begin, end) for replay in replays], share)) for begin, end in spans]


def part_of(rows: list[Piece], share: Config) -> list[Piece]:
    return [own_piece(piece, share) for piece in rows]


def drawn(replay: Replay) -> list[Tensor]:
    """Of each member the entries of the table, oldest first: what a draw sees."""
    size = replay.table.shape[1] - 1
    return [
        table[(tail + torch.arange(int(count))) % size]
        for table, tail, count in zip(replay.table, replay.tail, replay.count, strict=True)
    ]


def assert_equal(one: Any, other: Any) -> None:
    if isinstance(one, Tensor):
        assert torch.equal(one, other)
        return
    assert one.keys() == other.keys()
    for name in one:
        assert_equal(one[name], other[name])


def shares(kind: type[SomeMembers] | type[PartOfAgent], size: int) -> list[Share]:
    num_envs, seeds = (4, 3) if kind is SomeMembers else (6, 1)
    config = Config(env="Pendulum-v1", num_envs=num_envs, batch_size=12, seeds=seeds)
    return [kind.of(config, rank, size) for rank in range(size)]


def test_members_of_processes_lie_side_by_side_and_come_back() -> None:
    parts = shares(SomeMembers, 2)  # two members, and one
    replays = [filled(part.num_members, 4, rank) for rank, part in enumerate(parts)]
    trees = [
        tree_of(replay, torch.rand(part.num_members, 4), torch.rand(part.num_members, 5))
        for replay, part in zip(replays, parts, strict=True)
    ]
    whole, rows = merged(trees, parts[0]), rows_of(replays, parts[0])
    assert_equal(whole["state"]["params"]["actor"], torch.cat([tree["state"]["params"]["actor"] for tree in trees]))
    assert whole["actor"]["vec_steps"].shape == ()

    for rank, (replay, tree, part) in enumerate(zip(replays, trees, parts, strict=True)):
        mine = own(whole, part, rank, 2)
        assert_equal(mine["env"], tree["env"])
        for name in ("state", "actor", "return_normalizer"):
            assert_equal(mine[name], tree[name])
        again = Replay(part.num_members, 4, 24, 2, 1, CPU)
        again.load(mine["replay"], part_of(rows, part))  # which checks that all fits together
        assert_equal(again.state_dict(), replay.state_dict())
        assert_equal({"drawn": torch.cat(drawn(again))}, {"drawn": torch.cat(drawn(replay))})


def test_environments_of_an_agent_lie_side_by_side_and_come_back() -> None:
    parts = shares(PartOfAgent, 2)
    replays, params = [filled(1, 3, seed) for seed in (3, 4)], torch.rand(1, 5)
    trees = [tree_of(replay, torch.rand(1, 3), params) for replay in replays]
    whole, rows = merged(trees, parts[0]), rows_of(replays, parts[0])
    assert whole["return_normalizer"]["returns"].shape == (1, 6)

    for rank, (replay, tree, part) in enumerate(zip(replays, trees, parts, strict=True)):
        mine = own(whole, part, rank, 2)
        assert_equal(mine["return_normalizer"], tree["return_normalizer"])
        assert_equal(mine["env"], tree["env"])
        again = Replay(1, 3, 18, 2, 1, CPU)
        again.load(mine["replay"], part_of(rows, part))
        assert_equal(again.read(*again.span()), replay.read(*replay.span()))
        assert torch.equal(drawn(again)[0], drawn(replay)[0])


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("kind", [SomeMembers, PartOfAgent])
def test_another_number_of_processes_has_the_same_rows_and_transitions(
    kind: type[SomeMembers] | type[PartOfAgent], size: int
) -> None:
    before = shares(kind, 2)
    replays = [filled(part.num_members, part.num_envs, rank) for rank, part in enumerate(before)]
    trees = [tree_of(each, torch.rand(each.is_dummy.shape), torch.rand(len(each.tail), 5)) for each in replays]
    whole, rows = merged(trees, before[0]), rows_of(replays, before[0])
    parts: Sequence[Config] = [before[0].whole] if size == 1 else shares(kind, size)
    found = []
    for rank, part in enumerate(parts):
        mine = own(whole, part, rank, size)
        assert "env" not in mine  # simulators were divided otherwise
        again = Replay(part.num_members, part.num_envs, 6 * part.num_envs, 2, 1, CPU)
        again.load(mine["replay"], part_of(rows, part))
        found.append(again)
    span = replays[0].span()
    as_one = merged_rows([each.read(*span) for each in replays], before[0])
    assert_equal(merged_rows([each.read(*span) for each in found], before[0]), as_one)
    assert sum(int(each.count.sum()) for each in found) == sum(int(each.count.sum()) for each in replays)


def test_environments_that_one_process_had_go_on_in_one_alone() -> None:
    config, tree = Config(env="Pendulum-v1"), {"env": {"running_return": torch.rand(1, 4)}}
    assert_equal(own(tree, config, 0, 1), tree)
    assert own(tree, shares(PartOfAgent, 2)[1], 1, 2) == {}
    assert own({"env": {"0": tree["env"], "1": tree["env"]}}, config, 0, 1) == {}


def state_of(num_members: int, first: int, last_row: LastRow = NO_ROW) -> RunState:
    counts = [first + m for m in range(num_members)]
    figures = [[float(count)] for count in counts]
    info = [{"height": Total(float(count), 2)} for count in counts]
    return RunState(
        env_id="Pendulum-v1", sizes={}, action_bounds=[[-2.0, 2.0]], obs_parts=[], action_shape=None, action_start=0,
        env_steps=counts, grad_steps=counts, vec_steps=7, learn_from=counts, rollbacks=counts, goal_at=[*counts],
        goals=None, prefill=None, evaluation_due=False, last_evals=[], tables={"eval.csv": 3},
        episodes=Episodes(figures, figures, figures, figures, info), last_row=last_row, wall_s=1.0,
    )  # fmt: skip


def test_counters_of_members_are_joined_and_divided() -> None:
    parts = shares(SomeMembers, 2)
    states = [state_of(2, 10), state_of(1, 12)]
    whole = merged_state(states, parts[0])
    assert (whole.env_steps, whole.episodes.returns) == ([10, 11, 12], [[10.0], [11.0], [12.0]])
    assert [own_state(whole, part) for part in parts] == states


def test_the_last_row_is_of_the_member_that_had_made_the_fewest_steps() -> None:
    rows = [LastRow(14, 3, 0.5, {"env": 0.1}), LastRow(12, 4, 0.6, {"env": 0.2})]
    whole = merged_state([state_of(2, 14, rows[0]), state_of(1, 12, rows[1])], shares(SomeMembers, 2)[0])
    assert whole.last_row == LastRow(12, 3, 0.5, {"env": 0.1})  # times are those of rank 0


def test_counters_and_episodes_of_an_agent_are_the_same_in_all_processes() -> None:
    parts, state = shares(PartOfAgent, 2), state_of(1, 10)
    assert merged_state([state, state_of(1, 10)], parts[0]) == state
    assert [own_state(state, part) for part in parts] == [state, state]
