"""The losses of all algorithms as pure functions of tensors.  They know no networks, no gamma and no `done`.

Axes: B batch, E critics, A action_dim or number of actions, K samples of an action.

Per-sample values are [B], losses too: their mean is what is minimised.  `reward` [B] is the sum over an n-step window,
`discount` [B] is gamma^n * (1 - terminated), `alpha` [] is above 0, `q` is [E, B] unless said otherwise.  Equation
numbers are those of arXiv 1812.05905 (Haarnoja et al., Soft Actor-Critic Algorithms and Applications) where no other
paper is named.
"""

import math
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor


def tanh_normal(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Actions [B, A] of a tanh-squashed Gaussian and their log-density [B] (appendix C, equation 26).

    a = tanh(u), u = mean + exp(log_std) * noise, and log p(a) = log N(u) - sum_i log(1 - tanh(u_i)^2).  All arguments
    are [B, A], noise is standard normal.
    """
    u = mean + log_std.exp() * noise  # [B, A]
    log_normal = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    return torch.tanh(u), (log_normal - log_tanh_slope(u)).sum(-1)


def log_tanh_slope(u: Tensor) -> Tensor:
    """log(1 - tanh(u)^2) of every element as 2 (log 2 - u - softplus(-2u)), exact where the textbook form saturates."""
    return 2 * (math.log(2) - u - F.softplus(-2 * u))


def normal_entropy(sigma: float, action_dim: int) -> float:
    """Entropy in nats of a Gaussian with standard deviation `sigma` in A dimensions, A/2 log(2 pi e sigma^2)."""
    return 0.5 * action_dim * math.log(2 * math.pi * math.e * sigma**2)


def uniform(noise: Tensor) -> Tensor:
    """Uniform in [-1, 1], of standard normal noise: twice its distribution function, less 1."""
    return torch.erf(noise / math.sqrt(2))


def min_q(q: Tensor) -> Tensor:
    """min_e Q_e, [B] of q [E, B], as elementwise minima: cheaper to differentiate than a reduction."""
    return reduce(torch.minimum, q.unbind(0))


def td_target(reward: Tensor, discount: Tensor, next_q: Tensor, next_log_prob: Tensor, alpha: Tensor) -> Tensor:
    """Soft Bellman target y = r + discount * (min_e Q_e(s', a') - alpha log pi(a'|s')), [B] (equations 2, 3 and 5).

    next_q is of the target critics, alpha from before this update's alpha step; gradients are stopped.
    """
    return bootstrap(reward, discount, min_q(next_q) - alpha * next_log_prob)


def bootstrap(reward: Tensor, discount: Tensor, next_value: Tensor) -> Tensor:
    """y = r + discount * V(s'), [B]; gradients are stopped."""
    return (reward + discount * next_value).detach()


def window_entropy(discount: Tensor, entropy: Tensor, alpha: Tensor | float) -> Tensor:
    """sum_k gamma^k alpha H(pi(.|s_k)) over k = 1 ... n-1, [B]: what a soft n-step return has beside its rewards.

    The n-step soft Bellman operator on Q counts the entropy at every state after the first up to the last, and the last
    one's is in its value: y = sum_k gamma^k r_k + this + gamma^n V(s_n).  Under the policy's own actions y is then
    an unbiased estimate of Q; without this term it lacks the entropy, and the critics learn a value for less of it.

    Args:
        discount: [n - 1, B], gamma^k, or 0 where the window has ended before.
        entropy: [n - 1, B], or -log pi(a|s_k) of an action drawn from the policy, whose mean it is.
        alpha: [].
    """
    return (discount * alpha * entropy).sum(0)


def critic_loss(q: Tensor, target_q: Tensor) -> Tensor:
    """J_Q = sum_e 1/2 (Q_e - y)^2, [B] (equation 5), for y [B]."""
    return 0.5 * (q - target_q).square().sum(0)


def actor_loss(log_prob: Tensor, q: Tensor, alpha: Tensor) -> Tensor:
    """J_pi = alpha log pi(a|s) - Q(s, a), [B] (equation 9); q [B] has gradient to the action only."""
    return alpha.detach() * log_prob - q


def alpha_loss(log_alpha: Tensor, log_prob: Tensor, target_entropy: Tensor) -> Tensor:
    """J(alpha) = -log_alpha (log pi(a|s) + target_entropy), [B] (equation 18, on log_alpha); entropies are in nats."""
    return -log_alpha * (log_prob.detach() + target_entropy)


# Distributions over W atoms; equation numbers are those of arXiv 1707.06887 (Bellemare et al., C51) -----------------


def least(prob: Tensor, q: Tensor) -> Tensor:
    """Of distributions [E, B, W] the one whose value is the least, [B, W]; the first of several.  q is [E, B]."""
    pairs = zip(prob.unbind(0), q.unbind(0), strict=True)
    return reduce(
        lambda a, b: (torch.where((b[1] < a[1]).unsqueeze(-1), b[0], a[0]), torch.minimum(a[1], b[1])), pairs
    )[0]


def two_hot(place: Tensor, num_atoms: int) -> Tensor:
    """Numbers [...] in [0, W - 1] as weights of the two atoms next to them, [..., W]: 2.3 is 0.7 of 2 and 0.3 of 3."""
    atoms = torch.arange(num_atoms, dtype=place.dtype, device=place.device)
    return (1 - (place.unsqueeze(-1) - atoms).abs()).clamp(min=0)


def project(prob: Tensor, place: Tensor) -> Tensor:
    """A distribution whose atoms have moved, on the atoms as they were, [..., B, W] (equation 7).

    Every output atom takes its share of every moved one, a sum of W terms without scatter, which compiles to one loop.

    Args:
        prob: [..., B, W].
        place: where each atom of these lies now, [B, W], in [0, W - 1].
    """
    return (prob.unsqueeze(-1) * two_hot(place, prob.shape[-1])).sum(-2)


# Discrete actions: q and log_pi are [B, A].  Equation numbers are those of arXiv 1910.07207 -------------------------


def expected_value(q: Tensor, log_pi: Tensor, alpha: Tensor) -> Tensor:
    """V(s) = sum_a pi(a|s) (Q(s, a) - alpha log pi(a|s)), [B] (equation 10); its negative is J_pi (equation 12)."""
    return (log_pi.exp() * (q - alpha.detach() * log_pi)).sum(-1)


def entropy(log_pi: Tensor) -> Tensor:
    """-sum_a pi(a|s) log pi(a|s), [B]."""
    return -(log_pi.exp() * log_pi).sum(-1)


def one_hot(score: Tensor) -> Tensor:
    """1 where score [B, A] is greatest in its row, else 0; the first of several."""
    choices = torch.arange(score.shape[-1], device=score.device)
    return (choices == score.argmax(-1, keepdim=True)).to(score.dtype)


def gumbel(noise: Tensor) -> Tensor:
    """Gumbel-distributed numbers of standard normal ones: argmax(logits + gumbel) is a sample of softmax(logits)."""
    uniform = torch.special.ndtr(noise).clamp(1e-7, 1 - 1e-7)  # the ends are at 5 standard deviations
    return -torch.log(-torch.log(uniform))


# Soft Q-learning; equation numbers are those of arXiv 1702.08165 ---------------------------------------------------


def boltzmann_value(q: Tensor, alpha: Tensor | float) -> Tensor:
    """V(s) = alpha log sum_a exp(Q(s, a) / alpha), [B], of q [B, A] (equation 5): the maximum as alpha -> 0.

    It counts from the entropy 0: with all Q equal, V = Q + alpha log A.
    """
    return alpha * torch.logsumexp(q / alpha, -1)


def sampled_value(q: Tensor, log_proposal: Tensor | float, alpha: Tensor | float) -> Tensor:
    """V(s) = alpha log mean_k exp(Q(s, a_k) / alpha) / p(a_k), a_k drawn from p, [B] (equation 10).

    The mean is unbiased and its logarithm is not: V comes out low, the more so the fewer the proposals and the larger
    A and the range of Q / alpha are.  q is [K, B], of K proposals for each state, log_proposal = log p(a_k) broadcasts.
    """
    return alpha * (torch.logsumexp(q / alpha - log_proposal, 0) - math.log(q.shape[0]))


def sampled_entropy(q: Tensor, log_proposal: Tensor | float, alpha: Tensor | float) -> Tensor:
    """Entropy of pi = exp((Q - V) / alpha), [B]: E_pi[(V - Q) / alpha] with V and pi from the K proposals of that V.

    An estimate by self-normalised weights; it cannot be lower than log(1 / p) - log K.
    """
    weight = torch.softmax(q / alpha - log_proposal, 0)  # [K, B]
    return (sampled_value(q, log_proposal, alpha) - (weight * q).sum(0)) / alpha


def stein_direction(fixed: Tensor, moved: Tensor, score: Tensor, alpha: Tensor | float) -> Tensor:
    """Delta(x) = mean_j [k(y_j, x) alpha grad log p(y_j) + alpha grad_y k(y_j, x)] (equation 13), gradients stopped.

    k(y, x) = exp(-|y - x|^2 / h), h = (mean of |y - x|^2) / log(F + 1) for each state: the customary bandwidth with the
    mean in place of the median, a reduction instead of a sort.

    Args:
        fixed: y, [F, B, A], particles that stand for the expectation.
        moved: x, [K, B, A], other particles of the same sampler.
        score: alpha grad log p at the fixed ones, [F, B, A]; grad Q where p is proportional to exp(Q / alpha).
        alpha: [].

    Returns:
        [K, B, A], the way uphill for each of `moved`.
    """
    diff = (fixed.unsqueeze(1) - moved.unsqueeze(0)).detach()  # [F, K, B, A]
    square = diff.square().sum(-1)  # [F, K, B]
    bandwidth = (square.mean((0, 1)) / math.log(fixed.shape[0] + 1)).clamp(min=1e-6)  # [B]
    kernel = (-square / bandwidth).exp().unsqueeze(-1)  # [F, K, B, 1]
    repulsion = -2 * alpha * diff / bandwidth.unsqueeze(-1)  # [F, K, B, A]
    return (kernel * (score.unsqueeze(1) + repulsion)).mean(0).detach()


# SAC v1; equation numbers are those of arXiv 1801.01290 ------------------------------------------------------------
# Its Q target is `bootstrap` with the target of V (equation 8), J_Q is `critic_loss` (equation 7), J_pi `actor_loss`
# (equations 12 and 13, whose alpha is 1).


def value_target(q: Tensor, log_prob: Tensor, alpha: Tensor) -> Tensor:
    """min_e Q_e(s, a) - alpha log pi(a|s), a drawn from pi, [B] (equations 3 and 5); gradients are stopped."""
    return (min_q(q) - alpha * log_prob).detach()


def value_loss(value: Tensor, target_value: Tensor) -> Tensor:
    """J_V = 1/2 (V(s) - target)^2, [B] (equation 5)."""
    return 0.5 * (value - target_value).square()
