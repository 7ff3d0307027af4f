"""Soft Q-learning with continuous actions: its value beside an integral, Stein's direction, whom gradients reach."""

import math

import pytest
import torch

from fastsac.algorithms import losses, step
from fastsac.algorithms.algorithm import METRICS
from fastsac.algorithms.batch import Batch
from fastsac.algorithms.sql import Sql
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.learning.gradient_step import make_hyper
from fastsac.nn.network import Net
from tests.support.networks import output, views_of

O, A, B = 3, 2, 32
SPEC = EnvSpec("test:test", O, A, (("obs", O),), None)
CONFIG = Config(
    env="test:test", hidden_dims=(16, 16), batch_size=B, learning_starts=B, gamma=0.97, reward_scale=2.0,
    init_alpha=0.3,
)  # fmt: skip
CPU = torch.device("cpu")


def make(config=CONFIG, spec=SPEC):
    algorithm = Sql(config, spec)
    hyper = {k: v[0] for k, v in make_hyper(algorithm, config, CPU).items()}
    return algorithm, hyper, step.init(algorithm, torch.tensor(1), config.init_alpha)


def make_inputs(algorithm, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *s: torch.randn(*s, generator=generator)  # noqa: E731
    action = torch.tanh(draw(B, algorithm.action_dim))
    discount = CONFIG.gamma * (draw(B) > -0.5)
    batch = Batch(draw(B, algorithm.encoder.obs_dim), action, draw(B), discount, draw(B, algorithm.encoder.obs_dim))
    return batch, draw(*algorithm.noise_shape(B))


def q_of(algorithm, critic, obs, action):
    """Q_e(s, a), [E, B]."""
    return output(algorithm, "critic", critic, obs, action).squeeze(-1)


# The value ---------------------------------------------------------------------------------------------------------


def test_sampled_value_by_hand(call):
    q = torch.tensor([[1.0], [3.0]])  # [K, B]
    expected = 0.5 * math.log((math.exp(2) / 0.2 + math.exp(6) / 0.4) / 2)
    log_proposal = torch.tensor([[0.2], [0.4]]).log()
    assert call(losses.sampled_value, q, log_proposal, 0.5).item() == pytest.approx(expected)


@pytest.mark.parametrize(("num", "bias"), [(16, 0.1), (4096, 0.002)])
def test_sampled_value_and_entropy_approach_the_integrals(num, bias):
    """Q(a) = -3 (a - 0.4)^2, alpha = 0.5, uniform proposals; means over 2000 states."""
    alpha, grid = 0.5, torch.linspace(-1, 1, 100_001, dtype=torch.float64)
    density = torch.exp(-3 * (grid - 0.4) ** 2 / alpha)
    value = alpha * torch.trapezoid(density, grid).log()
    pi = density / torch.trapezoid(density, grid)
    entropy = -torch.trapezoid(pi * pi.log(), grid)
    action = torch.rand(num, 2000, generator=torch.Generator().manual_seed(0)) * 2 - 1
    q = -3 * (action - 0.4) ** 2
    estimate = losses.sampled_value(q, -math.log(2), alpha)
    assert estimate.mean().item() == pytest.approx(value.item(), abs=bias * alpha)
    assert num > 16 or estimate.mean() < value  # the logarithm of a mean
    assert losses.sampled_entropy(q, -math.log(2), alpha).mean().item() == pytest.approx(entropy.item(), abs=bias)


def test_equal_values_have_the_entropy_of_the_box():
    q = torch.full((16, 2), 5.0)
    log_proposal = -A * math.log(2)
    assert torch.allclose(losses.sampled_entropy(q, log_proposal, 0.3), torch.full((2,), A * math.log(2)))
    assert torch.allclose(losses.sampled_value(q, log_proposal, 0.3), torch.full((2,), 5 + 0.3 * A * math.log(2)))


# Stein's direction -------------------------------------------------------------------------------------------------


def test_stein_direction_by_hand(call):
    """Particles at 0 and 2, moved one at 1: the scores' mean, and no repulsion from the middle."""
    fixed, moved = torch.tensor([0.0, 2.0]).view(2, 1, 1), torch.ones(1, 1, 1)
    score = torch.tensor([1.0, 3.0]).view(2, 1, 1)
    kernel = math.exp(-math.log(3))  # squares are 1, their mean too, the bandwidth 1 / log 3
    assert call(losses.stein_direction, fixed, moved, score, 0.5).item() == pytest.approx(2 * kernel)
    lone = call(
        losses.stein_direction, fixed[:1], moved, torch.zeros(1, 1, 1), 0.5
    )  # pushed away from 0, h = 1 / log 2
    assert lone.item() == pytest.approx(0.5 * 2 * math.log(2) * math.exp(-math.log(2)))


@pytest.mark.parametrize("start_std", [0.05, 4.0])
def test_particles_move_to_a_gaussian_and_spread_as_it(start_std):
    """Target N(2, 0.7^2) with alpha = 0.5; all particles are fixed and moved."""
    alpha, mean, std = 0.5, 2.0, 0.7
    x = start_std * torch.randn(32, 1, 1, generator=torch.Generator().manual_seed(0))
    score = lambda y: alpha * (mean - y) / std**2  # noqa: E731
    assert losses.stein_direction(x, x, score(x), alpha).mean() > 0
    only_apart = losses.stein_direction(x, x, torch.zeros_like(x), alpha)
    assert ((x - x.mean()) * only_apart).mean() > 0
    for _ in range(300):
        x = x + losses.stein_direction(x, x, score(x), alpha)
    assert x.mean().item() == pytest.approx(mean, abs=0.01)
    assert x.std().item() == pytest.approx(std, abs=0.02)


def test_particles_on_one_spot_stay_finite():
    same = torch.zeros(4, 1, A)
    assert torch.equal(losses.stein_direction(same, same, torch.ones_like(same), 0.5), torch.ones_like(same))


# The algorithm -----------------------------------------------------------------------------------------------------


def test_score_is_the_gradient_of_the_log_density_before_tanh():
    algorithm, _, state = make()
    critic = views_of(algorithm, state)["critic"]
    u = torch.randn(5, B, A, generator=torch.Generator().manual_seed(0)).requires_grad_()
    obs = make_inputs(algorithm)[0].obs
    total = torch.zeros(())
    for k in range(5):
        action = torch.tanh(u[k])
        q = q_of(algorithm, critic, obs, action).amin(0)
        total = total + (q + 0.3 * (1 - action**2).log().sum(-1)).sum()
    total.backward()
    score = algorithm._score(Net(algorithm.networks["critic"], critic), obs, u.detach(), torch.tensor(0.3))
    torch.testing.assert_close(score, u.grad, rtol=1e-4, atol=1e-5)


def test_losses_by_their_parts_and_gradients_stop_where_they_must():
    algorithm, hyper, state = make()
    batch, noise = make_inputs(algorithm)
    params = views_of(algorithm, state)
    target = {name: 1.5 * value for name, value in params["critic"].items()}

    leaves = {name: {k: v.clone().requires_grad_() for k, v in p.items()} for name, p in params.items()}
    with torch.no_grad():
        proposals = 2 * torch.special.ndtr(noise[:16]) - 1
        next_q = torch.stack([q_of(algorithm, target, batch.next_obs, a).amin(0) for a in proposals])
        value = 0.3 * (4 * (next_q / 0.3).exp()).mean(0).log()
        y = 2.0 * batch.reward + batch.discount * value
    q = q_of(algorithm, leaves["critic"], batch.obs, batch.action)
    critic_loss = 0.5 * ((q - y) ** 2).sum(0).mean()
    critic_loss.backward()
    u = torch.stack([xi + output(algorithm, "actor", leaves["actor"], batch.obs, xi) for xi in noise[16:]])
    fixed, moved = u[:16].detach(), u[16:]
    score = algorithm._score(Net(algorithm.networks["critic"], params["critic"]), batch.obs, fixed, torch.tensor(0.3))
    actor_loss = -(losses.stein_direction(fixed, moved, score, 0.3) * moved).sum(-1).mean()
    actor_loss.backward()

    def objective(params, target):
        return step.objective(algorithm, hyper, params, {"critic": target}, batch, noise, "all")

    ours, (metrics, _) = torch.func.grad(objective, has_aux=True)(params, target)
    rows = dict(zip(METRICS, metrics.tolist(), strict=True))
    assert rows["critic_loss"] == pytest.approx(critic_loss.item(), rel=1e-4)
    assert rows["actor_loss"] == pytest.approx(actor_loss.item(), rel=1e-4)
    assert rows["alpha"] == pytest.approx(0.3)
    assert rows["alpha_loss"] == 0
    for name in params:  # the whole gradient of each is that of its own loss
        for key, leaf in leaves[name].items():
            torch.testing.assert_close(ours[name][key], leaf.grad, rtol=1e-3, atol=1e-6)

    to_target = torch.func.grad(lambda t: objective(params, t)[0])(target)
    assert all((g == 0).all() for g in to_target.values())


TARGETS = {  # Q of the one action; the policy for alpha = 0.5 is uniform, a truncated Gaussian, of two modes
    "uniform": lambda a: 0.0 * a,
    "peak": lambda a: -2 * (a - 0.5).square(),
    "two modes": lambda a: -8 * (a.abs() - 0.5).square(),
}


@pytest.mark.parametrize("target", TARGETS)
def test_the_sampler_learns_to_draw_from_the_boltzmann_policy(monkeypatch, target):
    q_of, num = TARGETS[target], 16
    config = CONFIG.replace(init_alpha=0.5, actor_lr=3e-3, hidden_dims=(32, 32))
    algorithm, hyper, state = make(config, EnvSpec("test:test", O, 1, (("obs", O),), None))
    monkeypatch.setattr(Sql, "_min_q", lambda self, critic, features, action: q_of(action).squeeze(-1))
    generator = torch.Generator().manual_seed(0)
    obs, zero = torch.randn(num, O, generator=generator), torch.zeros(num)
    batch = Batch(obs, zero.unsqueeze(-1), zero, zero, obs)
    for _ in range(500):
        state, _ = step.update(
            algorithm, hyper, state, batch, torch.randn(*algorithm.noise_shape(num), generator=generator)
        )
    xi = torch.randn(20_000, 1, generator=generator)
    sample = algorithm.act(state["params"]["actor"], obs.repeat(1250, 1), xi).flatten()

    grid = torch.linspace(-1, 1, 20_001)
    density = (q_of(grid) / 0.5).exp()
    expected = (density.cumsum(0) / density.sum())[::1000]
    found = (sample <= grid[::1000].unsqueeze(-1)).float().mean(-1)
    assert (found - expected).abs().max() < 0.08


def test_without_the_sampler_its_parameters_and_metrics_rest():
    algorithm, hyper, state = make()
    batch, noise = make_inputs(algorithm)
    new, metrics = step.update(algorithm, hyper, state, batch, noise, with_actor=False)
    assert torch.equal(new["params"]["actor"], state["params"]["actor"])
    assert not torch.equal(new["params"]["critic"], state["params"]["critic"])
    assert (metrics[2:] == 0).all()


def test_actions_are_in_the_box_and_differ_by_noise():
    algorithm, _, state = make()
    batch, _ = make_inputs(algorithm)
    noise = torch.randn(B, A, generator=torch.Generator().manual_seed(2))
    sampled, best = (
        algorithm.act(state["params"]["actor"], batch.obs, noise),
        algorithm.act(state["params"]["actor"], batch.obs, None),
    )
    assert sampled.shape == best.shape == (B, A)
    assert sampled.abs().max() <= 1
    assert not torch.allclose(sampled, best)
    assert torch.equal(best, algorithm.act(state["params"]["actor"], batch.obs, torch.zeros(B, A)))
