"""Normalisation layers beside torch's."""

import pytest
import torch

from fastsac.nn.norms import MOMENTUM, Stats, batch_norm, rms_norm

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


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_rms_norm_is_torchs(call, size):
    x, scale = size * draw(7, H), draw(1, H, seed=1)
    expected = torch.nn.functional.rms_norm(x, (H,), scale[0], eps=1e-6)
    torch.testing.assert_close(call(rms_norm, x, scale), expected)
