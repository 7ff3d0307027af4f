"""n-step soft targets: with the entropy between they are unbiased under the policy's own actions, without it not."""

import itertools
import math

import numpy as np
import pytest
import torch

from fastsac.algorithms import losses, step
from fastsac.algorithms.batch import Batch, WindowStates
from fastsac.algorithms.registry import get_algorithm
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.learning.gradient_step import make_hyper
from fastsac.nn.network import Net
from tests.support import chain_env
from tests.support.learners import CPU
from tests.support.networks import views_of

ALPHA, GAMMA, S, A, N_STEP = 0.4, 0.9, 3, 2, 3
CONFIG = Config(
    env="x", n_step=N_STEP, hidden_dims=(S,), num_critics=1, gamma=GAMMA, init_alpha=ALPHA, learn_alpha=False
)


def test_entropy_between_by_hand(call):
    discount = torch.tensor([[0.5, 0.5], [0.25, 0.0]])
    entropy = torch.tensor([[1.0, 2.0], [3.0, 100.0]])
    bonus = call(losses.window_entropy, discount, entropy, torch.tensor(2.0))
    assert bonus.tolist() == [2 * (0.5 + 0.75), 2 * 1.0]


def make(algo, obs_dim=S):
    config = CONFIG.replace(algo=algo)
    spec = EnvSpec("test:test", obs_dim, A, (), None, discrete=get_algorithm(algo).discrete)
    algorithm = get_algorithm(algo)(config, spec)
    return algorithm, {k: v[0] for k, v in make_hyper(algorithm, config, CPU).items()}


def targets(algorithm, hyper, views, target, batch, noise):
    """y > 0 of every transition, from the loss: with one critic that is 0 everywhere J_Q is y^2 / 2.

    Args:
        views: the other networks of the algorithm.
        noise: [.., B, A].
    """
    zero = {k: torch.zeros(s) for k, s in algorithm.networks["critic"].shapes.items()}

    def loss(one, noise):
        window = one.window and WindowStates(*(x.unsqueeze(1) for x in one.window))
        one = Batch._make((*(x.unsqueeze(0) for x in one[:5]), window))
        at = {**views, "critic": zero}
        return step.objective(algorithm, hyper, at, target, one, noise.unsqueeze(-2), "critics")[0]

    dims = Batch._make((0, 0, 0, 0, 0, batch.window and WindowStates._make((1, 1))))
    nothing = batch._replace(reward=0 * batch.reward, discount=0 * batch.discount, window=None)
    rest = torch.func.vmap(loss, (dims._replace(window=None), -2))(nothing, noise)  # J_V of SAC v1
    return (2 * (torch.func.vmap(loss, (dims, -2))(batch, noise) - rest)).sqrt()


def table(shapes, values):
    """Views of a network that maps one-hot rows [S] to the rows of `values` [S, A]."""
    params = {k: torch.zeros(v) for k, v in shapes.items()}
    params["layer0"][..., :S, :] = torch.eye(S)
    params["layer1"][..., :S, :] = values
    return params


@pytest.mark.parametrize("algo", ["sac-discrete", "sql-discrete"])
def test_targets_are_unbiased_on_policy_with_the_entropy_between(algo):
    """Every window of three steps of a small MDP, weighted by its probability, at the optimal soft policy."""
    p, r = chain_env.tables(f"random:{S},{A},1")
    r = r + 3  # all targets above 0
    q, policy = chain_env.soft_policy_iteration(p, r, ALPHA, GAMMA)
    windows = np.array(list(itertools.product(*([range(S), range(A)] * N_STEP), range(S))))  # s a s a s a s
    s, a = windows[:, ::2].T, windows[:, 1::2].T
    weight = p[s[0], a[0], s[1]] * policy[s[1], a[1]] * p[s[1], a[1], s[2]] * policy[s[2], a[2]] * p[s[2], a[2], s[3]]
    rewards = sum(GAMMA**k * r[s[k], a[k]] for k in range(N_STEP))
    eye, discount = torch.eye(S), torch.full((len(windows),), GAMMA**N_STEP)
    between = WindowStates(eye[s[1:3]], torch.tensor([[GAMMA], [GAMMA**2]]).expand(-1, len(windows)))
    batch = Batch(eye[s[0]], torch.eye(A)[a[0]], torch.tensor(rewards).float(), discount, eye[s[3]], between)

    algorithm, hyper = make(algo)
    target = {"critic": table(algorithm.networks["critic"].shapes, torch.tensor(q).float())}
    views = {"log_alpha": {"log_alpha": torch.tensor(math.log(ALPHA))}}
    if algorithm.acts_by == "actor":
        views["actor"] = table(algorithm.networks["actor"].shapes, torch.tensor(policy).float().log())

    def mean_target(batch):
        y = targets(algorithm, hyper, views, target, batch, torch.zeros(len(windows), 1)).double().numpy()
        mean = np.zeros((S, A))
        np.add.at(mean, (s[0], a[0]), weight * y)
        return mean

    np.testing.assert_allclose(mean_target(batch), q, rtol=1e-5)
    lost = ALPHA * min(-(row * np.log(row)).sum() for row in policy) * (GAMMA + GAMMA**2)
    assert (mean_target(batch._replace(window=None)) < q - lost + 1e-5).all()


