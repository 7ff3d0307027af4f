"""Noise that is held: for how long, in which pattern, and the same however acting is run, undone or resumed."""

import math

import numpy as np
import pytest
import torch

from fastsac.acting.held_noise import HeldNoise, renew_, word_thresholds
from fastsac.algorithms import losses
from fastsac.env import Step
from fastsac.nn import philox
from tests.support.learners import BASE, CPU, A, N, O
from tests.support.loops import ALL_OPTIONS, Loop, run

SEED = BASE.seed


def make(mode="eager", **changes):
    return Loop(BASE.replace(**{"noise_repeat": 5, **changes}), mode=mode)


def steps_used(held, steps, random=(), seed=SEED, start=0):
    """The vector step whose noise is used at each step."""
    used = []
    for now in range(start, start + steps):
        is_random = torch.tensor([now in random])
        used.append(int(renew_(held, is_random, torch.tensor([seed]), torch.tensor(now))))
    return used


def holds(used):
    """How long each noise was held, but for the last."""
    starts = [i for i, step in enumerate(used) if step == i]
    return np.diff(starts).tolist()


def test_thresholds_by_hand():
    """K = 3: weights 1, 1/4, 1/9, of 49/36 in all."""
    assert word_thresholds(3) == [round(2**32 * 36 / 49), round(2**32 * 45 / 49)]
    assert word_thresholds(1) == []


@pytest.mark.parametrize("largest", [2, 16])
def test_lengths_have_the_frequencies_of_the_truncated_zeta_distribution(largest):
    """Pearson's chi-square with K - 1 degrees of freedom, below its 99.9% point (Wilson and Hilferty)."""
    held = HeldNoise.of(20_000, largest, CPU)
    renew_(held, torch.zeros(20_000, dtype=torch.bool), torch.arange(20_000), torch.tensor(0))
    counts = torch.bincount(held.until, minlength=largest + 1)[1:].double()
    weights = torch.arange(1, largest + 1).double() ** -2
    expected = 20_000 * weights / weights.sum()
    degrees = largest - 1
    assert len(counts) == largest
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < degrees * (1 - 2 / (9 * degrees) + 3.09 * math.sqrt(2 / (9 * degrees))) ** 3


def test_lengths_are_independent_from_step_to_step():
    lengths = holds(steps_used(HeldNoise.of(1, 16, CPU), 3000))
    weights = np.arange(1, 17.0) ** -2
    mean = (weights * np.arange(1, 17)).sum() / weights.sum()
    assert np.mean(lengths) == pytest.approx(mean, rel=0.12)
    assert abs(np.corrcoef(lengths[:-1], lengths[1:])[0, 1]) < 0.08


def test_the_pattern_by_hand(monkeypatch):
    """A word of 0 is one step, one between the thresholds two, the largest three."""
    words = {0: 0, 1: 2**32 - 1, 4: 2**32 - 1, 7: word_thresholds(3)[0], 9: 0, 10: 0}
    draw = lambda seed, purpose, counter, num: torch.tensor([words.get(int(counter), 7)])  # noqa: E731
    monkeypatch.setattr(philox, "words", draw)
    held = HeldNoise.of(1, 3, CPU)
    assert steps_used(held, 11) == [0, 1, 1, 1, 4, 4, 4, 7, 7, 9, 10]
    assert (held.since.tolist(), held.until.tolist()) == ([10], [11])


def test_noise_is_new_at_every_step_while_a_member_acts_at_random():
    used = steps_used(HeldNoise.of(1, 16, CPU), 40, random=range(30))
    assert used[:31] == list(range(31))
    plain = steps_used(HeldNoise.of(1, 16, CPU), 400, random=range(30))
    assert max(holds(plain)) > 1


