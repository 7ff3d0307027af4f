"""Losses by hand-computed numbers; the squashed Gaussian against torch.distributions."""

import math

import pytest
import torch
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from fastsac.algorithms import losses


def test_td_target_by_hand(call):
    reward = torch.tensor([1.0, 2.0])
    discount = torch.tensor([0.9, 0.0])  # the second terminated
    next_q = torch.tensor([[3.0, 100.0], [2.0, 200.0]])
    next_log_prob = torch.tensor([-1.0, -7.0])
    target = call(losses.td_target, reward, discount, next_q, next_log_prob, torch.tensor(0.5))
    torch.testing.assert_close(target, torch.tensor([1 + 0.9 * (2 + 0.5), 2.0]))


def test_td_target_stops_gradients():
    leaves = [torch.ones(2, requires_grad=True) for _ in range(3)]
    q = torch.ones(2, 2, requires_grad=True)
    target = losses.td_target(leaves[0], leaves[1], q, leaves[2], torch.tensor(1.0, requires_grad=True))
    assert not target.requires_grad


def test_least_of_three_critics_and_its_gradient_by_hand(call):
    q = torch.tensor([[1.0, 5.0], [2.0, 4.0], [0.0, 6.0]])
    grad, least = call(torch.func.grad(lambda q: (losses.min_q(q).sum(), losses.min_q(q)), has_aux=True), q)
    assert least.tolist() == [0.0, 4.0]
    assert grad.tolist() == [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]]


def test_critic_loss_by_hand(call):
    q = torch.tensor([[1.0, 2.0], [0.0, 4.0]])
    target = torch.tensor([2.0, 2.0])
    # transition 1: (1 + 4) / 2; transition 2: (0 + 4) / 2
    assert call(losses.critic_loss, q, target).tolist() == [2.5, 2.0]


def test_actor_loss_by_hand(call):
    log_prob = torch.tensor([-1.0, 3.0])
    q = torch.tensor([1.0, 4.0])
    assert call(losses.actor_loss, log_prob, q, torch.tensor(0.5)).tolist() == [-0.5 - 1, 1.5 - 4]


def test_alpha_loss_and_its_gradients_by_hand(call):
    def loss(log_alpha, log_prob):
        return losses.alpha_loss(log_alpha, log_prob, torch.tensor(-2.0)).mean()

    args = torch.tensor(0.3), torch.tensor([1.0, 2.0])
    (of_alpha, of_log_prob), value = call(torch.func.grad_and_value(loss, argnums=(0, 1)), *args)
    assert value.item() == pytest.approx(-0.3 * (1.5 - 2.0))
    assert of_alpha.item() == pytest.approx(0.5)  # entropy -1.5 is above -2: alpha falls
    assert not of_log_prob.any()


def test_log_prob_equals_torch_where_that_is_stable(call):
    generator = torch.Generator().manual_seed(1)
    mean, log_std, noise = (torch.randn(1000, 3, generator=generator, dtype=torch.float64) * s for s in (1, 0.5, 1))
    action, log_prob = call(losses.tanh_normal, mean, log_std, noise)
    reference = TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform(cache_size=1))
    u = mean + log_std.exp() * noise
    squashed = reference.transforms[0](u)
    torch.testing.assert_close(action, squashed)
    torch.testing.assert_close(log_prob, reference.log_prob(squashed).sum(-1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("u", [20.0, -20.0, 60.0])
def test_log_prob_is_finite_and_right_in_the_tails(call, u):
    def log_prob_of(mean):
        return losses.tanh_normal(mean, torch.zeros(1, 1), torch.zeros(1, 1))[1].sum()

    grad, log_prob = call(torch.func.grad_and_value(log_prob_of), torch.full((1, 1), u))
    # log(1 - tanh(u)^2) is 2 log 2 - 2|u| up to 1e-17 there.
    expected = -0.5 * math.log(2 * math.pi) - (2 * math.log(2) - 2 * abs(u))
    assert log_prob.item() == pytest.approx(expected, rel=1e-6)
    assert grad.isfinite().all()
