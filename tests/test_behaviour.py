"""Acting: with the policy of two steps before, members as in their own runs, eager, compiled and recorded alike."""

import math

import numpy as np
import pytest
import torch
from scripted_env import make as make_scripted
from test_learner import BASE, CPU, SPEC, A, N, O
from torch.utils import _pytree as pytree

from fastsac.acting.behaviour import POLICY, Behaviour, act_step, act_step_
from fastsac.acting.collector import Collector
from fastsac.learning.learner import Learner, gradient_step_
from fastsac.learning.replay import Replay
from fastsac.nn.normalizer import Normalizer

ALL_OPTIONS = {"obs_norm": True, "n_step": 3, "critic_layer_norm": True, "actor_delay": 2}


def make(mode="eager", **changes):
    config = BASE.replace(**changes)
    behaviour = Behaviour(config, Learner(config, SPEC, CPU, mode))
    behaviour.learner.warm_up()
    behaviour.warm_up()
    return behaviour


class Stream:
    """What environments might return, the same for a member seed whatever the number of members."""

    def __init__(self, config):
        self.generators = [torch.Generator().manual_seed(seed) for seed in config.member_seeds]

    def draw(self, *shape):
        return torch.cat([torch.randn(N, *shape, generator=g) for g in self.generators]).numpy()

    def step(self, is_random):
        return {
            "obs": self.draw(O), "reward": self.draw(), "terminated": self.draw() > 1.3, "truncated": self.draw() > 1.3,
            "random": [is_random] * len(self.generators),
        }  # fmt: skip


def run(behaviour, steps=12, updates=3):
    """Actions of a short run, [steps, M, N, A]; after each step, `seen` is called."""
    stream, members = Stream(behaviour.config), behaviour.config.seeds
    behaviour.begin(stream.draw(O), [True] * members)
    actions = []
    for step in range(steps):
        actions.append(behaviour.act().copy().reshape(members, N, A))
        behaviour.learner.launch([updates if step >= 4 else 0] * members)
        behaviour.store(stream.step(is_random=step < 4))
    return np.stack(actions)


@pytest.mark.parametrize("obs_norm", [False, True])
def test_the_policy_is_that_of_two_vector_steps_before(obs_norm):
    behaviour = make(obs_norm=obs_norm)
    learner, stream = behaviour.learner, Stream(behaviour.config)
    behaviour.begin(stream.draw(O), [False])

    def newest():
        norm = learner.normalizer
        policy = learner.policy, norm.mean, norm.rstd
        return {name: value[0].clone() for name, value in zip(POLICY, policy, strict=True)}

    left = [newest(), newest()]  # by the steps before the first
    for step in range(8):
        inputs = {name: behaviour.slots[step % 2][name][0].clone() for name in ("obs", "random")}
        seed, counter = learner.buffers["seed"][0], torch.tensor(step)
        by_rule, by_newest = (
            act_step(learner.algorithm, behaviour.config, {**inputs, **policy}, seed, counter)
            for policy in (left[step], newest())
        )
        assert torch.equal(torch.from_numpy(behaviour.act()), by_rule)
        if step >= 3:
            assert not torch.equal(by_rule, by_newest)
        learner.launch([2 if step >= 1 else 0])
        behaviour.store(stream.step(is_random=False))
        left.append(newest())


def test_random_actions_are_uniform():
    behaviour = make(num_envs=500, buffer_size=5000)
    behaviour.begin(np.zeros((500, O), np.float32), [True])
    actions = np.sort(behaviour.act().ravel())
    distance = np.abs((actions + 1) / 2 - np.linspace(0, 1, 1000)).max()
    assert distance < 1.95 / math.sqrt(1000)  # Kolmogorov and Smirnov's, at 0.1%


def test_a_member_acts_as_in_its_own_run():
    many, alone = run(make(seeds=3, obs_norm=True)), run(make(seed=6, obs_norm=True))
    np.testing.assert_allclose(many[:, 1], alone[:, 0], rtol=1e-3, atol=1e-4)
    assert not np.allclose(many[:, 0], many[:, 1])


