"""What every algorithm must show: ways to run agree, members as in their own runs, no host, forms for CPU and GPU."""

import math

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters
from torch.utils import _pytree as pytree

from fastsac.algorithms import step
from fastsac.algorithms.algorithm import METRICS, NUM_CRITIC_METRICS
from fastsac.algorithms.batch import Batch
from fastsac.algorithms.registry import get_algorithm
from fastsac.config.algorithms import ALGORITHMS
from fastsac.learning.gradient_step import gradient_step_, make_hyper
from fastsac.learning.learner import make_parts
from tests.support.algorithms import make, spec_of, states
from tests.support.learners import BASE, CPU, A, N, O
from tests.support.loops import ALL_OPTIONS, Stream, run

ALGOS = pytest.mark.parametrize("algo", ALGORITHMS)


@ALGOS
@pytest.mark.slow_where(algo=["sac-v1", "sql", "sql-discrete"])
def test_compiled_is_one_graph_and_agrees_with_eager(algo):
    torch._dynamo.reset()
    counters.clear()
    compiled, eager = make(algo, "compiled"), make(algo)
    np.testing.assert_allclose(run(compiled), run(eager), rtol=1e-3, atol=1e-4)
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] == 2  # the update and the actor
    pytree.tree_map(
        lambda a, b: torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4), states(compiled), states(eager)
    )
    rows = [b.learner.read_metrics()[0] for b in (compiled, eager)]
    for name in METRICS:
        assert rows[0][name] == pytest.approx(rows[1][name], rel=1e-3, abs=1e-4)


@ALGOS
@pytest.mark.parametrize("changes", [{}, {"seeds": 2, **ALL_OPTIONS}], ids=["plain", "all"])
def test_recorded_launches_give_the_numbers_of_eager_ones(recorder, algo, changes):
    changes = {**changes, "updates_per_launch": 4, "buffer_size": 40}
    eager, captured = make(algo, **changes), make(algo, "captured", **changes)
    assert np.array_equal(run(eager, steps=15, updates=5), run(captured, steps=15, updates=5))
    assert recorder.replayed > 50
    pytree.tree_map(lambda a, b: torch.testing.assert_close(a, b, rtol=0, atol=0), states(eager), states(captured))


@ALGOS
def test_a_member_agrees_with_its_own_run(algo):
    many, alone = make(algo, seeds=3, actor_delay=2), make(algo, seed=6, actor_delay=2)
    actions = run(many), run(alone)
    np.testing.assert_allclose(actions[0][:, 1], actions[1][:, 0], rtol=1e-3, atol=1e-3)
    pytree.tree_map(
        lambda a, b: torch.testing.assert_close(a[1], b[0], rtol=1e-3, atol=1e-4), states(many), states(alone)
    )


@ALGOS
@pytest.mark.parametrize("changes", [{}, {"seeds": 2, "bf16": True, "max_grad_norm": 1.0, **ALL_OPTIONS}])
def test_no_operation_of_an_update_needs_the_host(algo, changes):
    config = BASE.replace(algo=algo, **changes)
    learner = make_parts(config, spec_of(algo), torch.device("meta"), "eager").learner
    views = pytree.tree_map(lambda t: t[0], learner.buffers) if config.num_members == 1 else learner.buffers
    for with_actor in (True, False):
        gradient_step_(learner.algorithm, config, views, with_actor)
    with pytest.raises(RuntimeError, match="meta"):  # had it asked for a number
        bool(learner.buffers["sums"].sum() > 0)


@ALGOS
@pytest.mark.parametrize("with_actor", [True, False])
def test_the_form_for_gpus_gives_the_numbers_of_the_one_for_cpus(algo, with_actor):
    config, spec = BASE.replace(algo=algo, n_step=2), spec_of(algo)
    generator = torch.Generator().manual_seed(0)
    results = []
    for fuse_for_gpu in (False, True):
        algorithm = get_algorithm(algo)(config, spec, fuse_for_gpu)
        hyper = {k: v[0] for k, v in make_hyper(algorithm, config, CPU).items()}
        state = step.init(algorithm, torch.tensor(3), 0.5)
        generator.manual_seed(1)
        for _ in range(4):
            draw = lambda *s: torch.randn(*s, generator=generator)  # noqa: E731
            action = algorithm.act_randomly(draw(8, A))
            batch = Batch(draw(8, O), action, draw(8), torch.full((8,), 0.98), draw(8, O))
            state, metrics = step.update(algorithm, hyper, state, batch, draw(*algorithm.noise_shape(8)), with_actor)
        results.append((state, metrics))
    pytree.tree_map(lambda a, b: torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5), *results)
    assert results[0][1].isfinite().all()


@ALGOS
def test_losses_are_per_transition_and_metrics_have_names_of_the_list(algo):
    config = BASE.replace(algo=algo)
    algorithm = get_algorithm(algo)(config, spec_of(algo))
    state = step.init(algorithm, torch.tensor(3), 0.5)
    scalars = {k: v[0] for k, v in make_hyper(algorithm, config, CPU).items()}
    scalars |= {name: value for name, value in state["params"].items() if name == "log_alpha"}
    nets, targets = (
        {name: algorithm.net(name, vector) for name, vector in state[key].items() if name in algorithm.networks}
        for key in ("params", "targets")
    )
    action = algorithm.act_randomly(torch.randn(8, A))
    batch = Batch(torch.randn(8, O), action, torch.randn(8), torch.full((8,), 0.9), torch.randn(8, O))
    of_critics, of_actor = set(METRICS[:NUM_CRITIC_METRICS]), set(METRICS[NUM_CRITIC_METRICS:])
    can_be_alone = "update_order" in algorithm.options
    found = {}
    for which in ("all", "critics", "actor") if can_be_alone else ("all", "critics"):
        noise = torch.ones(*algorithm.noise_shape(8))
        found[which], metrics = algorithm.loss(scalars, nets, targets, batch, noise, which)
        assert found[which].shape == (8,)
        assert all(metric.shape in ((8,), ()) for metric in metrics.values())
        assert of_critics.isdisjoint(metrics) if which == "actor" else of_critics <= metrics.keys()
        assert of_actor.isdisjoint(metrics) if which == "critics" else metrics.keys() <= of_critics | of_actor
    if can_be_alone:
        torch.testing.assert_close(found["critics"] + found["actor"], found["all"])


@ALGOS
def test_random_actions_are_uniform(algo):
    algorithm = get_algorithm(algo)(BASE, spec_of(algo))
    action = algorithm.act_randomly(torch.randn(20_000, A, generator=torch.Generator().manual_seed(0)))
    if algorithm.discrete:
        assert torch.equal(action.sum(-1), torch.ones(20_000))
        assert torch.allclose(action.mean(0), torch.full((A,), 1 / A), atol=4 * math.sqrt(1 / A / 20_000))
    else:
        quantiles = action.flatten().sort().values
        assert (quantiles - torch.linspace(-1, 1, 20_000 * A)).abs().max() < 2 * 1.95 / math.sqrt(20_000 * A)


def test_streams_of_the_tests_are_those_of_a_member_seed():
    many, alone = Stream(BASE.replace(seeds=2)), Stream(BASE.replace(seed=6))
    assert np.array_equal(many.draw(O)[N:], alone.draw(O))
