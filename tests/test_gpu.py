"""What only a CUDA GPU can show; `pytest -m gpu` takes a few minutes, most of them compiling.

Tests share sizes, and so what is compiled: all use those of the scripted environment, and updates of the same KINDS.
"""

import gc
import json
import math
import shutil
from contextlib import contextmanager

import pytest
import torch
import torch.distributed as dist
from torch.utils import _pytree as pytree

import fastsac
from fastsac import checkpoint
from fastsac.acting.collector import Collector
from fastsac.acting.errors import NotFiniteError
from fastsac.config.settings import Config
from fastsac.env import make_env, make_spec
from fastsac.learning.gradient_step import MUTATED, NO_FAULT_STEP
from fastsac.learning.learner import make_parts
from fastsac.nn import philox
from fastsac.nn.reduction import ALONE
from fastsac.run.plan import make_plan
from fastsac.run.trainer import Run, train
from fastsac.runtime import launch
from fastsac.runtime.reduction import GroupReduction
from tests.support.gpu import DEVICE, NEEDS_GPU, REHEARSED, rehearsal
from tests.support.recipes import tiny
from tests.support.runs import TIME_COLUMNS, go_wrong, rows

pytestmark = NEEDS_GPU

CPU = torch.device("cpu")
BASE = Config(
    env="tests.support.scripted_env:3t,5c,2b,9c", num_envs=4, total_steps=200, learning_starts=16, batch_size=8,
    buffer_size=400, hidden_dims=(16, 16), critic_lr=1e-3, actor_lr=1e-3, alpha_lr=1e-3, seed=5, obs_norm=True,
    matmul_precision="highest", log_every=50, eval_every=0, eval_episodes=2, checkpoint_every=0, device=str(DEVICE),
    tensorboard=False,
)  # fmt: skip
SPEC = make_spec(BASE.env)
KINDS = [{}, {"actor_delay": 2}, {"seeds": 2, "actor_delay": 2}, {"seeds": 8}]
FLASHSAC = {**tiny("flashsac"), "obs_norm": False}
RECIPES = {
    "flashsac": FLASHSAC, "flashsac-2-members": {**FLASHSAC, "seeds": 2}, "fastsac": tiny("fastsac"),
    "simba": tiny("simba"),
}  # fmt: skip
of_flashsac = pytest.param(FLASHSAC, id="flashsac")
of_recipes = pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES)
N, O, A = BASE.num_envs, SPEC.obs_dim, SPEC.action_dim
SLEEP_CYCLES = 10_000_000  # about 5 ms, longer than a turn of the loop


@pytest.fixture(scope="module", autouse=True)
def settings_of_torch():
    """Full float32, and room for every compiled function of this file."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    with torch._dynamo.config.patch(recompile_limit=64), rehearsal():
        yield
    torch.set_float32_matmul_precision(precision)


# Helpers: a learner by itself, the loop, a run ------------------------------------------------------------------------


def make_filled(mode, device=None, reduction=ALONE, **changes):
    """A learner, warmed up, with the same random rows in its replay for a member's seed in every mode."""
    parts = make_parts(BASE.replace(**changes), SPEC, device or DEVICE, mode, reduction=reduction)
    learner, replay, normalizer, return_normalizer = parts
    generators = [torch.Generator().manual_seed(seed) for seed in learner.config.member_seeds]

    def draw(*shape):
        return torch.stack([torch.randn(N, *shape, generator=g) for g in generators]).to(learner.device)

    replay.reset_(draw(O))
    for _ in range(30):
        obs, terminated, truncated = draw(O), draw() > 1.3, draw() > 1.3
        action, reward = torch.tanh(draw(A)), draw()
        if return_normalizer is not None:
            gamma = learner.buffers["hyper"]["gamma"]
            return_normalizer.update_(reward, terminated | truncated, ~replay.is_dummy, gamma)
        replay.add_(action, reward, terminated, truncated, obs)
        normalizer.update_(obs)
    learner.warm_up()
    return parts


def make(mode, device=None, reduction=ALONE, **changes):
    return make_filled(mode, device, reduction, **changes).learner


def params(learner):
    return {name: value.cpu() for name, value in learner.buffers["state"]["params"].items()}


def assert_near(learner, other, rtol):
    for name, value in params(learner).items():
        torch.testing.assert_close(value, params(other)[name], rtol=rtol, atol=1e-5)