@pytest.mark.parametrize("changes", [{}, {"seeds": 2, **ALL_OPTIONS}])
def test_compiled_acts_as_eager(changes):
    eager, compiled = run(make(**changes)), run(make("compiled", **changes))
    np.testing.assert_allclose(eager, compiled, rtol=1e-3, atol=1e-4)


def test_a_resumed_run_acts_as_if_it_had_not_stopped():
    behaviours = make(obs_norm=True), make(obs_norm=True)
    run(behaviours[0], steps=7)  # ends in an odd slot
    behaviours[1].learner.load_state_dict(behaviours[0].learner.state_dict())
    behaviours[1].load_state_dict(behaviours[0].state_dict())
    first, second = (run(b, steps=5) for b in behaviours)
    assert np.array_equal(first, second)


# CUDA graphs without a GPU --------------------------------------------------------------------------------------------


def addresses(behaviour):
    tree = behaviour.learner.buffers, behaviour.slots, behaviour.learner.replay.ring(), behaviour.vec_steps
    return [leaf.untyped_storage().data_ptr() for leaf in pytree.tree_leaves(tree)]


@pytest.mark.parametrize("changes", [{}, {"seeds": 2, **ALL_OPTIONS}])
def test_recorded_launches_give_the_numbers_of_eager_ones(recorder, changes):
    """A run over random numbers: acting, storing and learning replayed, with nothing of Python run again."""
    changes = {**changes, "updates_per_launch": 4, "buffer_size": 40}
    eager, captured = make(**changes), make("captured", **changes)
    before, recorded = addresses(captured), recorder.recorded
    actions = [run(b, steps=30, updates=7) for b in (eager, captured)]  # wraps the ring
    assert recorder.recorded == recorded  # all was recorded while warming up
    assert recorder.replayed > 100
    assert addresses(captured) == before
    assert np.array_equal(*actions)
    states = [{**b.learner.state_dict(), **b.state_dict()} for b in (eager, captured)]
    pytree.tree_map(lambda a, b: torch.testing.assert_close(a, b, rtol=0, atol=0), *states)
    assert eager.learner.read_metrics() == captured.learner.read_metrics()


@pytest.mark.parametrize("changes", [{}, {"seeds": 2, "bf16": True, "max_grad_norm": 1.0, **ALL_OPTIONS}])
def test_no_operation_of_a_launch_needs_the_host(changes):
    """On device meta there are no numbers: whatever asks for one fails."""
    config, meta = BASE.replace(**changes), torch.device("meta")
    learner = Learner(config, SPEC, meta, "eager")
    assert learner.algorithm.joint_pass  # the form for GPUs
    m = config.seeds
    views = pytree.tree_map(lambda t: t[0], learner.buffers) if m == 1 else learner.buffers
    for with_actor in (True, False):
        gradient_step_(learner.algorithm, config, views, with_actor)
    slot = {
        "obs": torch.zeros(m, N, O, device=meta), "random": torch.zeros(m, dtype=torch.bool, device=meta),
        "action": torch.zeros(m, N, A, device=meta), "policy": learner.policy,
        "mean": learner.normalizer.mean, "rstd": learner.normalizer.rstd,
    }  # fmt: skip
    act_step_(learner.algorithm, config, slot, learner.buffers["seed"], torch.zeros((), dtype=torch.int64, device=meta))
    reward = torch.zeros(m, N, device=meta)
    Replay(m, N, 40, O, A, meta).add_(slot["action"], reward, reward.bool(), reward.bool(), slot["obs"])
    Normalizer(m, O, meta).update_(slot["obs"])
    with pytest.raises(RuntimeError, match="meta"):
        bool(reward.sum() > 0)


# Where the time goes --------------------------------------------------------------------------------------------------


def test_waiting_is_counted():
    env = make_scripted("9t", [1, 2], 0, {}, None)
    config = BASE.replace(num_envs=2)
    collector = Collector(config, env, Learner(config, env.spec, CPU, "eager"))
    collector.begin()
    assert collector.waited == {"env": 0.0, "device": 0.0}
    for _ in range(6):
        collector.send()
        collector.learner.launch([1])
        collector.recv()
    assert 0 < collector.waited["env"] < collector.waited["device"]
    assert collector.waited["device"] > collector.learner.compute_s > 0
