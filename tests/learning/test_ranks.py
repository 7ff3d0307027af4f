"""Learners of two processes with parts of the batch, beside one with all of it, when their replays hold the same."""

import pytest
import torch
from torch.utils import _pytree as pytree

from fastsac.config.shares import PartOfAgent
from fastsac.learning.draw import draw_batch
from fastsac.learning.learner import make_parts
from fastsac.nn import philox
from tests.support.learners import BASE, CPU, SPEC, N, fill, make_filled
from tests.support.ranks import reduction_of
from tests.support.recipes import tiny

B, UPDATES = 16, 5
CASES = {
    "sac": {"n_step": 3, "obs_norm": True},
    "flashsac": {**tiny("flashsac"), "total_steps": 1000},
    "flash": {"network": "flash", "hidden_dims": (8,), "reward_norm": True},
}  # fmt: skip


def config_of(rank, size, changes):
    """Of one of `size` processes that have N environments each."""
    config = BASE.replace(num_envs=N * size, batch_size=B, learning_starts=B, buffer_size=200 * size, **changes)
    return config if size == 1 else PartOfAgent.of(config, rank, size)


def learn(rank, size, changes, mode="eager"):
    """State and metrics after some updates; replays hold the same in all processes."""
    parts = make_parts(config_of(rank, size, changes), SPEC, CPU, mode, reduction=reduction_of(size))
    fill(parts)
    parts.learner.warm_up()
    parts.learner.launch([UPDATES])
    return parts.learner.state_dict(), parts.learner.read_metrics()[0]


@pytest.mark.parametrize(
    ("case", "mode"),
    [("sac", "eager"), ("flashsac", "eager"), pytest.param("flash", "compiled", marks=pytest.mark.slow)],
)
def test_parts_of_a_batch_are_drawn_and_learned_from_as_the_whole(ranks, case, mode):
    (first, metrics), (second, _) = ranks.call(learn, 2, CASES[case], mode)
    pytree.tree_map(lambda a, b: torch.testing.assert_close(a, b, rtol=0, atol=0), first, second)
    whole, all_metrics = learn(0, 1, CASES[case])
    tolerance = 1e-5 if mode == "eager" else 1e-4
    for name, value in whole["state"]["params"].items():
        torch.testing.assert_close(first["state"]["params"][name], value, rtol=tolerance, atol=tolerance)
    assert metrics == pytest.approx(all_metrics, rel=1e-4, abs=1e-5)


def test_a_part_of_the_batch_has_its_rows_of_the_draw():
    parts, gamma, counter = make_filled(), torch.tensor(0.9), torch.tensor(4)
    ring = pytree.tree_map(lambda t: t[0], parts.replay.ring())
    whole = draw_batch(config_of(0, 1, {}), ring, gamma, torch.tensor(5), counter)
    halves = []
    for rank in range(2):
        config = config_of(rank, 2, {})
        rows = philox.Rows.of(config.first_of_batch, config.batch_size, config.whole_batch, CPU)
        halves.append(draw_batch(config, ring, gamma, torch.tensor(5), counter, rows=rows))
    for column, *mine in zip(whole[:-1], *(half[:-1] for half in halves), strict=True):
        assert torch.equal(torch.cat(mine), column)


def test_each_part_of_a_batch_has_its_share_of_demonstrations():
    changes = {"prefill": "x", "prefill_share": 0.25}
    whole = config_of(0, 1, changes)
    assert [config_of(rank, 2, changes).num_demonstrated for rank in range(2)] == [2, 2]
    assert whole.num_demonstrated == 4
    with pytest.raises(ValueError, match=r"prefill_share 0\.2 is 3 of the 16 .* 2 processes\. Give 0\.125 or 0\.25\."):
        config_of(0, 2, {**changes, "prefill_share": 0.2})
