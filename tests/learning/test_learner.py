"""One update in every mode; members; budgets.  All compiled tests share one tiny graph."""

import itertools
import math

import pytest
import torch
from torch._dynamo.utils import counters
from torch.utils import _pytree as pytree

from fastsac.acting.actor import Actor
from fastsac.acting.store import Store
from fastsac.algorithms import losses, sac, step
from fastsac.algorithms.algorithm import METRICS
from fastsac.algorithms.batch import Batch
from fastsac.env import Step
from fastsac.learning.gradient_step import NO_FAULT_STEP, make_hyper
from fastsac.nn import optim
from fastsac.run.mode import TORCH
from tests.support.learners import BASE, CPU, SPEC, A, N, O, make, make_filled
from tests.support.loops import ALL_OPTIONS


def params(learner):
    return {k: v.clone() for k, v in learner.buffers["state"]["params"].items()}


@pytest.fixture(scope="module")
def compiled_parts():
    torch._dynamo.reset()
    counters.clear()
    return make_filled("compiled")


@pytest.fixture
def compiled(compiled_parts):
    return compiled_parts.learner


def test_compiled_is_one_graph_and_agrees_with_eager_after_20_updates(compiled):
    eager = make()
    assert all(torch.equal(v, params(eager)[k]) for k, v in params(compiled).items())  # warming up changed nothing
    for learner in (eager, compiled):
        learner.launch([7])
        learner.launch([13])
    for name, value in params(eager).items():
        torch.testing.assert_close(params(compiled)[name], value, rtol=1e-4, atol=1e-5)
    assert compiled.buffers["state"]["grad_steps"].tolist() == [20]
    rows = [learner.read_metrics()[0] for learner in (eager, compiled)]
    for name in METRICS:
        assert rows[0][name] == pytest.approx(rows[1][name], rel=1e-3, abs=1e-4)


def test_no_graph_break_and_no_recompilation_over_a_run(compiled_parts):
    learner, *stores = compiled_parts
    actor = Actor(learner.config, learner)
    store = Store(learner.config, learner, actor, *stores)
    actor.warm_up()
    generator = torch.Generator().manual_seed(1)
    flags = torch.zeros(N, dtype=torch.bool).numpy()
    store.reset(torch.randn(N, O, generator=generator).numpy(), [True])
    graphs = counters["stats"]["unique_graphs"]
    for i in range(60):  # wraps the ring
        actor.act()
        learner.launch([i % 6])
        obs, reward = torch.randn(N, O, generator=generator).numpy(), torch.randn(N).numpy()
        store.add(Step(obs, reward, flags, flags), [i < 30])
    assert int(compiled_parts.replay.added) >= compiled_parts.replay.num_rows
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] == graphs


WRONG_FOR_MEMBERS = pytest.mark.skipif(TORCH < "2.12", reason="fastsac/run/mode.py does not compile them there")


@WRONG_FOR_MEMBERS
@pytest.mark.slow
def test_compiled_learners_of_other_kinds_agree_with_eager_and_do_not_get_in_each_others_way():
    """Launches skip most guards: each must still find its own graph."""
    kinds = [{}, {"seeds": 2, **ALL_OPTIONS}]
    pairs = [[make(mode, **kind) for mode in ("eager", "compiled")] for kind in kinds]
    for due in (3, 1, 4):
        for learner in itertools.chain(*pairs):
            learner.launch([due, due + 3][: learner.config.num_members])
    for eager, compiled_one in pairs:
        for name, value in params(eager).items():
            torch.testing.assert_close(params(compiled_one)[name], value, rtol=1e-4, atol=1e-5)
        for rows in zip(eager.read_metrics(), compiled_one.read_metrics(), strict=True):
            for name in METRICS:
                assert rows[0][name] == pytest.approx(rows[1][name], rel=1e-3, abs=1e-4)


def test_buffers_keep_their_addresses(compiled):
    before = [leaf.data_ptr() for leaf in pytree.tree_leaves(compiled.buffers)]
    compiled.launch([3])
    compiled.read_metrics()
    compiled.load_state_dict(pytree.tree_map(torch.clone, compiled.state_dict()))
    assert before == [leaf.data_ptr() for leaf in pytree.tree_leaves(compiled.buffers)]


