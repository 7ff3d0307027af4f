"""Acting: with the policy of two steps before, members as in their own runs, eager, compiled and recorded alike."""

import math
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils import _pytree as pytree

from fastsac.acting.actor import Slot, act_step, act_step_
from fastsac.acting.collector import Collector
from fastsac.acting.held_noise import HeldNoise
from fastsac.acting.store import Intake, Rules, store_step_
from fastsac.learning.gradient_step import gradient_step_
from fastsac.learning.learner import PolicyTensors, make_parts
from tests.support.learners import BASE, CPU, SPEC, A, N, O
from tests.support.loops import ALL_OPTIONS, Loop, Stream, run
from tests.support.scripted_env import make as make_scripted


def make(mode="eager", **changes):
    return Loop(BASE.replace(**changes), mode=mode)


@pytest.mark.parametrize("obs_norm", [False, True])
def test_the_policy_is_that_of_two_vector_steps_before(obs_norm):
    loop = make(obs_norm=obs_norm)
    learner, stream = loop.learner, Stream(loop.config)
    loop.store.reset(stream.draw(O), [False])

    def newest():
        return PolicyTensors(*(value[0].clone() for value in learner.policy))

    left = [newest(), newest()]  # by the steps before the first
    for step in range(8):
        slot = loop.actor.slots[step % 2]
        obs, random = slot.obs[0].clone(), slot.random[0].clone()
        seed, counter = learner.buffers["seed"][0], torch.tensor(step)
        by_rule, by_newest = (
            act_step(learner.algorithm, loop.config, obs, random, policy, seed, counter)
            for policy in (left[step], newest())
        )
        assert torch.equal(torch.from_numpy(loop.actor.act()), by_rule)
        if step >= 3:
            assert not torch.equal(by_rule, by_newest)
        learner.launch([2 if step >= 1 else 0])
        loop.store.add(stream.step(), [False])
        left.append(newest())


def test_random_actions_are_uniform():
    loop = make(num_envs=500, buffer_size=5000)
    loop.store.reset(np.zeros((500, O), np.float32), [True])
    actions = np.sort(loop.actor.act().ravel())
    distance = np.abs((actions + 1) / 2 - np.linspace(0, 1, 1000)).max()
    assert distance < 1.95 / math.sqrt(1000)  # Kolmogorov and Smirnov's, at 0.1%


def test_a_member_acts_as_in_its_own_run():
    many, alone = run(make(seeds=3, obs_norm=True)), run(make(seed=6, obs_norm=True))
    np.testing.assert_allclose(many[:, 1], alone[:, 0], rtol=1e-3, atol=1e-4)
    assert not np.allclose(many[:, 0], many[:, 1])


@pytest.mark.parametrize("changes", [{}, {"seeds": 2, **ALL_OPTIONS}])
@pytest.mark.slow_where(changes=[{"seeds": 2, **ALL_OPTIONS}])
def test_compiled_acts_as_eager(changes):
    eager, compiled = run(make(**changes)), run(make("compiled", **changes))
    np.testing.assert_allclose(eager, compiled, rtol=1e-3, atol=1e-4)


def test_a_resumed_run_acts_as_if_it_had_not_stopped():
    stopped, resumed = make(obs_norm=True), make(obs_norm=True)
    run(stopped, steps=7)  # ends in an odd slot
    for name in ("learner", "replay", "normalizer", "actor"):
        getattr(resumed, name).load_state_dict(getattr(stopped, name).state_dict())
    first, second = (run(loop, steps=5) for loop in (stopped, resumed))
    assert np.array_equal(first, second)


# CUDA graphs without a GPU --------------------------------------------------------------------------------------------


def addresses(loop):
    tree = loop.learner.buffers, loop.actor.slots, loop.replay.ring(), loop.actor.vec_steps
    return [leaf.untyped_storage().data_ptr() for leaf in pytree.tree_leaves(tree)]


@pytest.mark.parametrize("changes", [{}, {"seeds": 2, **ALL_OPTIONS}])
def test_recorded_launches_give_the_numbers_of_eager_ones(recorder, changes):
    """A run over random numbers: acting, storing and learning replayed, with nothing of Python run again."""
    changes = {**changes, "updates_per_launch": 4, "buffer_size": 40}
    eager, captured = make(**changes), make("captured", **changes)
    before, recorded = addresses(captured), recorder.recorded
    actions = [run(loop, steps=30, updates=7) for loop in (eager, captured)]  # wraps the ring
    assert recorder.recorded == recorded  # all was recorded while warming up
    assert recorder.replayed > 100
    assert addresses(captured) == before
    assert np.array_equal(actions[0], actions[1])
    states = [
        [loop.parts.normalizers(), *(part.state_dict() for part in (loop.learner, loop.replay, loop.actor))]
        for loop in (eager, captured)
    ]
    pytree.tree_map(lambda a, b: torch.testing.assert_close(a, b, rtol=0, atol=0), *states)
    assert eager.learner.read_metrics() == captured.learner.read_metrics()