def assert_same(tree, other):
    """Bit for bit."""
    pytree.tree_map(lambda a, b: torch.testing.assert_close(a, b, rtol=0, atol=0), tree, other)


def written(learner):
    """Everything that launches write: parameters, moments, targets, counters, sums of metrics."""
    return {name: learner.buffers[name] for name in MUTATED}


class Loop:
    """Environments and learner at the start of the loop; members' episodes end at different times."""

    def __init__(self, mode, reduction=ALONE, **changes):
        config = BASE.replace(**changes)
        env = make_env(config.env, [i + i // 3 for i in range(config.num_members * N)])
        self.parts = parts = make_parts(config, SPEC, DEVICE, mode, reduction=reduction)
        self.learner, self.replay, self.normalizer, self.return_normalizer = parts
        self.collector = Collector(config, env, *parts)
        self.learner.warm_up()
        self.collector.warm_up()
        self.collector.start()

    def drive(self, turns, slow=None):
        """The loop without its log points; `slow` is called while the environments step."""
        for _ in range(turns):
            self.collector.send()
            if slow is not None:
                slow(self)
            self.learner.launch(self.collector.due())
            self.collector.recv()

    def left(self):
        """All that the loop leaves behind on the device: parameters, and every row with its action."""
        parts = (self.learner, self.replay, self.collector.actor)
        return [*(part.state_dict() for part in parts), self.parts.normalizers()]


@contextmanager
def no_synchronization():
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def allocations():
    """Bytes in use and reserved, and the number of allocations ever made."""
    stats = torch.cuda.memory_stats(DEVICE)
    return [stats[f"{name}.all.{what}"] for name, what in (
        ("allocated_bytes", "current"), ("reserved_bytes", "current"), ("allocation", "allocated"),
    )]  # fmt: skip


def run(folder, **changes):
    return train(BASE.replace(run_dir=str(folder), **changes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with every default: captured, overlapping."""
    return run(tmp_path_factory.mktemp("finished") / "run")


def copy_of(result, folder):
    shutil.copytree(result.run_dir, folder)
    return folder


def metrics(result):
    return rows(result.run_dir / "metrics.csv", TIME_COLUMNS)


def mode_of(result):
    return json.loads((result.run_dir / "summary.json").read_text())["mode"]


def assert_same_run(result, other):
    """Metrics, parameters and replay, bit for bit."""
    assert metrics(result) == metrics(other)
    assert len(metrics(result)) >= 3
    assert_same(checkpoint.load(result.run_dir)[0], checkpoint.load(other.run_dir)[0])


# Reductions -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def over_nccl(tmp_path_factory):
    """Over all processes, of which there is one."""
    place = tmp_path_factory.mktemp("nccl") / "store"
    backend, device = ("gloo", None) if REHEARSED else ("nccl", DEVICE)
    dist.init_process_group(backend, init_method=f"file://{place}", rank=0, world_size=1, device_id=device)
    yield GroupReduction("agent", DEVICE)
    dist.destroy_process_group()


def test_a_reduction_is_part_of_a_graph(over_nccl):
    """The graph reduces what its tensors hold when it runs, again and again, without the host."""
    x, y = torch.zeros(1000, device=DEVICE), torch.zeros(1000, device=DEVICE)
    recorder = launch.CudaRecorder()

    def work():
        y.copy_(over_nccl.mean(x) + over_nccl.sum(x) + over_nccl.max(x))

    with torch.no_grad():
        with recorder.warm_up():
            work()
        replay = recorder.record(work)
        with no_synchronization():
            for number in range(50):
                x.fill_(number)
                replay()
    assert torch.equal(y, torch.full_like(y, 3 * 49))


@pytest.mark.parametrize("changes", [{}, {"max_grad_norm": 0.5, "actor_delay": 2}, FLASHSAC], ids=str)
def test_launches_that_reduce_over_one_process_agree_with_those_that_do_not(over_nccl, changes):
    without, compiled = make("captured", **changes), make("compiled", reduction=over_nccl, **changes)
    captured = [make("captured", reduction=over_nccl, updates_per_launch=k, **changes) for k in (1, 16)]
    for learner in (without, compiled, *captured):
        learner.launch([4])
    assert_near(compiled, without, rtol=1e-4)  # over the first steps, before rounding can grow
    for learner in (compiled, *captured):
        for updates in (1, 16, 7):
            learner.launch([updates])
    for learner in captured:
        assert_same(written(learner), written(compiled))


def test_the_loop_with_a_reduction_is_that_without(over_nccl):
    """Normalisers reduce within the store's graph; nothing waits for the device but acting."""
    loops = [Loop("captured", reduction=reduction, reward_norm=True) for reduction in (ALONE, over_nccl)]
    for loop in loops:
        loop.drive(8)
    for name, state in loops[0].parts.normalizers().items():
        assert_same(state, loops[1].parts.normalizers()[name])
    assert_near(loops[0].learner, loops[1].learner, rtol=1e-4)
    assert loops[1].learner.grad_steps == [8]


# Random numbers -------------------------------------------------------------------------------------------------------


def numbers(seed, counter):
    words = philox.words(seed, philox.Purpose.DRAW, counter, 4096)
    return words, philox.normal(seed, philox.Purpose.UPDATE, counter, (2, 128, 3))


@pytest.mark.parametrize(("seed", "counter"), [(0, 0), (5, 2**32 + 7), (2**31 - 1, 2**40 - 1)])
def test_random_words_equal_those_of_a_cpu_and_normals_to_a_few_ulp(seed, counter):
    args = torch.tensor(seed), torch.tensor(counter)
    words, normals = numbers(*args)
    on_device = [arg.to(DEVICE) for arg in args]
    for function, tolerance in ((numbers, 1e-6), (torch.compile(numbers, fullgraph=True, dynamic=False), 1e-5)):
        same, near = function(*on_device)
        assert same.device.type == DEVICE.type
        assert torch.equal(same.cpu(), words)
        torch.testing.assert_close(near.cpu(), normals, rtol=tolerance, atol=tolerance)


def test_members_draw_exactly_the_numbers_of_their_own_runs():
    seeds, counter = torch.tensor([5, 6, 7], device=DEVICE), torch.tensor(2**33 + 1, device=DEVICE)
    words, normals = torch.func.vmap(numbers, in_dims=(0, None))(seeds, counter)
    for i, seed in enumerate(seeds):
        assert_same((words[i], normals[i]), numbers(seed, counter))


# Updates --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_captured_equals_compiled_bit_for_bit_and_both_agree_with_eager(changes):
    """Over 20 launches in graphs of 1, 4 and 16 updates; with eager over the first, before rounding can grow."""
    eager, compiled = make("eager", **changes), make("compiled", **changes)
    captured = [make("captured", updates_per_launch=k, **changes) for k in (1, 4, 16)]
    members = compiled.config.num_members
    for learner in captured:
        assert_same(written(learner), written(eager))  # warming up changed nothing
    for learner in (eager, compiled, *captured):
        learner.launch([16] * members)
    assert_near(compiled, eager, rtol=1e-5)
    for i in range(18):
        for learner in (compiled, *captured):
            learner.launch([1 + 7 * i % 16] * members)
    for learner in (compiled, *captured):
        learner.launch([5 - m % 2 for m in range(members)])  # members that are out of step
    for learner in captured:
        assert_same(written(learner), written(compiled))
    updates = 16 + sum(1 + 7 * i % 16 for i in range(18))
    assert compiled.buffers["state"]["grad_steps"].tolist() == [updates + 5 - m % 2 for m in range(members)]
    assert compiled.fault_steps() == [NO_FAULT_STEP] * members


@of_recipes
def test_recipes_captured_equal_compiled_bit_for_bit_and_agree_with_eager(changes):
    """With and without the actor, members in step and out of it; with eager over the first steps."""
    learners = {mode: make(mode, **changes) for mode in ("eager", "compiled", "captured")}
    members = learners["eager"].config.num_members
    assert_same(written(learners["captured"]), written(learners["eager"]))  # warming up changed nothing
    for learner in learners.values():
        learner.launch([5] * members)
    assert_near(learners["compiled"], learners["eager"], rtol=1e-3)
    for mode in ("compiled", "captured"):
        for due in (16, 7, 3):
            learners[mode].launch([due - m for m in range(members)])
    assert_same(written(learners["captured"]), written(learners["compiled"]))
    assert learners["captured"].fault_steps() == [NO_FAULT_STEP] * members


def test_a_member_of_flashsac_that_is_out_of_step_agrees_with_its_own_run():
    many, alone = make("captured", **RECIPES["flashsac-2-members"]), make("captured", seed=BASE.seed + 1, **FLASHSAC)
    for due in ([3, 2], [2, 1], [1, 2]):
        many.launch(due)
    alone.launch([5])
    for name, value in params(alone).items():
        torch.testing.assert_close(params(many)[name][1], value[0], rtol=1e-3, atol=1e-4)


def test_every_launch_draws_other_transitions():
    """With step sizes of 0, which a graph sees, the mean Q-value depends on nothing but what was drawn."""
    learner = make("captured")
    before = params(learner)
    for name in ("actor_lr", "critic_lr", "alpha_lr"):
        learner.buffers["hyper"][name].zero_()

    def q_mean():
        learner.launch([1])
        return learner.read_metrics()[0]["q_mean"]

    means = [q_mean() for _ in range(6)]
    assert len(set(means)) == 6
    learner.buffers["state"]["grad_steps"].zero_()
    assert [q_mean() for _ in range(6)] == means  # the counter is all the state that drawing has
    assert_same(params(learner), before)


def test_a_member_agrees_with_its_own_run():
    many, alone = make("captured", seeds=8), make("captured", seed=BASE.seed + 6)
    many.launch([16] * 8)
    alone.launch([16])
    for name, value in params(alone).items():
        torch.testing.assert_close(params(many)[name][6], value[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(params(many)["actor"][5], params(many)["actor"][6])


@pytest.mark.parametrize("changes", [*KINDS, of_flashsac], ids=str)
def test_an_eager_update_agrees_with_that_of_a_cpu(changes):
    here, there = make("eager", **changes), make("eager", device=CPU, **changes)
    for learner in (here, there):
        learner.launch([10] * learner.config.num_members)
    assert_near(here, there, rtol=1e-4)
    for mine, other in zip(here.read_metrics(), there.read_metrics(), strict=True):
        assert mine == pytest.approx(other, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("changes", [{}, {"seeds": 2, "actor_delay": 2}, of_flashsac], ids=str)
def test_a_captured_learner_continues_anothers_state_bit_for_bit(changes):
    firsts, seconds = make_filled("captured", **changes), make_filled("captured", **changes)
    first, second = firsts.learner, seconds.learner
    members = first.config.num_members
    first.launch([5] * members)
    second.launch([2] * members)
    for mine, other in zip(seconds[:2], firsts[:2], strict=True):
        mine.load_state_dict(pytree.tree_map(lambda t: t.cpu(), other.state_dict()))
    pytree.tree_map(lambda mine, other: mine.copy_(other.cpu()), seconds.normalizers(), firsts.normalizers())
    for learner in (first, second):
        learner.read_metrics()
        learner.launch([9] * members)
    assert_same(written(first), written(second))


# The loop -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"seeds": 2, "actor_delay": 2}, of_flashsac], ids=str)
def test_acting_and_storing_are_the_same_captured_and_compiled_and_agree_with_eager(changes):
    captured, compiled, eager = (Loop(mode, **changes) for mode in ("captured", "compiled", "eager"))
    for loop in (captured, compiled, eager):
        loop.drive(10)
    actions = [loop.replay.rows.action.cpu() for loop in (compiled, eager)]
    torch.testing.assert_close(*actions, rtol=1e-4, atol=1e-5)
    for loop in (captured, compiled):
        loop.drive(30)
    assert_same(captured.left(), compiled.left())
    assert captured.collector.env_steps == compiled.collector.env_steps


def test_actions_and_rows_are_the_same_whichever_stream_is_slow():
    def slow_learner(loop):
        torch.cuda._sleep(SLEEP_CYCLES)

    def slow_actor(loop):
        with torch.cuda.stream(loop.collector.actor.stream):
            torch.cuda._sleep(SLEEP_CYCLES)

    left = []
    for slow in (None, slow_learner, slow_actor):
        loop = Loop("captured", overlap="on")
        loop.drive(30, slow)
        left.append(loop.left())
    for other in left[1:]:
        assert_same(left[0], other)


@pytest.mark.parametrize(
    ("mode", "changes"),
    [
        ("captured", {}),
        ("captured", {"seeds": 2, "actor_delay": 2}),
        ("captured", FLASHSAC),
        ("compiled", {}),
        ("eager", {}),
    ],
    ids=["captured", "captured-members", "captured-flashsac", "compiled", "eager"],
)
def test_nothing_in_the_loop_waits_for_the_device_but_acting(mode, changes):
    """Acting waits for an event, which this mode does not count."""
    loop = Loop(mode, total_steps=10_000, **changes)
    loop.drive(30)  # members come to be out of step, which may want a graph that was not foreseen
    before = list(loop.learner.grad_steps)
    with no_synchronization():
        loop.drive(30)
    assert all(now > then for now, then in zip(loop.learner.grad_steps, before, strict=True))
    if not REHEARSED:
        with no_synchronization(), pytest.raises(RuntimeError, match="synchroniz"):
            loop.learner.fault_steps()  # it would have been seen


@pytest.mark.parametrize("changes", [{}, {"seeds": 8}], ids=str)
def test_a_thousand_turns_of_the_loop_allocate_nothing(changes):
    loop = Loop("captured", total_steps=10_000, **changes)
    loop.drive(50)
    gc.collect()  # what earlier tests left is not freed while counting
    before = allocations()
    turns = 50 if REHEARSED else 1_000
    loop.drive(turns)
    assert allocations() == before
    assert min(loop.learner.grad_steps) > 3 * turns


def test_buffers_keep_their_addresses_and_nothing_is_captured_again(monkeypatch):
    recorded, record = [], launch.CudaRecorder.record

    def count_and_record(recorder, work):
        recorded.append(1)
        return record(recorder, work)

    monkeypatch.setattr(launch.CudaRecorder, "record", count_and_record)
    loop = Loop("captured", actor_delay=2)
    learner, replay, actor = loop.learner, loop.replay, loop.collector.actor
    owned = [
        learner.buffers, actor.slots, actor.vec_steps, replay.rows, replay.row_count, replay.is_dummy, replay.added,
        loop.normalizer.state_dict(),
    ]  # fmt: skip

    def addresses():
        return [leaf.data_ptr() for leaf in pytree.tree_leaves(owned)]

    before, num_recorded = addresses(), len(recorded)
    loop.drive(60)
    learner.read_metrics()
    for part in (learner, replay):
        part.load_state_dict(pytree.tree_map(torch.clone, part.state_dict()))
    loop.drive(60)  # wraps the ring
    assert int(replay.added) >= replay.num_rows
    assert addresses() == before
    assert len(recorded) == num_recorded > 0


# Whole runs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"seeds": 2, "actor_delay": 2}], ids=str)
def test_a_run_repeats_itself(tmp_path, changes):
    first, second = (run(tmp_path / name, **changes) for name in ("a", "b"))
    assert mode_of(first) == "captured"
    assert first.grad_steps == 184
    assert_same_run(first, second)


def test_a_run_without_overlap_is_the_same(tmp_path, finished):
    assert_same_run(run(tmp_path / "run", overlap="off"), finished)


def test_a_run_without_cuda_graphs_is_the_same(tmp_path, finished):
    result = run(tmp_path / "run", cuda_graphs="off")
    assert mode_of(result) == "compiled"
    assert_same_run(result, finished)


def test_a_run_without_compiling_starts_the_same(tmp_path, finished):
    result = run(tmp_path / "run", compile="off", total_steps=100)
    assert mode_of(result) == "eager"
    assert result.compile_s == 0
    assert result.grad_steps == 84
    first, second = (
        {name: float(value or "nan") for name, value in metrics(r)[0].items()} for r in (result, finished)
    )  # fmt: skip
    assert first == pytest.approx(second, rel=1e-3, nan_ok=True)


def test_a_run_in_bfloat16_is_finite_and_near_that_in_float32(tmp_path, finished):
    result = run(tmp_path / "run", bf16=True)
    assert mode_of(result) == "captured"
    assert result.grad_steps == finished.grad_steps
    assert metrics(result) != metrics(finished)
    for row, other in zip(metrics(result), metrics(finished), strict=True):
        for name in ("critic_loss", "q_mean", "actor_loss", "alpha_loss", "alpha", "entropy"):
            assert math.isfinite(float(row[name]))
            assert float(row[name]) == pytest.approx(float(other[name]), rel=0.02, abs=0.02)


def test_every_time_in_the_metrics_is_positive(finished):
    table = rows(finished.run_dir / "metrics.csv")
    assert len(table) >= 3
    for row in table:
        for name in TIME_COLUMNS:
            assert float(row[name]) > 0, name
    assert finished.compile_s > 0


def test_a_run_of_flashsac_resumes_and_does_so_alike_twice(tmp_path):
    finished, results = run(tmp_path / "run", **FLASHSAC), []
    for name in ("a", "b"):
        folder = copy_of(finished, tmp_path / name)
        results.append(train(Config.load(folder).replace(resume=str(folder), run_dir=None, total_steps=300)))
    assert results[0].grad_steps == 300 - BASE.learning_starts
    assert_same_run(*results)


def test_a_run_resumes_and_does_so_alike_twice(tmp_path, finished):
    results = []
    for name in ("a", "b"):
        folder = copy_of(finished, tmp_path / name)
        results.append(train(Config.load(folder).replace(resume=str(folder), run_dir=None, total_steps=300)))
    assert results[0].env_steps >= 300
    assert results[0].grad_steps == 300 - BASE.learning_starts
    steps = [int(row["env_steps"]) for row in metrics(results[0])]
    assert steps == sorted(steps)
    assert steps[0] < 200 < steps[-1]
    assert_same_run(*results)


def test_a_checkpoint_of_a_gpu_serves_a_cpu(tmp_path, finished):
    folder = copy_of(finished, tmp_path / "run")
    policy = fastsac.load(folder)
    obs = torch.randn(1, 7, O, generator=torch.Generator().manual_seed(0))
    learner, _, normalizer, _ = make_parts(BASE, SPEC, DEVICE, "eager")
    state = checkpoint.load(folder)[0]
    learner.load_state_dict(state)
    normalizer.load_state_dict(state["normalizer"])
    expected = learner.act_deterministic(obs.to(DEVICE))[0].cpu()
    torch.testing.assert_close(policy.act(obs[0], normalized=True), expected, rtol=1e-4, atol=1e-5)
    config = Config.load(folder).replace(resume=str(folder), run_dir=None, total_steps=240, device="cpu", compile="off")
    assert train(config).grad_steps == 240 - BASE.learning_starts


def test_a_nan_in_the_replay_stops_the_run_and_is_told_by_member_and_step(tmp_path):
    def poison(training):
        if min(training.collector.env_steps) >= 100:
            training.replay.rows.reward[1].fill_(math.nan)

    config = BASE.replace(run_dir=str(tmp_path / "run"), seeds=2, actor_delay=2, checkpoint_every=150)
    with Run(make_plan(config)) as training:
        go_wrong(training, poison)
        with pytest.raises(
            NotFiniteError, match=r"critic_loss.* of member 1 \(seed 6\) .*not finite at gradient step \d+\."
        ):
            training.train()
        assert training.learner.fault_steps()[0] == NO_FAULT_STEP
        assert list(training.learner.not_finite()) == [1]
    assert not checkpoint.checkpoint_dirs(tmp_path / "run")


def test_environments_that_step_on_threads_of_their_own_give_the_same_with_and_without_overlap(tmp_path):
    pytest.importorskip("envpool")
    results = [
        run(
            tmp_path / overlap, env="Pendulum-v1", num_envs=8, total_steps=1_000, learning_starts=200, batch_size=64,
            buffer_size=2_000, matmul_precision="high", log_every=200, overlap=overlap,
        )
        for overlap in ("on", "off")
    ]  # fmt: skip
    assert results[0].grad_steps == 800
    assert all(math.isfinite(float(row["critic_loss"])) for row in metrics(results[0])[1:])
    assert_same_run(*results)


PIXELS = BASE.replace(
    env="tests.support.image_env:Side", obs_norm=False, conv_channels=(8, 8), hidden_dims=(32,), batch_size=32,
    learning_starts=40, gamma=0.5, init_alpha=0.1, learn_alpha=False, actor_lr=5e-4, critic_lr=5e-4,
    matmul_precision="high",
)  # fmt: skip


@pytest.mark.skipif(REHEARSED, reason="takes minutes; tests/nn/test_encoder.py learns the same on a CPU")
def test_captured_convolutions_learn(tmp_path):
    settings = {"total_steps": 4_000, "learning_starts": 300, "buffer_size": 4_000, "utd_ratio": 0.25, "log_every": 500}
    result = train(PIXELS.replace(**settings, num_envs=8, eval_episodes=10, run_dir=str(tmp_path / "run")))
    assert result.eval_return_mean == 8.0


def test_a_run_from_pixels_repeats_itself(tmp_path):
    results = [train(PIXELS.replace(run_dir=str(tmp_path / name))) for name in ("a", "b")]
    assert mode_of(results[0]) == "captured"
    assert_same_run(*results)
