"""A small tabular MDP as a back end, and its exact soft solution: `"tests.support.chain_env:random:S,A,SEED"`.

Axes: N environments, S states, A actions.

The task
--------
S states and A actions.  From SEED numpy draws P [S, A, S], each row a flat Dirichlet, and R [S, A], standard normal:
`tables` returns both.  The observation is the state as a one-hot vector (O = S), the reward R[state, action].  An
episode starts in a state drawn uniformly, never terminates, and is cut off after `max_episode_steps` steps (in
env_kwargs, default 50); the step after that is the dummy of the contract.  Environment i draws from seeds[i].

The solution
------------
`soft_policy_evaluation`, `soft_policy_improvement` and `soft_policy_iteration` are soft policy iteration of Haarnoja et
al. 2018 (arXiv 1801.01290, section 4.1, with a temperature alpha): Lemma 1, Lemma 2 and Theorem 1, in float64.  A task
that is cut off but never terminates bootstraps at the cut, so that the solution is that of the endless MDP.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastsac.env import ActionChoice, EnvSpec, FloatArray, Step, check_known_kwargs, one_hot
from tests.support.scripted_env import assert_one_hot

Array = NDArray[np.float64]

TAKES_MORE = True  # than it lists
KWARGS = ("max_episode_steps",)
MAX_ITERATIONS = 10_000


def soft_values(Q: Array, policy: Array, alpha: float) -> Array:
    """V [S] = E_policy[Q - alpha log policy]; an action of probability 0 counts for nothing."""
    log_policy = np.log(np.where(policy > 0, policy, 1.0))
    V: Array = np.einsum("sa,sa->s", policy, Q - alpha * log_policy)
    return V


def soft_policy_evaluation(P: Array, R: Array, policy: Array, alpha: float, gamma: float) -> Array:
    """The fixed point of Q = R + gamma E[V] (Lemma 1), by solving the linear system for V.

    Args:
        P: probabilities of the next state, [S, A, S].
        R: rewards, [S, A].
        policy: probabilities of the actions, [S, A].
        alpha: temperature.
        gamma: discount, below 1.

    Returns:
        Q [S, A].
    """
    num_states = len(R)
    reward = soft_values(R, policy, alpha)  # [S]: the policy's own, with its entropy
    transition = np.einsum("sa,sat->st", policy, P)  # [S, S]
    V = np.linalg.solve(np.eye(num_states) - gamma * transition, reward)
    return R + gamma * P @ V


def soft_policy_improvement(Q: Array, alpha: float) -> Array:
    """The policy [S, A] nearest to exp(Q / alpha) in KL divergence (Lemma 2): softmax(Q / alpha) itself."""
    logits = (Q - Q.max(axis=1, keepdims=True)) / alpha
    weights = np.exp(logits)
    policy: Array = weights / weights.sum(axis=1, keepdims=True)
    return policy


def soft_policy_iteration(P: Array, R: Array, alpha: float, gamma: float) -> tuple[Array, Array]:
    """Evaluation and improvement in turn, from the uniform policy until nothing changes (Theorem 1).

    Args:
        P, R, alpha, gamma: as in `soft_policy_evaluation`.

    Returns:
        Q [S, A] and policy [S, A], both optimal.
    """
    Q = soft_policy_evaluation(P, R, np.full(R.shape, 1 / R.shape[1]), alpha, gamma)
    for _ in range(MAX_ITERATIONS):
        policy = soft_policy_improvement(Q, alpha)
        new_Q = soft_policy_evaluation(P, R, policy, alpha, gamma)
        if np.allclose(new_Q, Q, rtol=1e-13, atol=1e-13):
            return new_Q, soft_policy_improvement(new_Q, alpha)
        Q = new_Q
    raise AssertionError("soft policy iteration did not converge")


def tables(task: str) -> tuple[Array, Array]:
    """P [S, A, S] and R [S, A] of a task."""
    num_states, num_actions, seed = parse(task)
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(num_states), size=(num_states, num_actions))
    return P, rng.standard_normal((num_states, num_actions))


def parse(task: str) -> tuple[int, int, int]:
    """S, A and the seed of a task's tables."""
    match = re.fullmatch(r"random:([1-9]\d*),([1-9]\d*),(\d+)", task)
    if not match:
        raise ValueError(f'task must look like "random:5,3,0", got {task!r}.')
    return int(match[1]), int(match[2]), int(match[3])


def list_tasks() -> list[str]:
    return ["random:5,3,0"]


def make_spec(task: str, env_kwargs: Mapping[str, Any], action_limit: float | None) -> EnvSpec:
    num_states, num_actions, _ = parse(task)
    env_id = f"tests.support.chain_env:{task}"
    check_known_kwargs(env_id, env_kwargs, KWARGS)
    ActionChoice(range(num_actions), np.int64, action_limit, env_id)  # refuses action_limit
    limit = env_kwargs.get("max_episode_steps", 50)
    return EnvSpec(env_id, num_states, num_actions, (("state", num_states),), limit, discrete=True)


def make(
    task: str, seeds: Sequence[int], num_threads: int, env_kwargs: Mapping[str, Any], action_limit: float | None
) -> "ChainEnv":
    return ChainEnv(make_spec(task, env_kwargs, action_limit), tables(task), seeds)


class ChainEnv:
    def __init__(self, spec: EnvSpec, P_and_R: tuple[Array, Array], seeds: Sequence[int]) -> None:
        assert spec.max_episode_steps is not None
        self.spec, self.num_envs = spec, len(seeds)
        P, self._R = P_and_R
        self._below = P.cumsum(axis=2)[:, :, :-1]  # [S, A, S - 1]: the next state is the number of these below u
        self._limit = spec.max_episode_steps
        self._rngs = [np.random.default_rng(seed) for seed in seeds]
        self._state = np.zeros(self.num_envs, int)  # [N]
        self._step = np.zeros(self.num_envs, int)  # [N]
        self._action: FloatArray | None = None

    def reset(self) -> FloatArray:
        self._step[:] = 0
        self._action = None
        self._state = self._first_state(self._draw())
        return self._obs()

    def send(self, action: FloatArray) -> None:
        assert self._action is None, "send before the last recv"
        assert action.shape == (self.num_envs, self.spec.action_dim), action.shape
        assert action.dtype == np.float32, action.dtype
        assert_one_hot(action)
        self._action = action

    def recv(self) -> Step:
        assert self._action is not None, "recv without send"
        choice, self._action = self._action.argmax(axis=1), None
        dummy = self._step == self._limit
        u = self._draw()
        reward = np.where(dummy, 0, self._R[self._state, choice]).astype(np.float32)
        next_state = (self._below[self._state, choice] <= u[:, None]).sum(axis=1)
        self._state = np.where(dummy, self._first_state(u), next_state)
        self._step = np.where(dummy, 0, self._step + 1)
        return Step(self._obs(), reward, np.zeros(self.num_envs, bool), self._step == self._limit)

    def close(self) -> None:
        pass

    def _draw(self) -> Array:
        """One uniform number from each environment's own generator, [N]."""
        return np.array([rng.random() for rng in self._rngs])

    def _first_state(self, u: Array) -> NDArray[np.int64]:
        return (u * self.spec.obs_dim).astype(np.int64)

    def _obs(self) -> FloatArray:
        return one_hot(self._state, range(self.spec.obs_dim))
