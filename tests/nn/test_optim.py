"""Adam against torch.optim.Adam; clipping and Polyak by hand-computed numbers."""

import torch

from fastsac.nn import optim


def test_adam_equals_torch_adam_over_20_steps(call):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(50, generator=generator)
    reference = start.clone().requires_grad_()
    adam = torch.optim.Adam([reference], lr=3e-3)
    param, moments = start, optim.Moments(torch.zeros(50), torch.zeros(50))

    def adam_step(param, grad, moments, step):
        return optim.adam(param, grad, moments, optim.bias_correction(step), torch.tensor(3e-3))

    for step in range(1, 21):
        grad = torch.randn(50, generator=generator) * 10.0 ** (step % 5 - 2)
        reference.grad = grad.clone()
        adam.step()
        param, moments = call(adam_step, param, grad, moments, torch.tensor(step))
        torch.testing.assert_close(param, reference.detach(), rtol=1e-6, atol=1e-7)


def test_clip_scales_to_the_norm_and_leaves_small_gradients_alone(call):
    torch.testing.assert_close(call(optim.clip, torch.tensor([3.0, 4.0]), 1.0), torch.tensor([0.6, 0.8]))
    small = torch.tensor([0.3, 0.4])
    assert torch.equal(call(optim.clip, small, 1.0), small)


def test_polyak_moves_by_tau(call):
    out = call(optim.polyak, torch.tensor([0.0, 10.0]), torch.tensor([1.0, 0.0]), torch.tensor(0.25))
    assert out.tolist() == [0.25, 7.5]
