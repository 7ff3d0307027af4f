"""Sums, means and maxima over processes, and gradients through them."""

from functools import partial

import pytest
import torch

from fastsac.runtime.launch import Launch
from fastsac.runtime.reduction import GroupReduction, GroupTally
from tests.support.graph_recorder import GraphRecorder
from tests.support.ranks import CPU, part_of, reduction_of

B, K, O = 10, 4, 3


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mine(rank, seed=0):
    return draw(2, 5, 3, seed=seed).unbind(0)[rank].T  # not contiguous


def reduce_all(rank):
    over, x = reduction_of(2), mine(rank)
    kept = x.clone()
    results = [over.mean(x), over.sum(x), over.max(x), over.sum(torch.tensor([rank, 7])), over.mean(x.double())]
    assert torch.equal(x, kept)
    return over.size, results


def test_results_are_those_of_all_processes_and_equal_on_each(ranks):
    (size, first), (_, second) = ranks.call(reduce_all)
    assert size == 2
    a, b = mine(0), mine(1)
    expected = [(a + b) / 2, a + b, torch.maximum(a, b), torch.tensor([1, 14]), (a.double() + b.double()) / 2]
    for result, other, right in zip(first, second, expected, strict=True):
        assert torch.equal(result, other)
        assert torch.equal(result, right)


def loss(reduction, w, x):
    """Of a network that subtracts the mean of the batch, squared: every process's loss depends on all data."""
    h = torch.tanh(x @ w)
    centred = h - reduction.mean(h.mean(0))
    return (centred**4).mean()


def gradient_step_(reduction, w, x):
    grad = torch.func.grad(partial(loss, reduction))(w, x)
    w.sub_(reduction.mean(grad))


def steps(rank, size, mode):
    """Parameters after three gradient steps, which are run as `mode` says."""
    w, x = draw(K, O, seed=1), part_of(rank, size, draw(B, K, seed=2))
    step = partial(gradient_step_, reduction_of(size))
    if mode == "recorded":
        with torch.no_grad():
            again = GraphRecorder().record(lambda: step(w, x))
        for _ in range(3):
            again()
        return w
    launch = Launch(step, {0: (w, x)}, [w], mode)
    launch.warm_up([0])
    launch([0, 0, 0])
    return w


@pytest.mark.parametrize(
    "mode", ["eager", "recorded", pytest.param("compiled", marks=pytest.mark.slow)]
)  # fmt: skip
def test_gradients_are_those_of_one_process_with_all_data(ranks, mode):
    whole = steps(0, 1, "eager")
    first, second = ranks.call(steps, 2, mode)
    assert torch.equal(first, second)
    assert not torch.equal(first, draw(K, O, seed=1))
    torch.testing.assert_close(first, whole, rtol=1e-6, atol=1e-6)


def differentiate(rank):
    x = mine(rank).clone().requires_grad_()
    weight = draw(3, 5, seed=5 + rank)
    (reduction_of(2).mean(x) * weight).sum().backward()
    return x.grad


def test_the_gradient_of_a_mean_is_the_mean_of_gradients(ranks):
    right = (draw(3, 5, seed=5) + draw(3, 5, seed=6)) / 2
    for grad in ranks.call(differentiate):
        torch.testing.assert_close(grad, right)


def trace(rank):
    over, x = reduction_of(2), torch.zeros(4, 6, device="meta").T
    return [(y.shape, y.device.type, y.is_contiguous()) for y in (over.mean(x), over.sum(x), over.max(x))]


def test_shapes_are_known_without_numbers(ranks):
    for found in ranks.call(trace):
        assert found == [((6, 4), "meta", True)] * 3


def tally(rank):
    waited = []

    def wait(work):
        waited.append(work)
        work.wait()

    both, sums = GroupTally(wait=wait), []
    over = GroupReduction("beside", CPU)
    for step in range(3):
        both.begin([step, rank])
        over.sum(torch.ones(1))  # while the other is under way
        sums.append(both.finish())
    both.begin([100, 100])
    both.begin([7, 8])  # drops what was begun
    beside = both.add_up(10 + rank)
    return [*sums, both.finish(), beside], len(waited)


def test_whole_numbers_are_added_up_beside_other_work(ranks):
    for found in ranks.call(tally):
        assert found == ([[0, 1], [2, 1], [4, 1], [14, 16], 21], 6)
