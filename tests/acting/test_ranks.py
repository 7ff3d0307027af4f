"""Acting and storing of two processes with half of the environments each, beside one process with all of them."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fastsac.acting.collector import Collector
from fastsac.acting.errors import ActionError
from fastsac.config.settings import Config
from fastsac.config.shares import PartOfAgent
from fastsac.env import make_spec
from fastsac.learning.learner import make_parts
from fastsac.run.evaluator import evaluate, make_training_envs
from tests.support.ranks import CPU, reduction_of, tally_of

BASE = Config(
    env="Pendulum-v1", preset="none", max_episode_steps=7, num_envs=6, total_steps=10_000, random_steps=10_000,
    learning_starts=20, batch_size=8, buffer_size=600, utd_ratio=0.25, hidden_dims=(8,), obs_norm=True,
    reward_norm=True, seed=3,
)  # fmt: skip
SCRIPTED = BASE.replace(env="tests.support.scripted_env:3t,5c,2b,9c", max_episode_steps=None, random_steps=30)
NORMALISERS = ("count", "running_mean", "running_sum2", "max_size")


def share_of(config, rank, size):
    return config if size == 1 else PartOfAgent.of(config, rank, size)


def collect(rank, size, config, num_steps):
    """What came and went at each vector step, and the state after; one process wishes the end at vector step 9."""
    share, spec = share_of(config, rank, size), make_spec(config.env)
    parts = make_parts(share, spec, CPU, "eager", reduction=reduction_of(size))
    collector = Collector(share, make_training_envs(share, 0), *parts, tally_of(size))
    collector.start()
    seen = []
    for step in range(num_steps):
        if step == 4:  # as where an action is not finite
            collector.actor.act()
            collector.undo_act()
        collector.send()
        action = collector.actor.slots[1 - collector.actor.coming].action[0].numpy().copy()
        due = collector.due()
        parts.learner.launch(due)
        collector.wants_stop = step == 9 and rank == size - 1
        collector.recv()
        counted = collector.env_steps, due, collector.is_stop_wanted
        seen.append({"obs": collector.actor.obs(), "action": action, "counted": counted})
    collector.env.close()
    return seen, parts.learner.buffers["state"]["params"], parts.normalizers()


def counted(result):
    return [step["counted"] for step in result[0]]


def assert_same_statistics(result, other, rtol):
    for name, value in result[2].items():
        for key in NORMALISERS:
            if key in value:
                torch.testing.assert_close(value[key], other[2][name][key], rtol=rtol, atol=0)


def test_halves_of_the_environments_see_the_streams_of_all_while_they_act_at_random(ranks):
    first, second = ranks.call(collect, 2, BASE, 25)
    whole = collect(0, 1, BASE, 25)
    assert counted(first) == counted(second) == counted(whole)
    assert sum(due for _, (due,), _ in counted(whole)) > 10
    for mine, other, both in zip(first[0], second[0], whole[0], strict=True):
        for name in ("obs", "action"):
            assert np.array_equal(np.concatenate([mine[name], other[name]]), both[name])
    for name, value in first[1].items():
        assert torch.equal(value, second[1][name])
    assert_same_statistics(first, second, rtol=0)
    assert_same_statistics(first, whole, rtol=1e-12)


def test_steps_are_counted_over_all_and_alike_where_episodes_end_at_different_times(ranks):
    first, second = ranks.call(collect, 2, SCRIPTED, 25)
    whole = collect(0, 1, SCRIPTED, 25)
    assert counted(first) == counted(second) == counted(whole)
    steps = [steps for (steps,), _, _ in counted(whole)]
    assert len(set(np.diff(steps))) > 2, "dummies make vector steps count differently"
    assert [wanted for *_, wanted in counted(whole)] == [step == 10 for step in range(25)]
    for name, value in first[1].items():
        assert torch.equal(value, second[1][name])


def fail_once(rank, size, config, failing):
    """What one process is told where the policy gives NaN in some of them, and its counters before and after."""
    share, spec = share_of(config, rank, size), make_spec(config.env)
    parts = make_parts(share, spec, CPU, "eager", reduction=reduction_of(size))
    collector = Collector(share, make_training_envs(share, 0), *parts, tally_of(size))
    collector.start()
    counters, told = [], None
    for step in range(6):
        copies = [slot.policy.params for slot in collector.actor.slots]
        kept = [params.clone() for params in copies]
        if step == 3 and rank in failing:
            for params in copies:
                params.fill_(math.nan)
        try:
            collector.send()
        except ActionError as error:
            told = str(error)
            for params, value in zip(copies, kept, strict=True):
                params.copy_(value)
            collector.send()
        collector.recv()
        counters.append((collector.env_steps[0], collector.vec_steps))
    collector.env.close()
    return told, counters


@pytest.mark.parametrize("failing", [(), (1,), (0, 1)])
def test_all_take_a_vector_step_back_where_the_policy_gives_one_of_them_nan(ranks, failing):
    config = SCRIPTED.replace(random_steps=0, on_nan="rollback")
    (first, counted), (second, also) = ranks.call(fail_once, 2, config, failing)
    assert counted == also == fail_once(0, 1, config, ())[1]
    own = "the policy of member 0 (seed 3) gave an action that is not finite at env step 17."
    if not failing:
        assert first is second is None
    else:
        assert second == own
        assert first == (own if 0 in failing else own.replace("gave", "gave another process"))


@pytest.mark.parametrize("size", [2, 3])
def test_episodes_of_an_evaluation_are_divided(size):
    config = BASE.replace(eval_episodes=2, batch_size=6)
    learner = make_parts(config, make_spec(config.env), CPU, "eager").learner
    found = []
    for rank, number in [(0, 1), *((rank, size) for rank in range(size))]:
        run: Any = SimpleNamespace(
            config=share_of(config, rank, number), learner=learner, plan=SimpleNamespace(device=CPU),
            collector=SimpleNamespace(vec_steps=5, env_steps=[30]), together=SimpleNamespace(interrupts=lambda: False),
        )  # fmt: skip
        found.append(evaluate(run))
    whole, *parts = found
    assert [part.returns.shape for part in parts] == [(1, 1), (1, 1), (1, 0)][:size]
    for name in ("returns", "success", "cut"):
        joined = np.concatenate([getattr(part, name) for part in parts], 1)
        np.testing.assert_allclose(joined, getattr(whole, name), rtol=1e-5)
    assert len(set(whole.returns[0])) == 2
