"""The tabular MDP of tests/chain_env.py: the soft solution against its definitions, the environment against its tables.

Axes: N environments, S states, A actions.
"""

import numpy as np
import pytest

from fastsac.env import make_env, make_spec
from tests.support.chain_env import (
    soft_policy_evaluation,
    soft_policy_improvement,
    soft_policy_iteration,
    soft_values,
    tables,
)

CASES = pytest.mark.parametrize(
    ("task", "alpha", "gamma"),
    [
        ("random:5,3,0", 0.2, 0.9),
        ("random:2,2,1", 1.0, 0.5),
        ("random:20,4,2", 0.01, 0.99),
        ("random:7,3,3", 0.5, 0.0),
        ("random:1,5,4", 0.3, 0.95),
        ("random:6,1,5", 0.3, 0.95),
    ],
)


def a_policy(R, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(R.shape[1]), size=len(R))  # [S, A]


@CASES
def test_evaluation_is_the_fixed_point_of_the_backup(task, alpha, gamma):
    """Lemma 1: Q = R + gamma E[V]; and the backup, repeated from anywhere, leads there."""
    P, R = tables(task)
    policy = a_policy(R)
    Q = soft_policy_evaluation(P, R, policy, alpha, gamma)
    backup = R + gamma * P @ (policy * (Q - alpha * np.log(policy))).sum(axis=1)
    assert np.abs(backup - Q).max() < 1e-10
    other = Q + 3
    for k in range(1, 11):
        other = R + gamma * P @ soft_values(other, policy, alpha)
        assert np.allclose(other - Q, 3 * gamma**k, atol=1e-10)


def test_evaluation_by_hand():
    """One state, two actions: V = (E[R] + alpha H) / (1 - gamma)."""
    P, R = np.ones((1, 2, 1)), np.array([[1.0, 3.0]])
    policy = np.array([[0.25, 0.75]])
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    V = (2.5 + 0.4 * entropy) / (1 - 0.5)
    assert np.allclose(soft_policy_evaluation(P, R, policy, 0.4, 0.5), [[1 + 0.5 * V, 3 + 0.5 * V]], atol=1e-12)


def test_an_action_that_is_never_taken_counts_for_nothing():
    P, R = np.ones((1, 2, 1)), np.array([[1.0, 3.0]])
    assert soft_policy_evaluation(P, R, np.array([[1.0, 0.0]]), 0.4, 0.5).tolist() == [[2, 4]]


@CASES
@pytest.mark.parametrize("seed", range(5))
def test_improvement_never_lowers_q(task, alpha, gamma, seed):
    """Lemma 2, in every state and for every action, step by step from any policy; and it gains unless it is there."""
    P, R = tables(task)
    Q = soft_policy_evaluation(P, R, a_policy(R, seed), alpha, gamma)
    for _ in range(4):
        new_Q = soft_policy_evaluation(P, R, soft_policy_improvement(Q, alpha), alpha, gamma)
        assert (new_Q >= Q - 1e-11).all()
        Q = new_Q


def test_improvement_strictly_gains_from_a_bad_policy():
    P, R = tables("random:5,3,0")
    worst = soft_policy_improvement(-R, 0.1)
    Q = soft_policy_evaluation(P, R, worst, 0.2, 0.9)
    assert (soft_policy_evaluation(P, R, soft_policy_improvement(Q, 0.2), 0.2, 0.9) > Q + 1).all()


@CASES
def test_improvement_is_the_softmax_and_minimises_the_divergence(task, alpha, gamma):
    """E[Q] + alpha H is at its maximum, alpha logsumexp(Q / alpha), which no other policy reaches."""
    P, R = tables(task)
    Q = soft_policy_evaluation(P, R, a_policy(R), alpha, gamma)
    policy = soft_policy_improvement(Q, alpha)
    assert np.allclose(policy.sum(axis=1), 1, atol=1e-14)
    highest = alpha * np.logaddexp.reduce(Q / alpha, axis=1)
    assert np.abs(soft_values(Q, policy, alpha) - highest).max() < 1e-10
    for seed in range(5):
        assert (soft_values(Q, a_policy(R, seed), alpha) <= highest + 1e-10).all()


@CASES
def test_iteration_converges_to_the_optimum(task, alpha, gamma):
    """Theorem 1: the fixed point of V = alpha logsumexp(Q / alpha), no policy above it, policy = softmax(Q / alpha)."""
    P, R = tables(task)
    Q, policy = soft_policy_iteration(P, R, alpha, gamma)
    backup = R + gamma * P @ (alpha * np.logaddexp.reduce(Q / alpha, axis=1))
    assert np.abs(backup - Q).max() < 1e-10
    V = alpha * np.logaddexp.reduce(Q / alpha, axis=1, keepdims=True)
    assert np.allclose(policy, np.exp((Q - V) / alpha), atol=1e-10)
    for seed in range(5):
        assert (soft_policy_evaluation(P, R, a_policy(R, seed), alpha, gamma) <= Q + 1e-10).all()


def test_tables_are_the_tasks_own():
    P, R = tables("random:5,3,7")
    assert (P.shape, R.shape) == ((5, 3, 5), (5, 3))
    assert (P >= 0).all()
    assert np.allclose(P.sum(axis=2), 1, atol=1e-14)
    assert np.array_equal(tables("random:5,3,7")[0], P)
    assert not np.array_equal(tables("random:5,3,8")[0], P)


def test_the_environment_follows_its_tables():
    """Frequencies of next states match P (chi-squared), rewards are R, first states are uniform."""
    task, n, limit = "random:4,3,0", 200, 20
    P, R = tables(task)
    env = make_env(f"tests.support.chain_env:{task}", range(n), env_kwargs={"max_episode_steps": limit})
    rng = np.random.default_rng(0)
    count, first = np.zeros(P.shape), np.zeros(4)
    state = env.reset().argmax(axis=1)
    for t in range(1, 1 + 15 * (limit + 1)):
        choice = rng.integers(3, size=n)
        env.send(np.eye(3, dtype=np.float32)[choice])
        step = env.recv()
        next_state = step.obs.argmax(axis=1)
        assert (step.obs.sum(axis=1) == 1).all()
        assert not step.terminated.any()
        assert (step.truncated == (t % (limit + 1) == limit)).all()
        if t % (limit + 1) == 0:
            first += np.bincount(next_state, minlength=4)
            assert not step.reward.any()
        else:
            np.add.at(count, (state, choice, next_state), 1)
            assert np.array_equal(step.reward, R[state, choice].astype(np.float32))
        state = next_state
    expected = count.sum(axis=2, keepdims=True) * P
    often = expected > 5
    assert often.sum() > 40
    # 12 rows of at most 3 degrees of freedom: mean 36, standard deviation 8.5; and 3 degrees for the first states.
    assert ((count - expected) ** 2 / expected)[often].sum() < 36 + 4 * 8.5
    assert np.allclose(count[~often], expected[~often], atol=10)
    assert ((first - first.mean()) ** 2 / first.mean()).sum() < 3 + 5 * 2.5


def test_spec():
    spec = make_spec("tests.support.chain_env:random:5,3,0")
    assert (spec.obs_dim, spec.action_dim, spec.discrete, spec.max_episode_steps) == (5, 3, True, 50)
    with pytest.raises(ValueError, match="task must look like"):
        make_spec("tests.support.chain_env:5,3")
