"""Updates of two processes, each with half of the batch, beside those of one process with all of it."""

from collections import Counter

import pytest
import torch
import torch.distributed as dist
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from fastsac.algorithms import step
from fastsac.algorithms.batch import Batch
from fastsac.algorithms.registry import get_algorithm
from fastsac.learning.gradient_step import make_hyper
from fastsac.runtime.reduction import GroupReduction
from tests.support.algorithms import spec_of
from tests.support.learners import BASE, CPU, A, O
from tests.support.ranks import part_of, reduction_of
from tests.support.recipes import tiny

B, UPDATES = 16, 20
CASES = {
    "sac": {},
    "sac, clipped and delayed": {"max_grad_norm": 0.5, "actor_delay": 2},
    "sac-discrete": {"algo": "sac-discrete"},
    "flashsac": tiny("flashsac"),
    "flashsac, clipped": {**tiny("flashsac"), "max_grad_norm": 1.0},
    "flash, discrete": {"algo": "sac-discrete", "network": "flash", "hidden_dims": (8,)},
}


class Problem:
    """An agent, and the batches that it learns from."""

    def __init__(self, reduction, changes):
        algo = changes.get("algo", "sac")
        self.config = BASE.replace(algo=algo, total_steps=1000, **{k: v for k, v in changes.items() if k != "algo"})
        self.algorithm = get_algorithm(algo)(self.config, spec_of(algo), reduction=reduction)
        self.hyper = {k: v[0] for k, v in make_hyper(self.algorithm, self.config, CPU).items()}
        self.state = step.init(self.algorithm, torch.tensor(3), 0.5)

    def draw(self, number, part=lambda whole, dim: whole):
        """A batch, and the noise for it; or the part that a process has of both."""
        generator = torch.Generator().manual_seed(number)

        def draw(*shape):
            return torch.randn(*shape, generator=generator)

        action = self.algorithm.act_randomly(draw(B, A))
        reward = 3 * draw(B).cumsum(0)  # the halves differ
        columns = Batch(2 + draw(B, O), action, reward, torch.full((B,), 0.98), 2 + draw(B, O))
        noise = draw(*self.algorithm.noise_shape(B))
        return Batch._make([*(part(column, 0) for column in columns[:-1]), None]), part(noise, -2)

    def update(self, batch, noise):
        with_actor = int(self.state["grad_steps"]) % self.algorithm.actor_delay == 0
        with torch.no_grad():
            self.state, metrics = step.update(self.algorithm, self.hyper, self.state, batch, noise, with_actor)
        return metrics


def learn(rank, size, changes, num):
    problem = Problem(reduction_of(size), changes)
    metrics = [problem.update(*problem.draw(k, lambda x, dim: part_of(rank, size, x, dim))) for k in range(num)]
    return problem.state, torch.stack(metrics)


def assert_near(tree, other, tolerance):
    pytree.tree_map(lambda a, b: torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance), tree, other)


@pytest.mark.parametrize("case", CASES)
def test_halves_of_a_batch_teach_as_the_whole_does(ranks, case):
    first, second = ranks.call(learn, 2, CASES[case], UPDATES)
    assert_near(first, second, 0)
    whole, metrics = learn(0, 1, CASES[case], UPDATES)
    for kind in ("params", "targets"):
        assert_near(first[0][kind], whole[kind], 1e-5)
    torch.testing.assert_close(first[1], metrics, rtol=1e-4, atol=1e-4)
    assert metrics.isfinite().all()


@pytest.mark.slow
def test_parameters_are_equal_bit_for_bit_after_a_thousand_updates(ranks):
    (first, metrics), (second, _) = ranks.call(learn, 2, {"hidden_dims": (8,), "max_grad_norm": 1.0}, 1000)
    assert_near(first, second, 0)
    assert int(first["grad_steps"]) == 1000
    assert metrics.isfinite().all()


def learn_badly(rank):
    """Metrics, where one process has a NaN in its half."""
    problem = Problem(reduction_of(2), {})
    batch, noise = problem.draw(0, lambda x, dim: part_of(rank, 2, x, dim))
    if rank == 1:
        batch.reward[0] = torch.nan
    return problem.update(batch, noise)


def test_a_loss_that_is_not_finite_is_seen_by_all(ranks):
    for metrics in ranks.call(learn_badly):
        assert metrics.isfinite().tolist() == [False, True, True, True, True, True]


def learn_in_a_group_of_one(rank, changes):
    groups = [dist.new_group([each]) for each in range(2)]  # all processes make all groups
    problem = Problem(GroupReduction("alone", CPU, groups[rank]), changes)
    return torch.stack([problem.update(*problem.draw(k)) for k in range(UPDATES)]), problem.state


@pytest.mark.parametrize("case", ["sac", "flashsac"])
def test_a_reduction_over_one_process_changes_nothing(ranks, case):
    state, metrics = learn(0, 1, CASES[case], UPDATES)
    for found, after in ranks.call(learn_in_a_group_of_one, CASES[case]):
        tolerance = 0 if case == "sac" else 1e-5  # statistics of a batch go through float64
        assert_near((found, after), (metrics, state), tolerance)


def operators(rank, size, changes):
    """Names of those of which an update consists."""
    problem = Problem(reduction_of(size), changes)
    batch, noise = problem.draw(0)
    flat, form = pytree.tree_flatten((problem.state, batch[:-1], noise))

    def update(*flat):
        state, columns, noise = pytree.tree_unflatten(flat, form)
        return step.update(problem.algorithm, problem.hyper, state, Batch(*columns), noise)

    with torch.no_grad():
        return [str(node.target) for node in make_fx(update)(*flat).graph.nodes if node.op == "call_function"]


REDUCE = "fastsac.all_reduce.default"


def test_one_process_has_nothing_of_it(ranks):
    names = operators(0, 1, CASES["sac"])
    assert REDUCE not in names
    shared = Counter(ranks.call(operators, 2, CASES["sac"])[0])
    added = shared - Counter(names)
    assert not Counter(names) - shared
    assert added[REDUCE] == 1
    assert added.total() < 20  # put together, reduced, divided and taken apart again


def test_each_pass_of_an_update_reduces_its_gradients_once(ranks):
    orders = [{}, {"update_order": "actor-first"}]
    assert [ranks.call(operators, 2, order)[0].count(REDUCE) for order in orders] == [1, 2]