def test_actions_use_the_noise_of_the_step_that_drew_it():
    """Against the policy asked by hand; the noise is the one that the same step has without holding."""
    loop = make(num_envs=3, buffer_size=210)
    loop.store.reset(np.ones((3, O), np.float32), [False])
    policy, used = loop.learner.policy.params[0].clone(), steps_used(HeldNoise.of(1, 5, CPU), 12)
    assert len(set(used)) < 12
    for step in range(12):
        obs = loop.actor.slots[step % 2].obs[0].clone()
        noise = philox.normal(torch.tensor(SEED), philox.Purpose.ACT, torch.tensor(used[step]), (3, A))
        expected = loop.learner.algorithm.act(policy, obs, noise)
        torch.testing.assert_close(torch.from_numpy(loop.actor.act().copy()), expected)


def test_random_actions_are_those_without_holding():
    held, plain = (make(noise_repeat=k) for k in (16, 1))
    for loop in (held, plain):
        loop.store.reset(np.ones((N, O), np.float32), [True])
    actions = [torch.from_numpy(loop.actor.act().copy()) for loop in (held, plain)]
    assert torch.equal(*actions)
    noise = philox.normal(torch.tensor(SEED), philox.Purpose.ACT, torch.tensor(0), (N, A))
    torch.testing.assert_close(actions[0], losses.uniform(noise))


def test_a_step_that_is_undone_is_taken_with_the_same_noise():
    plain, undone = make(), make()
    expected = run(plain, steps=12)
    act = undone.actor.act

    def act_twice():
        act()
        undone.actor.undo_act()
        return act()

    undone.actor.act = act_twice
    assert np.array_equal(run(undone, steps=12), expected)


def act(loop, steps):
    """Actions by the policy alone, [steps, N, A]."""
    obs, flags = np.ones((N, O), np.float32), np.zeros(N, bool)
    loop.store.reset(obs, [False])
    actions = []
    for _ in range(steps):
        actions.append(loop.actor.act().copy())
        loop.store.add(Step(obs, np.zeros(N, np.float32), flags, flags), [False])
    return np.stack(actions)


@pytest.mark.parametrize("at", range(1, 11))
def test_acting_resumes_exactly_at_every_step_of_a_hold(at):
    assert steps_used(HeldNoise.of(1, 5, CPU), 11, seed=6) == [0, 0, 0, 0, 4, 5, 6, 7, 8, 8, 8]
    stopped, resumed = make(seed=6), make(seed=6)
    act(stopped, at)
    for name in ("learner", "actor"):
        getattr(resumed, name).load_state_dict(getattr(stopped, name).state_dict())
    rest = [act(loop, 8) for loop in (stopped, resumed)]
    assert np.array_equal(*rest)
    assert np.array_equal(rest[0], act(make(seed=6), at + 8)[at:])


def test_members_hold_at_their_own_steps_as_in_their_own_runs():
    many, alone = run(make(seeds=3), steps=20), run(make(seed=6), steps=20)
    np.testing.assert_allclose(many[:, 1], alone[:, 0], rtol=1e-3, atol=1e-4)
    lengths = [holds(steps_used(HeldNoise.of(1, 5, CPU), 40, seed=seed)) for seed in (5, 6, 7)]
    assert lengths[0] != lengths[1] != lengths[2]


@pytest.mark.parametrize("changes", [{}, {"seeds": 2, **ALL_OPTIONS}])
def test_recorded_launches_hold_as_eager_ones_do(recorder, changes):
    eager, captured = make(**changes), make("captured", **changes)
    actions = run(eager, steps=30)
    assert np.array_equal(run(captured, steps=30), actions)
    assert recorder.replayed > 60
    states = [loop.actor.state_dict()["held_noise"] for loop in (eager, captured)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in ("since", "until"))


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.slow_where(seeds=[2])
def test_compiled_holds_as_eager_does(seeds):
    eager, compiled = run(make(seeds=seeds)), run(make("compiled", seeds=seeds))
    np.testing.assert_allclose(eager, compiled, rtol=1e-3, atol=1e-4)


def test_nothing_is_kept_where_noise_is_not_held():
    assert set(make(noise_repeat=1).actor.state_dict()) == {"vec_steps", "policy"}