@pytest.mark.parametrize("changes", [{}, {"seeds": 2, "bf16": True, "max_grad_norm": 1.0, **ALL_OPTIONS}])
def test_no_operation_of_a_launch_needs_the_host(changes):
    """On device meta there are no numbers: whatever asks for one fails."""
    config, meta = BASE.replace(**changes), torch.device("meta")
    learner, replay, normalizer, returns = make_parts(config, SPEC, meta, "eager")
    assert learner.algorithm.joint_pass  # the form for GPUs
    m = config.num_members
    views = pytree.tree_map(lambda t: t[0], learner.buffers) if m == 1 else learner.buffers
    for with_actor in (True, False):
        gradient_step_(learner.algorithm, config, views, with_actor)
    reward = torch.zeros(m, N, device=meta)
    flags, random = reward.bool(), torch.zeros(m, dtype=torch.bool, device=meta)
    obs, action = torch.zeros(m, N, O, device=meta), torch.zeros(m, N, A, device=meta)
    slot = Slot(obs, reward, flags, flags, random, action, learner.policy)
    counter = torch.zeros((), dtype=torch.int64, device=meta)
    held = HeldNoise.of(m, config.noise_repeat, meta) if config.noise_repeat > 1 else None
    act_step_(learner.algorithm, config, slot, held, learner.buffers["seed"], counter)
    gamma, rules = learner.buffers["hyper"]["gamma"], Rules.from_config(config, meta)
    store_step_(Intake(replay, normalizer, returns), rules, gamma, learner.policy, [slot, slot], 0)
    with pytest.raises(RuntimeError, match="meta"):
        bool(reward.sum() > 0)


# Streams without a GPU ------------------------------------------------------------------------------------------------


class Tracer:
    """Stands in for CUDA's streams and events: keeps what was asked of them, and on which stream work is enqueued."""

    def __init__(self, monkeypatch):
        self.seen: list[str] = []
        self.current = "learner"
        monkeypatch.setattr(torch.cuda, "stream", self.on)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: self.stream(self.current))
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: self.seen.append("wait for the device"))

    @contextmanager
    def on(self, stream):
        before, self.current = self.current, stream.name
        yield
        self.current = before

    def stream(self, name):
        wait = lambda event: self.seen.append(f"{name} stream waits for {event.name}")  # noqa: E731
        return SimpleNamespace(name=name, wait_event=wait)

    def event(self, name):
        record = lambda: self.seen.append(f"{name}, on the {self.current} stream")  # noqa: E731
        return SimpleNamespace(name=name, record=record, synchronize=lambda: self.seen.append(f"host waits for {name}"))

    def work(self, owner, method, name):
        call = getattr(owner, method)

        def traced(*args, **kwargs):
            self.seen.append(f"{name}, on the {self.current} stream")
            return call(*args, **kwargs)

        setattr(owner, method, traced)


def test_events_order_the_streams(monkeypatch):
    """The order that the docstring of actor.py gives; captured graphs are enqueued in the same places."""
    loop, tracer = make(), Tracer(monkeypatch)
    actor, store = loop.actor, loop.store
    actor.stream, actor._acted, actor._arrived = (
        tracer.stream("actor"), tracer.event("acted"), tracer.event("arrived"),
    )  # fmt: skip
    store._stored = [tracer.event("stored 0"), tracer.event("stored 1")]
    actor._host_actions = [torch.zeros(1, N, A)] * 2
    tracer.work(actor.staging, "write", "write")
    tracer.work(actor.staging, "copy", "copy")
    tracer.work(actor, "_launch", "act")
    tracer.work(store, "_launch", "store")
    stream = Stream(loop.config)
    store.reset(stream.draw(O), [True])
    expected = ["wait for the device", "write, on the learner stream", "copy, on the learner stream"]
    assert tracer.seen == [*expected, "wait for the device"]  # twice: in no order with the streams
    for step in range(4):
        tracer.seen.clear()
        actor.act()
        assert tracer.seen == ["act, on the actor stream", "acted, on the actor stream", "host waits for acted"]
        tracer.seen.clear()
        store.add(stream.step(), [True])
        before, after = step % 2, 1 - step % 2
        assert tracer.seen == [
            "write, on the learner stream",
            f"actor stream waits for stored {after}",
            "copy, on the actor stream",
            "arrived, on the actor stream",
            "learner stream waits for arrived",
            "store, on the learner stream",
            f"stored {before}, on the learner stream",
        ]


# Where the time goes --------------------------------------------------------------------------------------------------


def test_waiting_is_counted():
    env = make_scripted("9t", [1, 2], 0, {}, None)
    config = BASE.replace(num_envs=2)
    parts = make_parts(config, env.spec, CPU, "eager")
    collector = Collector(config, env, *parts)
    collector.start()
    assert collector.waited == {"env": 0.0, "device": 0.0}
    for _ in range(6):
        collector.send()
        parts.learner.launch([1])
        collector.recv()
    assert 0 < collector.waited["env"] < collector.waited["device"]
    assert collector.waited["device"] > parts.learner.compute_s > 0
