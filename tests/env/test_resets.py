"""A simulator that resets in the step that ends an episode, behind the contract."""

import numpy as np
import pytest

from fastsac.acting.errors import BadStepError
from fastsac.acting.recording import record
from fastsac.env import EnvSpec, NextStepReset, Step

LENGTHS = (3, 4)  # of the episodes of each environment


class Hasty:
    """Counts the steps of episodes, from 0, as observation, and pays them; resets at once."""

    def __init__(self, resets):
        self.spec, self.num_envs, self.resets = EnvSpec("hasty:Task", 1, 1, (("obs", 1),), 4), 2, resets

    def reset(self):
        self.age = np.zeros(2, np.float32)
        if self.resets:
            self.resets.reset()
        return self.age[:, None].copy()

    def close(self):
        pass

    def send(self, action):
        self.action = action

    def recv(self):
        self.age += 1
        final, reward, terminated = self.age[:, None].copy(), self.age.copy(), self.age == LENGTHS
        self.age[terminated] = 0
        obs, truncated = self.age[:, None].copy(), np.zeros(2, bool)
        if self.resets:
            return self.resets.step(obs, final, reward, terminated, truncated)
        return Step(obs, reward, terminated, truncated)


def act(obs):
    return np.zeros((2, 1), np.float32)


def test_without_help_it_is_refused():
    with pytest.raises(
        BadStepError, match=r"^environment 0 must reset .* got reward 1\.0, .*fastsac\.env\.NextStepReset"
    ):
        record(Hasty(None), act, 20)


def test_each_transition_is_one_of_the_simulators():
    recording = record(Hasty(NextStepReset(2)), act, 60)
    assert np.array_equal(recording.next_obs, recording.obs + 1)
    assert np.array_equal(recording.reward, recording.next_obs[:, 0])
    assert np.array_equal(recording.terminated, np.isin(recording.next_obs[:, 0], LENGTHS) & recording.terminated)
    assert recording.terminated.sum() >= 14
    # The first episodes whole, the others from their second observation on.
    assert sorted(set(recording.returns.tolist())) == [5.0, 6.0, 9.0, 10.0]


def test_the_step_after_an_end_begins_the_next_episode():
    env = Hasty(NextStepReset(2))
    env.reset()
    steps = []
    for _ in range(5):
        env.send(act(None))
        steps.append(env.recv())
    assert [step.obs[:, 0].tolist() for step in steps] == [[1, 1], [2, 2], [3, 3], [1, 4], [2, 1]]
    assert [step.reward.tolist() for step in steps] == [[1, 1], [2, 2], [3, 3], [0, 4], [2, 0]]
    assert [step.terminated.tolist() for step in steps] == [[0, 0], [0, 0], [1, 0], [0, 1], [0, 0]]


def test_an_episode_that_ends_in_that_step_is_left_out_and_kinds_of_numbers_stay():
    resets, obs = NextStepReset(1), np.zeros((1, 2), np.uint8)
    ends, goes_on = np.array([True]), np.array([False])
    reward = np.ones(1, np.float32)
    assert resets.step(obs, obs + 9, reward, goes_on, ends).truncated.all()
    step = resets.step(obs, obs + 9, reward, ends, goes_on)
    assert (step.obs.max(), step.reward[0], step.terminated[0]) == (0, 0, False)
    assert [x.dtype.name for x in (step.obs, step.reward, step.terminated)] == ["uint8", "float32", "bool"]
    resets.step(obs, obs + 9, reward, ends, goes_on)
    resets.reset()
    assert resets.step(obs, obs + 9, reward, goes_on, goes_on).reward[0] == 1
