"""Critics' heads by numbers worked out by hand."""

import math

import pytest
import torch

from fastsac.algorithms import losses
from fastsac.algorithms.heads.categorical import Categorical
from fastsac.algorithms.heads.scalar import Scalar

HEAD = Categorical(-2.0, 2.0, 5)  # atoms -2, -1, 0, 1, 2
OWN = Categorical(-2.0, 2.0, 5, own_targets=True)
ZERO = torch.tensor(0.0)


def logits(*probs):
    """Logits [..., W] of probabilities."""
    return torch.tensor(probs).log()


def t(*numbers):
    return torch.tensor(numbers)


def test_the_value_is_the_mean_of_the_distribution(call):
    out = logits([0.1, 0.2, 0.4, 0.2, 0.1], [0.0, 0.0, 0.0, 0.25, 0.75])
    torch.testing.assert_close(call(HEAD.value, out), t(0.0, 1.75))


def test_two_hot_shares_a_number_between_its_neighbours(call):
    expected = t([0.0, 0.0, 0.7, 0.3, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0, 0.0])
    torch.testing.assert_close(call(losses.two_hot, t(2.3, 4.0, 0.0), 5), expected)


def test_a_target_moves_shrinks_and_is_shared_between_atoms(call):
    """0.5 at -1 and 0.5 at 2, with r = 0.4, discount 0.5 and alpha log pi = 0.2: to -0.2 and 1.3."""
    out = logits([0.0, 0.5, 0.0, 0.0, 0.5])[None]  # [E = 1, B = 1, W]
    target = call(HEAD.target, t(0.4), t(0.5), out, t(2.0), torch.tensor(0.1))
    torch.testing.assert_close(target, t([0.0, 0.5 * 0.2, 0.5 * 0.8, 0.5 * 0.7, 0.5 * 0.3]))


def test_a_terminated_transition_has_all_weight_at_its_reward_and_what_is_beyond_at_the_end(call):
    out = logits([0.2] * 5, [0.2] * 5)[None]
    target = call(HEAD.target, t(-0.25, 7.0), t(0.0, 1.0), out, t(3.0, 0.0), torch.tensor(0.5))
    torch.testing.assert_close(target, t([0.0, 0.25, 0.75, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]))


def test_the_target_is_of_the_critic_with_the_smaller_value_row_by_row(call):
    high, low = [0.0, 0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0, 0.0]
    out = torch.stack([logits(high, low), logits(low, high)])  # [E, B, W]: the other way round in the second row
    torch.testing.assert_close(call(HEAD.target, t(0.0, 0.0), t(1.0, 1.0), out, t(0.0, 0.0), ZERO), t(low, low))
    own = call(OWN.target, t(0.0, 0.0), t(1.0, 1.0), out, t(0.0, 0.0), ZERO)
    torch.testing.assert_close(own, torch.stack([t(high, low), t(low, high)]))


def test_the_loss_is_the_cross_entropy_summed_over_critics(call):
    out = torch.stack([logits([0.5, 0.5, 0.0, 0.0, 0.0]), logits([0.25, 0.25, 0.25, 0.125, 0.125])]).clamp(min=-50)
    target = t([0.5, 0.5, 0.0, 0.0, 0.0])
    expected = math.log(2) + math.log(4)
    torch.testing.assert_close(call(HEAD.loss, out, target), t(expected))
    own = torch.stack([target, t([0.0, 0.0, 0.0, 0.0, 1.0])])
    torch.testing.assert_close(call(OWN.loss, out, own), t(math.log(2) + math.log(8)))


def test_values_as_targets_are_shared_between_atoms(call):
    """For algorithms whose targets are values: 0.5 lies between 0 and 1."""
    out = logits([0.1, 0.1, 0.2, 0.5, 0.1])[None]
    torch.testing.assert_close(
        call(lambda out, value: HEAD.loss(out, HEAD.encode(value)), out, t(0.5)),
        t(-0.5 * math.log(0.2) - 0.5 * math.log(0.5)),
    )


def test_scalar_critics_may_have_targets_of_their_own(call):
    out = t(1.0, 3.0).view(2, 1, 1)
    told = (t(0.5), t(0.5), out, t(2.0), torch.tensor(0.25))  # r, discount, Q, log pi, alpha
    torch.testing.assert_close(call(Scalar().target, *told), t(0.5 + 0.5 * (1.0 - 0.5)))
    own = Scalar(own_targets=True)
    torch.testing.assert_close(call(own.target, *told), t(0.5 + 0.5 * 0.5, 0.5 + 0.5 * 2.5).view(2, 1))
    loss = call(own.loss, t(0.75, 2.75).view(2, 1, 1), call(own.target, *told))  # both are 0 from 0.75, and 1 from 1.75
    torch.testing.assert_close(loss, t(0.5))


@pytest.mark.parametrize("num_atoms", [5, 51])
def test_the_mean_of_a_projected_distribution_is_the_target_of_its_value(call, num_atoms):
    """As long as nothing is clamped, projecting keeps the mean: y = r + discount * (Q - alpha log pi)."""
    head = Categorical(-10.0, 10.0, num_atoms)
    out = torch.randn(2, 8, num_atoms, generator=torch.Generator().manual_seed(0))
    told = (torch.linspace(-1, 1, 8), torch.linspace(0, 0.9, 8))
    log_prob, alpha = torch.linspace(-2, 2, 8), torch.tensor(0.2)
    mean = head.value(call(head.target, *told, out, log_prob, alpha).log())
    torch.testing.assert_close(mean, losses.td_target(*told, head.value(out), log_prob, alpha), atol=1e-5, rtol=1e-5)