@pytest.mark.parametrize("algo", ["sac", "sac-v1", "sql"])
def test_continuous_targets_gain_the_entropy_between(algo):
    algorithm, hyper = make(algo)
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    b = 6
    state = step.init(algorithm, torch.tensor(1), ALPHA)
    views = views_of(algorithm, state)
    name = "value" if algo == "sac-v1" else "critic"
    target = {name: {k: torch.zeros(v) for k, v in algorithm.networks[name].shapes.items()}}
    noise = draw(*algorithm.noise_shape(b))
    between = WindowStates(draw(2, b, S), torch.rand(2, b, generator=generator))
    batch = Batch(draw(b, S), draw(b, A).tanh(), 50 + draw(b), torch.full((b,), 0.5), draw(b, S), between)

    if algo == "sql":  # with Q = 0 its policy is uniform
        entropy = torch.full((2, b), A * math.log(2))
    else:
        mean, log_std = algorithm.gaussian(Net(algorithm.networks["actor"], views["actor"]), between.obs)
        u = mean + log_std.exp() * noise[-2:]
        normal = torch.distributions.Normal(mean, log_std.exp())
        entropy = -(normal.log_prob(u) - torch.log1p(-u.tanh().square())).sum(-1)
    expected = ALPHA * (between.discount * entropy).sum(0)
    gained = targets(algorithm, hyper, views, target, batch, noise) - targets(
        algorithm, hyper, views, target, batch._replace(window=None), noise
    )
    torch.testing.assert_close(gained, expected, rtol=1e-3, atol=1e-4)
    assert expected.abs().min() > 0.01


@pytest.mark.parametrize("algo", ["sac", "sac-discrete"])
def test_without_entropy_in_the_backup_targets_are_those_of_the_mean_q(algo):
    """With Q' = 7 for every action the value of the next state is 7, whatever the policy."""
    config = CONFIG.replace(algo=algo, backup_entropy=False)
    spec = EnvSpec("test:test", S, A, (), None, discrete=get_algorithm(algo).discrete)
    algorithm = get_algorithm(algo)(config, spec)
    assert config.num_window_states == 0
    hyper = {k: v[0] for k, v in make_hyper(algorithm, config, CPU).items()}
    state = step.init(algorithm, torch.tensor(1), ALPHA)
    views = views_of(algorithm, state) | {"log_alpha": {"log_alpha": torch.tensor(2.0)}}
    critic = {k: torch.zeros(s) for k, s in algorithm.networks["critic"].shapes.items()}
    critic["layer1"][..., S, :] = 7.0  # the bias
    batch = Batch(
        torch.randn(4, S),
        algorithm.act_randomly(torch.randn(4, A)),
        torch.arange(4.0),
        torch.full((4,), 0.5),
        torch.randn(4, S),
    )
    noise = torch.randn(*algorithm.noise_shape(4)) if algo == "sac" else torch.zeros(4, 1)
    y = targets(algorithm, hyper, views, {"critic": critic}, batch, noise)
    torch.testing.assert_close(y, torch.arange(4.0) + 3.5)