@pytest.mark.parametrize("changes", [{}, {"obs_norm": True, "n_step": 3, "critic_layer_norm": True, "num_critics": 3}])
def test_a_member_agrees_with_its_own_run(changes):
    many = make(seeds=3, **changes)
    alone = make(seed=6, **changes)
    many.launch([50, 50, 50])
    alone.launch([50])
    for name, value in params(alone).items():
        torch.testing.assert_close(params(many)[name][1], value[0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(params(many)["actor"][0], params(many)["actor"][1])


def test_members_draw_exactly_the_numbers_of_their_own_runs():
    from fastsac.nn import philox

    def numbers(seed):
        step = torch.tensor(17)
        return philox.words(seed, philox.Purpose.DRAW, step, 8), philox.normal(
            seed, philox.Purpose.UPDATE, step, (2, 8, A)
        )

    words, noise = torch.func.vmap(numbers)(torch.tensor([5, 6, 7]))
    alone_words, alone_noise = numbers(torch.tensor(6))
    assert torch.equal(words[1], alone_words)
    assert torch.equal(noise[1], alone_noise)


def test_members_with_less_due_wait_untouched():
    many, alone = make(seeds=2), make()
    many.launch([3, 9])
    many.launch([0, 4])
    alone.launch([3])
    for name, value in params(alone).items():
        torch.testing.assert_close(params(many)[name][0], value[0], rtol=1e-5, atol=1e-6)
    assert many.buffers["state"]["grad_steps"].tolist() == [3, 13] == many.grad_steps
    assert many.read_metrics()[0] == pytest.approx(alone.read_metrics()[0], rel=1e-4)


@pytest.mark.parametrize("seeds", [1, 2])
def test_actor_delay_moves_actor_and_alpha_at_every_nth_step(seeds):
    learner = make(seeds=seeds, actor_delay=3)
    moved: list[bool] = []
    alphas = 0.0
    for _ in range(7):
        before = params(learner)
        alphas += before["log_alpha"][0].exp().item() * (len(moved) % 3 == 0)
        learner.launch([1] * seeds)
        after = params(learner)
        assert not torch.equal(after["critic"], before["critic"])
        assert torch.equal(after["actor"], before["actor"]) == torch.equal(after["log_alpha"], before["log_alpha"])
        moved.append(not torch.equal(after["actor"], before["actor"]))
    assert moved == [True, False, False, True, False, False, True]
    assert learner.read_metrics()[0]["alpha"] == pytest.approx(alphas / 3, rel=1e-5)  # a mean over three steps
    learner.launch([1] * seeds)
    assert math.isnan(learner.read_metrics()[0]["alpha"])  # the eighth is a step of the critics alone


def test_fixed_alpha_stays():
    learner = make(learn_alpha=False, init_alpha=0.2)
    learner.launch([5])
    assert learner.buffers["state"]["params"]["log_alpha"].exp().item() == pytest.approx(0.2)
    assert learner.read_metrics()[0]["alpha"] == pytest.approx(0.2)


@pytest.mark.slow_where(mode=["compiled"])
def test_update_equals_the_textbook_with_separate_optimizers(call):
    """The fused update beside .backward() and torch.optim, over 10 steps."""
    algorithm = sac.Sac(BASE, SPEC)
    hyper = {k: v[0] for k, v in make_hyper(algorithm, BASE, CPU).items()}
    state = step.init(algorithm, torch.tensor(1), 0.5)
    leaves = {k: v.clone().requires_grad_() for k, v in state["params"].items()}
    target = state["targets"]["critic"].clone()
    optimizers = {k: torch.optim.Adam([v], lr=1e-3) for k, v in leaves.items()}
    generator = torch.Generator().manual_seed(0)

    def q_of(critic, obs, action):
        return algorithm.net("critic", critic)(obs, action).squeeze(-1)

    for _ in range(10):
        draw = lambda *s: torch.randn(*s, generator=generator)  # noqa: E731
        batch = Batch(draw(8, O), torch.tanh(draw(8, A)), draw(8), torch.full((8,), 0.99), draw(8, O))
        noise = draw(2, 8, A)
        state, _ = call(step.update, algorithm, hyper, state, batch, noise)

        actor = algorithm.net("actor", leaves["actor"])
        alpha = leaves["log_alpha"].exp().detach()
        with torch.no_grad():
            next_action, next_log_prob = losses.tanh_normal(*algorithm.gaussian(actor, batch.next_obs), noise[1])
            next_q = q_of(target, batch.next_obs, next_action)
            y = batch.reward + 0.99 * (next_q.min(0).values - alpha * next_log_prob)
        q = q_of(leaves["critic"], batch.obs, batch.action)
        critic_loss = 0.5 * ((q[0] - y) ** 2).mean() + 0.5 * ((q[1] - y) ** 2).mean()
        action, log_prob = losses.tanh_normal(*algorithm.gaussian(actor, batch.obs), noise[0])
        actor_loss = (alpha * log_prob - q_of(leaves["critic"], batch.obs, action).min(0).values).mean()
        alpha_loss = -(leaves["log_alpha"] * (log_prob - A).detach()).mean()
        for name, loss in (("critic", critic_loss), ("actor", actor_loss), ("log_alpha", alpha_loss)):
            leaves[name].grad = torch.autograd.grad(loss, leaves[name], retain_graph=True)[0]
        for optimizer in optimizers.values():
            optimizer.step()
        target = optim.polyak(target, leaves["critic"].detach(), torch.tensor(0.005))
    for name, leaf in leaves.items():
        torch.testing.assert_close(state["params"][name], leaf.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state["targets"]["critic"], target, rtol=1e-4, atol=1e-5)


def test_gradient_clipping_reaches_the_networks():
    algorithm = sac.Sac(BASE.replace(max_grad_norm=1e-3), SPEC)
    hyper = {k: v[0] for k, v in make_hyper(algorithm, algorithm.config, CPU).items()}
    state = step.init(algorithm, torch.tensor(1), 1.0)
    batch = Batch(torch.ones(8, O), torch.zeros(8, A), torch.full((8,), 100.0), torch.ones(8), torch.ones(8, O))
    new, _ = step.update(algorithm, hyper, state, batch, torch.zeros(2, 8, A))
    for name in ("actor", "critic"):  # the first moment is 0.1 times the clipped gradient
        assert new["exp_avg"][name].norm().item() == pytest.approx(1e-4, rel=0.01)


def test_a_loss_that_is_not_finite_is_remembered_with_its_step():
    learner, replay, *_ = make_filled(seeds=2)
    learner.launch([4, 4])
    replay.rows.reward[1] = math.nan
    learner.launch([4, 4])
    assert learner.fault_steps() == [NO_FAULT_STEP, 4]


def test_a_parameter_that_is_not_finite_is_found_with_its_member():
    learner = make(seeds=2)
    assert learner.not_finite() == {}
    learner.buffers["state"]["exp_avg_sq"]["actor"][1, 3] = math.inf
    assert learner.not_finite() == {1: ("exp_avg_sq.actor",)}


def test_state_dict_continues_bit_for_bit():
    def take_over(mine, other):
        mine.load_state_dict(pytree.tree_map(torch.clone, other.state_dict()))

    parts, other_parts = (make_filled(obs_norm=True) for _ in range(2))
    first, second = parts.learner, other_parts.learner
    first.launch([5])
    second.launch([1])
    take_over(second, first)
    take_over(other_parts.replay, parts.replay)
    take_over(other_parts.normalizer, parts.normalizer)
    for learner in (first, second):
        learner.read_metrics()  # what is summed between log points begins anew
        learner.launch([5])
    assert first.read_metrics() == second.read_metrics()
    pytree.tree_map(lambda a, b: torch.testing.assert_close(a, b, rtol=0, atol=0), first.buffers, second.buffers)
