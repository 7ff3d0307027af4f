"""What a GPU would refuse, wait for, or do in the wrong order, found without one: see `tests.support.fake_cuda`."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.distributed as dist

from fastsac.acting.staging import Staging
from fastsac.algorithms import losses
from fastsac.config.presets import PRESETS
from fastsac.config.shares import PartOfAgent
from fastsac.env import EnvSpec, Step
from fastsac.learning.demonstrations import Demonstrations
from fastsac.nn import philox
from fastsac.nn.reduction import ALONE
from fastsac.runtime.reduction import GroupReduction
from tests.support import fake_cuda
from tests.support.demonstrations import transitions
from tests.support.fake_cuda import FakeCudaError, RaceError, Recorder
from tests.support.learners import BASE, SPEC, A, O
from tests.support.loops import ALL_OPTIONS, Loop
from tests.support.recipes import tiny

CUDA = torch.device("cuda", 0)
SIDE = 36
CHOICES = EnvSpec("test:test", O, A, (("obs", O),), None, discrete=True)
IMAGES = EnvSpec("test:test", SIDE * SIDE, A, (("obs", SIDE * SIDE),), None, discrete=True, image=(1, SIDE, SIDE))
STEERED_IMAGES = EnvSpec("test:test", SIDE * SIDE, A, (("obs", SIDE * SIDE),), None, image=(1, SIDE, SIDE))
SPECS = {"cartpole": CHOICES, "lunar-lander": CHOICES, "atari": IMAGES}  # of presets for discrete actions
CASES = {
    **{preset: (SPECS.get(preset, SPEC), tiny(preset)) for preset in PRESETS},
    **{f"{algo} {spec.discrete} {spec.image}": (spec, {"algo": algo, "n_step": 3}) for algo in ("sac", "sql")
       for spec in (SPEC, CHOICES, IMAGES, STEERED_IMAGES)},
    "sac-v1": (SPEC, {"algo": "sac-v1", "n_step": 3}),
    "all options": (SPEC, ALL_OPTIONS),
    "bf16": (SPEC, {"bf16": True}),
    "bf16 images": (IMAGES, {"bf16": True, "conv_channels": (2, 2)}),
    "rewards clipped": (SPEC, {"reward_clip": 1.0, "bootstrap_time_limits": False, "on_nan": "rollback"}),
    "gradients clipped": (SPEC, {"max_grad_norm": 1.0}),
    "demonstrations": (SPEC, {"prefill": "file", "prefill_share": 0.5, "n_step": 2}),
}  # fmt: skip


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU, on which NumPy's writes into pinned memory are seen."""
    with fake_cuda.fake_cuda() as gpu:
        write = Staging.write

        def seen(staging, slot, **values):
            gpu.host_writes(staging._arrays[slot]["obs"])
            write(staging, slot, **values)

        monkeypatch.setattr(Staging, "write", seen)
        yield gpu


def make(case, mode="captured", reduction=ALONE, num_ranks=1, **changes):
    """A loop of small learners, launches captured one update at a time."""
    spec, settings = CASES[case]
    config = BASE.replace(**{"updates_per_launch": 1, **settings, **changes})
    if num_ranks > 1:
        config = PartOfAgent.of(config, 1, num_ranks)
    ring = Demonstrations(config, transitions("...T..C."), CUDA).ring() if config.prefill_share else None
    return Loop(config, spec, mode, CUDA, ring, reduction)


def drive(gpu, loop, turns=4):
    """The loop, in the order of `Collector`; environments read the actions until they have stepped."""
    m, n, obs_dim = loop.actor.slots[0].obs.shape
    obs = np.zeros((m * n, obs_dim), loop.actor.staging._arrays[0]["obs"].dtype)
    zeros, no = np.zeros(m * n, np.float32), np.zeros(m * n, np.bool_)
    loop.store.reset(obs, [True] * m)
    gpu.waits.clear()
    allocations = gpu.allocations
    for turn in range(turns):
        actions = loop.actor.act()
        gpu.host_reads(actions)
        loop.learner.launch([1 + turn % 2] * m)
        gpu.host_reads(actions)
        loop.store.add(Step(obs, zeros, no, no), [turn == 0] * m)
    return gpu.allocations - allocations


