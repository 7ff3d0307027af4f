"""What the replay holds other than the environments returned it, and which actions are random."""

import math

import numpy as np
import pytest
import torch
from torch.utils import _pytree as pytree

from fastsac import checkpoint
from fastsac.acting.store import Rules
from fastsac.algorithms import losses
from fastsac.env import Step
from fastsac.learning.draw import draw
from fastsac.nn import philox
from tests.support.learners import BASE, CPU, N, O
from tests.support.loops import Loop
from tests.support.runs import BASE as RUN
from tests.support.runs import run


def cut_off_at_three(mode="eager", **changes):
    """A loop whose rewards are 1, 2, 3 and so on, with an environment that is cut off with the third."""
    loop = Loop(BASE.replace(**changes), mode=mode)
    members = loop.config.num_members
    obs, flags = np.zeros((members * N, O), np.float32), np.zeros(members * N, bool)
    loop.store.reset(obs, [True] * members)
    for step in range(1, 7):
        loop.actor.act()
        truncated = flags.copy()
        truncated[::N] = step == 3
        loop.store.add(Step(obs, np.full(members * N, step, np.float32), flags, truncated), [True] * members)
    return loop


@pytest.mark.parametrize(("bootstrap", "at_limit"), [(True, 1.0), (False, 0.0)])
@pytest.mark.parametrize(("mode", "seeds"), [("eager", 1), ("captured", 2)])
def test_time_limits_bootstrap_or_end_the_task(recorder, bootstrap, at_limit, mode, seeds):
    """Three-step windows by hand, gamma 0.5, of the environment that is cut off, and of one that is not."""
    loop = cut_off_at_three(mode, bootstrap_time_limits=bootstrap, seeds=seeds, n_step=3)
    for member in range(seeds):
        ring = pytree.tree_map(lambda t, member=member: t[member], loop.replay.ring())
        size = int(ring.num_entries)
        word = torch.tensor([-(-(slot * 2**32) // size) for slot in range(size)])  # each transition once
        batch = draw(ring, word, N, 3, torch.tensor(0.5))
        row, env = ring.table[:size] // N, ring.table[:size] % N
        found = {
            (int(n), int(t)): (float(reward), float(discount))
            for n, t, reward, discount in zip(env, row, batch.reward, batch.discount, strict=True)
        }
        assert found[0, 0] == (1 + 0.5 * 2 + 0.25 * 3, 0.125 * at_limit)
        assert found[0, 1] == (2 + 0.5 * 3, 0.25 * at_limit)
        assert found[0, 2] == (3, 0.5 * at_limit)
        assert found[1, 1] == (2 + 0.5 * 3 + 0.25 * 4, 0.125)


def test_episodes_that_an_interruption_ends_bootstrap_all_the_same():
    loop = cut_off_at_three(bootstrap_time_limits=False)
    loop.replay.reset_(torch.zeros(1, N, O))
    last = loop.replay.host_head - 2
    assert loop.replay.rows.truncated[0, last].all()
    assert not loop.replay.rows.terminated[0, last].any()


def test_members_clip_rewards_at_their_own_values():
    config = BASE.replace(sweep=("reward_clip=0,2,2.5",))
    bounds = Rules.from_config(config, CPU).reward_range
    assert bounds is not None
    assert [value.flatten().tolist() for value in bounds] == [[-math.inf, -2, -2.5], [math.inf, 2, 2.5]]
    assert Rules.from_config(BASE, CPU).reward_range is None


@pytest.mark.parametrize(("random_steps", "num_rows"), [(None, 4), (0, 0), (8, 2)])
def test_actions_are_random_for_so_many_steps(tmp_path, random_steps, num_rows):
    """Four environments take four steps a row; learning starts after 16."""
    result = run(tmp_path, env="tests.support.scripted_env:9c", random_steps=random_steps, total_steps=40)
    state = checkpoint.load(result.run_dir)[0]
    actions = state["replay"]["rows.action"][0]  # [T, N, A]
    seed = torch.tensor(RUN.seed)
    uniform = [losses.uniform(philox.normal(seed, philox.Purpose.ACT, torch.tensor(row), (4, 2))) for row in range(6)]
    assert [torch.equal(actions[row], uniform[row]) for row in range(6)] == [row < num_rows for row in range(6)]
    assert state["state"]["grad_steps"].tolist() == [40 - RUN.learning_starts]


def test_the_policy_that_acts_at_the_start_is_the_fresh_one():
    """Without random steps, actions are those of the initial parameters."""
    loop = Loop(BASE)
    loop.store.reset(np.ones((N, O), np.float32), [False])
    policy = loop.learner.policy.params[0].clone()
    noise = philox.normal(torch.tensor(BASE.seed), philox.Purpose.ACT, torch.tensor(0), (N, 2))
    expected = loop.learner.algorithm.act(policy, torch.ones(N, O), noise)
    torch.testing.assert_close(torch.from_numpy(loop.actor.act().copy()), expected)
