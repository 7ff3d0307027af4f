"""Counters past 2^31 and 2^32: random numbers, draws, Adam's corrections and vector steps are still right."""

import math
from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree

from fastsac.acting.actor import Actor
from fastsac.acting.store import Store
from fastsac.algorithms import losses
from fastsac.learning.draw import draw_batch
from fastsac.learning.learner import make_parts
from fastsac.nn import optim, philox
from tests.support.learners import BASE as LEARNER
from tests.support.learners import CPU, SPEC, fill

MASK = 2**32 - 1
BEYOND = [2**31 - 2, 2**31 + 5, 2**32 - 2, 2**33 + 7, 2**62]


def plain_philox(counter, key):
    """Philox-4x32-10 in Python's whole numbers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & MASK, (p0 >> 32) ^ c[3] ^ k[1], p0 & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


def words(seed, purpose, counter, num):
    return [plain_philox((counter & MASK, block, counter >> 32, 0), (seed, purpose)) for block in range(num)]


def normals(seed, purpose, counter, num):
    pairs = [w[:2] for w in words(seed, purpose, counter, num)]
    return [math.sqrt(-2 * math.log((a + 1) / 2**32)) * math.cos(2 * math.pi * b / 2**32) for a, b in pairs]


def at(counter, offset=0, **changes):
    """A learner whose gradient steps go on from `counter`, with `offset` more that were drawn from already."""
    parts = make_parts(LEARNER.replace(**changes), SPEC, CPU, "eager")
    fill(parts)
    learner = parts.learner
    state: dict[str, Any] = learner.state_dict()
    state["state"]["grad_steps"].fill_(counter)
    coming = torch.tensor([counter + 1, -(-counter // learner.algorithm.actor_delay) + 1])
    state["state"]["bias_correction"].copy_(optim.bias_correction(coming))
    state["counter_offset"].fill_(offset)
    learner.load_state_dict(state)
    return parts


@pytest.mark.parametrize("counter", BEYOND)
def test_random_numbers(counter):
    seed, at_counter = torch.tensor(2**31 - 1), torch.tensor(counter)
    expected = [w[0] for w in words(2**31 - 1, philox.Purpose.DRAW, counter, 9)]
    assert philox.words(seed, philox.Purpose.DRAW, at_counter, 9).tolist() == expected
    noise = philox.normal(seed, philox.Purpose.UPDATE, at_counter, (9,))
    normal = torch.tensor(normals(2**31 - 1, philox.Purpose.UPDATE, counter, 9))
    torch.testing.assert_close(noise, normal, rtol=1e-4, atol=1e-5)
    assert philox.derive_seeds(1, philox.Purpose.ENV_SEED, 3, counter) == [
        w[0] >> 1 for w in words(1, philox.Purpose.ENV_SEED, counter, 3)
    ]


@pytest.mark.parametrize("size", [1, 2**31 - 1, 2**30 + 1])
def test_indices_into_the_largest_replay(size):
    word = [0, 1, 2**31, 2**32 - 1, 0xDEADBEEF]
    assert philox.index(torch.tensor(word), torch.tensor(size)).tolist() == [w * size >> 32 for w in word]


@pytest.mark.parametrize("step", [1, 2, 1000, 100_000, *BEYOND])
def test_adam_s_corrections(step):
    first, second = optim.bias_correction(torch.tensor(step)).tolist()
    assert first == pytest.approx(1 / (1 - 0.9**step), rel=1e-6)
    assert second == pytest.approx(1 / math.sqrt(1 - 0.999**step), rel=1e-6)


@pytest.mark.parametrize("offset", [0, 3, 2**32 + 1])
@pytest.mark.parametrize("counter", BEYOND[:4])
def test_updates(counter, offset):
    learner, replay, *_ = at(counter, offset, actor_delay=2)
    ring = pytree.tree_map(lambda t: t[0], replay.ring())
    batch = draw_batch(
        learner.config, ring, torch.tensor(0.99), torch.tensor(LEARNER.seed), torch.tensor(counter + offset)
    )
    count, tail = int(ring.num_entries), int(ring.tail)
    drawn = [w[0] * count >> 32 for w in words(LEARNER.seed, philox.Purpose.DRAW, counter + offset, 8)]
    positions = ring.table[[tail + i for i in drawn]].long()
    assert torch.equal(batch.obs, ring.rows.obs[positions])

    before = {name: value.clone() for name, value in learner.buffers["state"]["params"].items()}
    learner.launch([1])
    state = learner.buffers["state"]
    with_actor = counter % 2 == 0
    assert learner.grad_steps == [counter + 1] == state["grad_steps"].tolist()
    assert state["bias_correction"].tolist() == [[[1, 1], [1, 1]]]
    assert torch.equal(state["params"]["actor"], before["actor"]) != with_actor
    # Fresh moments: the step is lr * 0.1 g / (sqrt(0.001 g^2) + eps), without the corrections of a first step.
    moved = (state["params"]["critic"] - before["critic"]).abs()
    large = state["exp_avg_sq"]["critic"] > 1e-10
    assert large.any()
    torch.testing.assert_close(moved[large], torch.full_like(moved[large], 1e-3 * 0.1 / 0.001**0.5), rtol=1e-2, atol=0)


def test_two_members_at_their_own_counters():
    both = at(0, seeds=2).learner
    both.buffers["state"]["grad_steps"].copy_(torch.tensor([2**31 - 1, 5]))
    both.grad_steps = [2**31 - 1, 5]
    both.launch([2, 1])
    assert both.buffers["state"]["grad_steps"].tolist() == [2**31 + 1, 6] == both.grad_steps
    assert both.fault_steps() == [-1, -1]


@pytest.mark.parametrize("counter", BEYOND[:4])
def test_vector_steps(counter):
    learner, *stores = at(0)
    actor = Actor(learner.config, learner)
    state = actor.state_dict()
    state["vec_steps"] = torch.tensor(counter)
    actor.load_state_dict(state)
    n, a = learner.config.num_envs, SPEC.action_dim
    store = Store(learner.config, learner, actor, *stores)
    store.reset(torch.zeros(n, SPEC.obs_dim).numpy(), [True])
    action = torch.from_numpy(actor.act())
    noise = torch.tensor(normals(LEARNER.seed, philox.Purpose.ACT, counter, n * a)).view(n, a)
    torch.testing.assert_close(action, losses.uniform(noise), rtol=1e-4, atol=1e-4)
    assert int(actor.vec_steps) == counter + 1
