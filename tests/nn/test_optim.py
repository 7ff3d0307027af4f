"""Adam and its schedules against torch.optim's; clipping and Polyak by hand-computed numbers."""

import math

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR

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


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_schedule_of_the_learning_rate_equals_torch_s(schedule, call):
    generator = torch.Generator().manual_seed(0)
    start, lr, final, num_steps = torch.randn(50, generator=generator), 3e-3, 0.2, 10
    reference = start.clone().requires_grad_()
    adam = torch.optim.Adam([reference], lr=lr)
    scheduler = {
        "linear": LinearLR(adam, start_factor=1.0, end_factor=final, total_iters=num_steps),
        "cosine": CosineAnnealingLR(adam, T_max=num_steps, eta_min=final * lr),
    }[schedule]
    param, moments = start, optim.Moments(torch.zeros(50), torch.zeros(50))

    def scheduled_step(param, grad, moments, done):
        factor = optim.lr_factor(schedule, done, torch.tensor(float(num_steps)), torch.tensor(final))
        return optim.adam(param, grad, moments, optim.bias_correction(done + 1, factor), torch.tensor(lr))

    for done in range(num_steps + 1):
        grad = torch.randn(50, generator=generator)
        reference.grad = grad.clone()
        adam.step()
        scheduler.step()
        param, moments = call(scheduled_step, param, grad, moments, torch.tensor(done))
        torch.testing.assert_close(param, reference.detach(), rtol=1e-6, atol=1e-7)


def test_adam_with_decay_and_betas_equals_torch_adamw_over_20_steps(call):
    generator = torch.Generator().manual_seed(0)
    start, lr, weight_decay, betas = torch.randn(50, generator=generator), 1e-2, 0.5, optim.Betas(0.7, 0.95)
    reference = start.clone().requires_grad_()
    adam = torch.optim.AdamW([reference], lr, betas, weight_decay=weight_decay)
    param, moments = start, optim.Moments(torch.zeros(50), torch.zeros(50))

    def adam_step(param, grad, moments, step):
        correction = optim.bias_correction(step, betas=betas)
        decay = torch.tensor(lr * weight_decay)
        return optim.adam(param, grad, moments, correction, torch.tensor(lr), betas, decay)

    for step in range(1, 21):
        grad = torch.randn(50, generator=generator)
        reference.grad = grad.clone()
        adam.step()
        param, moments = call(adam_step, param, grad, moments, torch.tensor(step))
    torch.testing.assert_close(param, reference.detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("schedule", "expected"), [("linear", [1.0, 0.775, 0.55]), ("cosine", [1.0, 0.868198, 0.55])])
def test_a_schedule_goes_to_its_last_value_and_stays_there(schedule, expected):
    factor = optim.lr_factor(schedule, torch.tensor([0, 1, 2, 4, 9]), torch.tensor(4.0), torch.tensor(0.1))
    torch.testing.assert_close(factor, torch.tensor([*expected, 0.1, 0.1], dtype=torch.float64), rtol=1e-6, atol=0)


def test_clip_scales_to_the_norm_and_leaves_small_gradients_alone(call):
    one = torch.tensor(1.0)
    torch.testing.assert_close(call(optim.clip, torch.tensor([3.0, 4.0]), one), torch.tensor([0.6, 0.8]))
    small = torch.tensor([0.3, 0.4])
    for max_norm in (1.0, math.inf):
        assert torch.equal(call(optim.clip, small, torch.tensor(max_norm)), small)


def test_polyak_moves_by_tau(call):
    out = call(optim.polyak, torch.tensor([0.0, 10.0]), torch.tensor([1.0, 0.0]), torch.tensor(0.25))
    assert out.tolist() == [0.25, 7.5]
