"""The part of a run that one of several processes trains."""

from typing import Any

import pytest

from fastsac.config.settings import Config
from fastsac.config.shares import PartOfAgent, SomeMembers, spans


def test_spans_are_consecutive_and_the_first_are_larger() -> None:
    assert spans(8, 3) == [(0, 3), (3, 6), (6, 8)]
    assert spans(2, 2) == [(0, 1), (1, 2)]
    assert spans(1, 3) == [(0, 1), (1, 1), (1, 1)]


def test_members_of_all_shares_are_those_of_the_run() -> None:
    whole = Config(env="Pendulum-v1", seeds=3, sweep=("tau=0.01,0.02",))
    shares = [SomeMembers.of(whole, rank, 4) for rank in range(4)]
    assert [share.num_members for share in shares] == [2, 2, 1, 1]
    assert [share.first_member for share in shares] == [0, 2, 4, 5]
    assert [seed for share in shares for seed in share.member_seeds] == whole.member_seeds
    assert [member for share in shares for member in share.members] == whole.members
    assert shares[2].member_name(0) == whole.member_name(4)
    assert shares[2].values_of("tau") == [0.01, 0.02]  # what the sweep has anywhere


def test_a_share_of_members_survives_a_change() -> None:
    share = SomeMembers.of(Config(env="Pendulum-v1", seeds=3), 1, 3)
    changed = share.replace(device="cpu")
    assert (changed.device, changed.first_member, changed.num_members) == ("cpu", 1, 1)


def test_more_processes_than_members_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^3 processes cannot share 2 members\. Start at most 2, or give more seeds\.$"
    ):
        SomeMembers.of(Config(env="Pendulum-v1", seeds=2), 0, 3)


def test_a_batch_too_small_for_demonstrations_of_each_process_is_refused() -> None:
    config = Config(env="Pendulum-v1", num_envs=4, batch_size=2, prefill="x.npz", prefill_share=0.5)
    with pytest.raises(ValueError, match=r"cannot be divided among 2 processes\. Raise batch_size\.$"):
        PartOfAgent.of(config, 0, 2)


def test_data_of_one_agent_are_divided_and_budgets_are_not() -> None:
    whole = Config(env="HalfCheetah-v5", num_envs=8, batch_size=256, utd_ratio=1.0)
    part = PartOfAgent.of(whole, 1, 2)
    assert (part.num_envs, part.first_env, part.all_envs) == (4, 4, 8)
    assert (part.batch_size, part.first_of_batch, part.whole_batch) == (128, 128, 256)
    assert part.buffer_size == whole.buffer_size // 2
    assert (part.total_grad_steps, part.updates_per_graph) == (whole.total_grad_steps, whole.updates_per_graph)
    assert [PartOfAgent.of(whole, rank, 2).eval_span for rank in range(2)] == [(0, 5), (5, 10)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_envs": 7}, r"num_envs 7 cannot be divided among 2 processes\. Give 6 or 8\."),
        ({"num_envs": 1}, r"num_envs 1 cannot be divided among 2 processes\. Give 2\."),
        ({"batch_size": 255}, r"batch_size 255 cannot be divided among 2 processes\. Give 254 or 256\."),
        ({"seeds": 2}, r"parallel data trains one agent, got 2 members\. Give --parallel members, or one seed\."),
    ],
)
def test_data_that_cannot_be_divided_are_refused(settings: dict[str, Any], message: str) -> None:
    config = Config(env="HalfCheetah-v5", num_envs=8).replace(**settings)
    with pytest.raises(ValueError, match=f"^{message}$"):
        PartOfAgent.of(config, 0, 2)