@pytest.mark.parametrize("case", CASES)
def test_the_loop_can_be_captured_waits_for_nothing_and_keeps_order(gpu, case):
    """Of recipes with one member, of the other cases with several, of both where batches have statistics."""
    for members in ([1] if case in PRESETS else [3]) + [2] * (case == "flashsac"):
        check_loop(gpu, make(case, seeds=members), members)


def check_loop(gpu, loop, members):
    drive(gpu, loop)
    captured = Recorder.recorded
    assert drive(gpu, loop) == 0  # allocations
    assert gpu.waits == []
    assert Recorder.recorded == captured > 0
    assert loop.learner.grad_steps == [12] * members


@pytest.mark.parametrize("case", ["all options", "flashsac", "atari"])
def test_an_uncaptured_loop_waits_for_nothing_either(gpu, case):
    loop = make(case, "eager", seeds=2)
    drive(gpu, loop)
    assert gpu.waits == []


@pytest.fixture
def reduction(tmp_path):
    """Over one process, as `fastsac.runtime.reduction` has it."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield partial(GroupReduction, "agent", CUDA)
    dist.destroy_process_group()


@pytest.mark.parametrize("case", ["all options", "flashsac"])
def test_the_part_of_one_of_several_processes_likewise(gpu, reduction, case):
    check_loop(gpu, make(case, reduction=reduction(), num_ranks=2), 1)


# What is found --------------------------------------------------------------------------------------------------------


def test_a_number_of_the_host_in_a_loss_is_found(gpu, monkeypatch):
    half, loss = torch.tensor(0.5), losses.critic_loss
    monkeypatch.setattr(losses, "critic_loss", lambda *args: half * loss(*args))
    with pytest.raises(FakeCudaError, match=r"mul.* has tensors on the host and on the device"):
        make("bf16")


def test_a_number_that_is_copied_there_is_found(gpu, monkeypatch):
    loss = losses.critic_loss
    monkeypatch.setattr(losses, "critic_loss", lambda q, y: torch.tensor(0.5, device=q.device) * loss(q, y))
    with pytest.raises(FakeCudaError, match=r"a CUDA graph cannot hold .* between host and device"):
        make("bf16")


@pytest.mark.parametrize(
    ("look", "message"),
    [
        (lambda word: bool(word[0] > 0), "cannot hold aten._local_scalar_dense"),
        (lambda word: word.tolist(), "cannot hold aten._to_copy.default between host and device"),
        (lambda word: word[word > 0], "has a size that the host has to read"),
    ],
)
def test_what_the_host_reads_is_found(gpu, monkeypatch, look, message):
    index = philox.index
    monkeypatch.setattr(philox, "index", lambda word, size: (look(word), index(word, size))[1])
    with pytest.raises(FakeCudaError, match=message):
        make("bf16")


def test_memory_that_a_step_would_be_given_outside_of_graphs_is_counted(gpu):
    assert drive(gpu, make("bf16", "eager")) > 100


@pytest.mark.parametrize(
    ("owner", "name", "message"),
    [(fake_cuda.Stream, "wait_event", r"a graph on stream \d+ is in no order with an access on stream"),
     (fake_cuda.Event, "synchronize", r"on the host is in no order with an access on stream")],
)  # fmt: skip
def test_streams_and_events_that_keep_no_order_are_found(gpu, monkeypatch, owner, name, message):
    loop = make("all options")
    monkeypatch.setattr(owner, name, lambda *_: None)
    with pytest.raises(RaceError, match=message):
        drive(gpu, loop)
