"""Soft Q-learning with discrete actions: its value and policy by hand, its gradient, a small decision process."""

import math

import pytest
import torch

from fastsac.algorithms import losses, step
from fastsac.algorithms.algorithm import METRICS
from fastsac.algorithms.batch import Batch
from fastsac.algorithms.registry import resolve_algorithm
from fastsac.algorithms.sql_discrete import SqlDiscrete
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.learning.gradient_step import make_hyper
from tests.support.networks import output

O, A, B = 4, 3, 32
SPEC = EnvSpec("test:test", O, A, (("obs", O),), None, discrete=True)
CONFIG = Config(
    env="test:test", hidden_dims=(16, 16), batch_size=B, learning_starts=B, gamma=0.97, reward_scale=2.0,
    init_alpha=0.3,
)  # fmt: skip
CPU = torch.device("cpu")


def make(config=CONFIG, spec=SPEC):
    algorithm = SqlDiscrete(config, spec)
    hyper = {k: v[0] for k, v in make_hyper(algorithm, config, CPU).items()}
    return algorithm, hyper, step.init(algorithm, torch.tensor(1), config.init_alpha)


def make_batch(seed=0, obs_dim=O):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *s: torch.randn(*s, generator=generator)  # noqa: E731
    discount = CONFIG.gamma * (draw(B) > -0.5)
    return Batch(draw(B, obs_dim), losses.one_hot(draw(B, A)), draw(B), discount, draw(B, obs_dim))


def test_boltzmann_value_by_hand():
    q = torch.tensor([[1.0, 3.0]])
    assert losses.boltzmann_value(q, 0.5).item() == pytest.approx(0.5 * math.log(math.exp(2) + math.exp(6)))
    assert losses.boltzmann_value(q, 1e-4).item() == pytest.approx(3.0)  # the maximum, without overflow
    assert losses.boltzmann_value(q, 1e3).item() == pytest.approx(2 + 1e3 * math.log(2), rel=1e-5)  # mean and entropy


def test_value_is_that_of_its_own_policy():
    q = torch.randn(5, A, generator=torch.Generator().manual_seed(0))
    log_pi = torch.log_softmax(q / 0.3, -1)
    torch.testing.assert_close(losses.boltzmann_value(q, 0.3), losses.expected_value(q, log_pi, torch.tensor(0.3)))


def test_loss_metrics_and_gradient_beside_a_plain_reference():
    algorithm, hyper, state = make()
    batch = make_batch()
    critic = algorithm.learned["critic"].views(state["params"]["critic"])
    target = {name: 1.5 * value for name, value in critic.items()}

    leaves = {name: value.clone().requires_grad_() for name, value in critic.items()}
    with torch.no_grad():
        next_q = output(algorithm, "critic", target, batch.next_obs).amin(0)
        y = 2.0 * batch.reward + batch.discount * 0.3 * (next_q / 0.3).exp().sum(-1).log()
    q_all = output(algorithm, "critic", leaves, batch.obs)  # [E, B, A]
    q = torch.stack([q_all[:, i, batch.action[i].argmax()] for i in range(B)], 1)
    expected = 0.5 * ((q - y) ** 2).sum(0).mean()
    expected.backward()

    ours, (metrics, _) = torch.func.grad(
        lambda c: step.objective(algorithm, hyper, {"critic": c}, {"critic": target}, batch, torch.empty(0), "all"),
        has_aux=True,
    )(critic)
    rows = dict(zip(METRICS, metrics.tolist(), strict=True))
    policy = torch.distributions.Categorical(logits=q_all.detach().amin(0) / 0.3)
    assert rows["critic_loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert rows["q_mean"] == pytest.approx(q.mean().item(), rel=1e-5)
    assert rows["entropy"] == pytest.approx(policy.entropy().mean().item(), rel=1e-5)
    assert rows["alpha"] == pytest.approx(0.3)
    assert rows["actor_loss"] == rows["alpha_loss"] == 0
    for name, leaf in leaves.items():
        torch.testing.assert_close(ours[name], leaf.grad, rtol=1e-4, atol=1e-6)


def test_no_gradient_reaches_the_target():
    algorithm, hyper, state = make()
    views = algorithm.learned["critic"].views(state["params"]["critic"])
    inputs = (make_batch(), torch.empty(0))
    gradient = torch.func.grad(
        lambda t: step.objective(algorithm, hyper, {"critic": views}, {"critic": t}, *inputs, "all")[0]
    )(views)
    assert all((g == 0).all() for g in gradient.values())


def test_steps_between_those_of_an_actor_are_the_same_steps():
    algorithm, hyper, state = make(CONFIG.replace(actor_delay=4))
    assert algorithm.actor_delay == 1
    (one, with_actor), (other, without) = (
        step.update(algorithm, hyper, state, make_batch(), torch.empty(0), flag) for flag in (True, False)
    )
    assert torch.equal(one["params"]["critic"], other["params"]["critic"])
    assert torch.equal(with_actor[:2], without[:2])
    assert (without[2:] == 0).all()


def test_samples_follow_exp_q_by_alpha():
    algorithm, _, state = make()
    critic = state["params"]["critic"] * 3
    obs = torch.randn(1, O, generator=torch.Generator().manual_seed(0))
    q = algorithm.net("critic", critic)(obs).amin(0)[0]
    probabilities = torch.softmax(q / 0.3, -1)
    assert probabilities.max() - probabilities.min() > 0.1
    noise = torch.randn(50_000, A, generator=torch.Generator().manual_seed(1))
    frequencies = algorithm.act(critic, obs.expand(50_000, -1), noise).mean(0)
    torch.testing.assert_close(frequencies, probabilities, rtol=0, atol=4 * math.sqrt(0.25 / 50_000))
    assert algorithm.act(critic, obs, None)[0].argmax() == q.argmax()


def test_learns_the_soft_values_of_a_small_decision_process():
    """Two states that action 0 and 1 lead to; action 2 ends.  Soft value iteration gives the same Q."""
    gamma, alpha = 0.8, 0.5
    reward = torch.tensor([[0.0, 1.0, 0.5], [2.0, -1.0, 0.0]])  # [state, action]
    next_state = torch.tensor([[0, 1, 0], [0, 1, 0]])
    discount = gamma * torch.tensor([1.0, 1.0, 0.0])
    exact = torch.zeros(2, A)
    for _ in range(200):
        exact = reward + discount * (alpha * torch.logsumexp(exact / alpha, -1))[next_state]

    config = CONFIG.replace(gamma=gamma, init_alpha=alpha, reward_scale=1.0, tau=0.1, critic_lr=1e-2)
    algorithm, hyper, state = make(config, EnvSpec("test:test", 2, A, (("obs", 2),), None, discrete=True))
    s, a = torch.arange(6) // A, torch.arange(6) % A
    eye, actions = torch.eye(2), torch.eye(A)
    batch = Batch(eye[s], actions[a], reward[s, a], discount[a], eye[next_state[s, a]])
    for _ in range(400):
        state, _ = step.update(algorithm, hyper, state, batch, torch.empty(0))
    q = algorithm.net("critic", state["params"]["critic"])(eye)  # [E, 2, A]
    torch.testing.assert_close(q, exact.expand_as(q), rtol=0, atol=0.02)


def test_sql_means_the_form_that_fits_the_actions():
    assert resolve_algorithm("sql", discrete=True) == resolve_algorithm("sql-discrete", discrete=True) == "sql-discrete"
    assert resolve_algorithm("sql", discrete=False) == "sql"
    assert resolve_algorithm("sql-discrete", discrete=False) == "sql-discrete"  # which the plan refuses
