"""Losses, targets and gradients of one update beside torchrl's SACLoss: same parameters, batch and noise."""

from functools import partial

import pytest
import torch
from tensordict.nn import ProbabilisticTensorDictModule, ProbabilisticTensorDictSequential, TensorDictModule
from torchrl.modules import ValueOperator
from torchrl.objectives import SACLoss, ValueEstimators

from fastsac.algorithms import losses, sac, step
from fastsac.algorithms.algorithm import METRICS
from fastsac.algorithms.batch import Batch
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.learning.gradient_step import make_hyper
from tests.support.networks import module_of, parts, views_of
from tests.support.torchrl_modules import ActorModule, CriticModule, FixedNoise, as_tensordict

O, A, B = 4, 2, 32
SPEC = EnvSpec("test:test", O, A, (("obs", O),), None)
CONFIG = Config(env="test:test", hidden_dims=(16, 16), batch_size=B, learning_starts=B, gamma=0.97, reward_scale=2.0)
ALPHA = 0.3


@pytest.fixture(scope="module")
def problem():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    algorithm = sac.Sac(CONFIG, SPEC)
    state = step.init(algorithm, torch.tensor(1), ALPHA)
    state["targets"]["critic"] = state["targets"]["critic"] + 0.1 * draw(*state["targets"]["critic"].shape)
    terminated = torch.rand(B, generator=generator) < 0.3
    batch = Batch(draw(B, O), torch.tanh(draw(B, A)), draw(B), 0.97 * (~terminated), draw(B, O))
    return algorithm, state, batch, terminated, draw(2, B, A)


def torchrl_module(algorithm, state, batch, terminated):
    """torchrl's loss module over modules that hold our parameters, and the batch as it wants it."""
    views = algorithm.learned["critic"].views(state["params"]["critic"])
    target_views = algorithm.learned["critic"].views(state["targets"]["critic"])
    body = TensorDictModule(
        ActorModule(module_of(algorithm.learned["actor"].views(state["params"]["actor"]), O)),
        in_keys=["observation"],
        out_keys=["loc", "scale"],
    )
    head = ProbabilisticTensorDictModule(
        in_keys=["loc", "scale"], out_keys=["action"], distribution_class=FixedNoise, return_log_prob=True
    )
    critics = [
        ValueOperator(CriticModule(module_of(views, O + A, e)), in_keys=["observation", "action"]) for e in range(2)
    ]  # fmt: skip
    loss = SACLoss(
        ProbabilisticTensorDictSequential(body, head),
        critics,
        num_qvalue_nets=2,
        loss_function="l2",
        alpha_init=ALPHA,
        target_entropy=-float(A),
    )
    loss.make_value_estimator(ValueEstimators.TD0, gamma=CONFIG.gamma)
    for name, value in loss.target_qvalue_network_params.items(True, True):
        layer, kind = name[-2], name[-1]
        index = int(layer) // 2
        weight, bias = parts(target_views[f"layer{index}"], O + A if index == 0 else 16)
        ours = weight.transpose(1, 2) if kind == "weight" else bias
        value.data.copy_(ours.reshape(value.shape))
    data = as_tensordict(batch, terminated, CONFIG.reward_scale)
    return loss, data


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("fuse_for_gpu", [False, True])
@pytest.mark.slow_where(mode=["compiled"])
def test_losses_and_gradients_equal_torchrl(call, problem, fuse_for_gpu):
    _, state, batch, terminated, noise = problem
    algorithm = sac.Sac(CONFIG, SPEC, fuse_for_gpu)
    loss, data = torchrl_module(algorithm, state, batch, terminated)
    FixedNoise.queue = [noise[1], noise[0]]
    out = loss(data)
    (0.5 * out["loss_qvalue"] + out["loss_actor"] + out["loss_alpha"]).backward()  # their critic loss lacks the 1/2

    target = {"critic": algorithm.learned["critic"].views(state["targets"]["critic"])}
    hyper = {k: v[0] for k, v in make_hyper(algorithm, CONFIG, torch.device("cpu")).items()}
    gradient = torch.func.grad(lambda p: step.objective(algorithm, hyper, p, target, batch, noise, "all"), has_aux=True)
    grads, (metrics, _) = call(gradient, views_of(algorithm, state))
    ours = dict(zip(METRICS, metrics, strict=True))

    assert_close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)
    assert_close(2 * ours["critic_loss"], out["loss_qvalue"].detach())
    assert_close(ours["actor_loss"], out["loss_actor"].detach())
    assert_close(ours["alpha_loss"], out["loss_alpha"].detach())
    assert_close(ours["entropy"], out["entropy"].detach())
    assert_close(grads["log_alpha"]["log_alpha"], loss.log_alpha.grad)

    compared = 0
    for network, params in (("actor", loss.actor_network_params), ("critic", loss.qvalue_network_params)):
        for name, value in params.items(True, True):
            kind, index = name[-1], int(name[-2]) // 2
            num_inputs = O if network == "actor" else O + A
            weight, bias = parts(grads[network][f"layer{index}"], num_inputs if index == 0 else 16)
            mine = weight.transpose(-1, -2) if kind == "weight" else bias.reshape(value.shape)
            assert_close(mine, value.grad)
            compared += 1
    assert compared == 12


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_td_target_equals_torchrl(problem):
    algorithm, state, batch, terminated, noise = problem
    loss, data = torchrl_module(algorithm, state, batch, terminated)
    FixedNoise.queue = [noise[1]]
    theirs = loss._compute_target_v2(data)
    action, log_prob = algorithm.sample(algorithm.net("actor", state["params"]["actor"]), batch.next_obs, noise[1])
    q = algorithm.net("critic", state["targets"]["critic"])(batch.next_obs, action).squeeze(-1)
    ours = losses.td_target(CONFIG.reward_scale * batch.reward, batch.discount, q, log_prob, torch.tensor(ALPHA))
    assert terminated.any()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
