"""Normalisation layers beside torch's."""

import pytest
import torch

from fastsac.nn.norms import MOMENTUM, Stats, batch_norm, rms_norm
from fastsac.nn.reduction import ALONE
from tests.support.ranks import part_of, reduction_of

H = 5


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def torch_batch_norm(scale, shift):
    """torch's, with running statistics at 0 and 1."""
    module = torch.nn.BatchNorm1d(H, momentum=MOMENTUM)
    module.load_state_dict({**module.state_dict(), "weight": scale[0], "bias": shift[0]})
    return module


def fresh():
    return Stats(torch.zeros(1, H), torch.ones(1, H))


def test_batch_norm_is_torchs_in_training_and_after(call):
    scale, shift, running = draw(1, H), draw(1, H, seed=1), fresh()
    reference = torch_batch_norm(scale, shift)
    for seed in range(3):
        x = 3 + 2 * draw(7, H, seed=seed)
        out, running = call(lambda x, r: batch_norm(x, scale, shift, r, training=True), x, running)
        torch.testing.assert_close(out, reference(x))
    torch.testing.assert_close(running.mean[0], reference.running_mean)
    torch.testing.assert_close(running.var[0], reference.running_var)
    x, after = draw(4, H, seed=9), running
    out, after = call(lambda x, r: batch_norm(x, scale, shift, r, training=False), x, running)
    torch.testing.assert_close(out, reference.eval()(x))
    assert torch.equal(after.mean, running.mean)


def test_the_gradient_goes_through_the_statistics():
    scale, shift, x, weight = draw(1, H), draw(1, H, seed=1), draw(7, H, seed=2), draw(7, H, seed=3)
    grad = torch.func.grad(lambda x: (batch_norm(x, scale, shift, fresh(), training=True)[0] * weight).sum())(x)
    x.requires_grad_()
    (torch_batch_norm(scale, shift)(x) * weight).sum().backward()
    torch.testing.assert_close(grad, x.grad, atol=1e-5, rtol=1e-5)


def test_an_ensemble_has_statistics_of_each():
    x, scale, shift = draw(2, 7, H), draw(2, 1, H, seed=1), draw(2, 1, H, seed=2)
    running = Stats(torch.zeros(2, 1, H), torch.ones(2, 1, H))
    out, moved = batch_norm(x, scale, shift, running, training=True)
    for e in range(2):
        alone, after = batch_norm(x[e], scale[e], shift[e], fresh(), training=True)
        torch.testing.assert_close(out[e], alone)
        torch.testing.assert_close(moved.var[e], after.var)


def norm_part(rank, size, x, scale, shift, weight):
    """Outputs and running statistics of a part of a batch, and the gradient of a loss that sees it."""
    over = reduction_of(size)

    def loss(x):
        out, moved = batch_norm(x, scale, shift, fresh(), training=True, reduction=over)
        return over.mean((out * part_of(rank, size, weight)).mean()), (out, *moved)

    grad, (out, mean, var) = torch.func.grad(loss, has_aux=True)(part_of(rank, size, x))
    return out, grad / size, mean, var


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (1e3, 1.0), (-7.0, 1e-3)])
def test_parts_of_a_batch_have_the_statistics_of_the_whole(ranks, mean, deviation):
    x = mean + deviation * draw(12, H).sort(0).values  # the parts differ
    scale, shift, weight = draw(1, H), draw(1, H, seed=1), draw(12, H, seed=2)
    whole = norm_part(0, 1, x, scale, shift, weight)
    first, second = ranks.call(norm_part, 2, x, scale, shift, weight)
    tolerance = 1e-5 if mean == 0 else 1e-3  # of float32, beside a mean
    for index in range(2):
        torch.testing.assert_close(
            torch.cat([first[index], second[index]]), whole[index], rtol=tolerance, atol=tolerance
        )
    for index in (2, 3):
        assert torch.equal(first[index], second[index])
        torch.testing.assert_close(first[index], whole[index], rtol=1e-5, atol=0)


def test_equal_numbers_have_no_variance_in_parts(ranks):
    x = torch.full((4, H), 1e6)
    for _, _, _, var in ranks.call(norm_part, 2, x, torch.ones(1, H), torch.zeros(1, H), x):
        assert torch.equal(var, torch.full((1, H), 1 - MOMENTUM))


def test_a_process_alone_reduces_nothing():
    x = draw(3)
    assert ALONE.size == 1
    assert ALONE.mean(x) is ALONE.sum(x) is ALONE.max(x) is x


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_rms_norm_is_torchs(call, size):
    x, scale = size * draw(7, H), draw(1, H, seed=1)
    expected = torch.nn.functional.rms_norm(x, (H,), scale[0], eps=1e-6)
    torch.testing.assert_close(call(rms_norm, x, scale), expected)
