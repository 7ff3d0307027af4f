"""Discrete SAC: its policy, its losses by hand and beside torchrl's DiscreteSACLoss."""

import math
from functools import partial

import pytest
import torch
from tensordict.nn import ProbabilisticTensorDictModule, ProbabilisticTensorDictSequential, TensorDictModule
from torchrl.modules import OneHotCategorical
from torchrl.objectives import DiscreteSACLoss, ValueEstimators

from fastsac.algorithms import losses, step
from fastsac.algorithms.algorithm import METRICS
from fastsac.algorithms.batch import Batch
from fastsac.algorithms.sac_discrete import SacDiscrete
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.learning.gradient_step import make_hyper
from tests.support.networks import module_of, parts, views_of
from tests.support.torchrl_modules import as_tensordict

O, A, B = 4, 3, 32
SPEC = EnvSpec("test:test", O, A, (("obs", O),), None, discrete=True)
CONFIG = Config(
    env="test:test", hidden_dims=(16, 16), batch_size=B, learning_starts=B, gamma=0.97, reward_scale=2.0,
    target_entropy_share=0.7,
)  # fmt: skip
ALPHA = 0.3


def test_expected_value_by_hand(call):
    q, log_pi = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.25, 0.75]]).log()
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert call(losses.expected_value, q, log_pi, torch.tensor(0.5)).item() == pytest.approx(2.5 + 0.5 * entropy)


def test_an_action_of_no_probability_is_harmless():
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    log_pi = torch.log_softmax(logits, -1)
    value = losses.expected_value(torch.tensor([[1.0, 3.0]]), log_pi, torch.tensor(0.5))
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert value.item() == pytest.approx(1.0)
    assert gradient.isfinite().all()


def test_samples_follow_the_policy():
    algorithm = SacDiscrete(CONFIG, SPEC)
    actor = step.init(algorithm, torch.tensor(1), 1.0)["params"]["actor"] * 5
    obs = torch.randn(1, O, generator=torch.Generator().manual_seed(0))
    probabilities = torch.softmax(algorithm.net("actor", actor)(obs), -1)[0]
    noise = torch.randn(50_000, A, generator=torch.Generator().manual_seed(1))
    frequencies = algorithm.act(actor, obs.expand(50_000, -1), noise).mean(0)
    assert probabilities.max() - probabilities.min() > 0.1
    torch.testing.assert_close(frequencies, probabilities, rtol=0, atol=4 * math.sqrt(0.25 / 50_000))
    assert algorithm.act(actor, obs, None)[0].argmax() == probabilities.argmax()


def test_gumbel_numbers_stay_finite():
    noise = torch.tensor([-40.0, -5.0, 0.0, 5.0, 40.0])
    gumbel = losses.gumbel(noise)
    assert gumbel.isfinite().all()
    assert (gumbel.diff() >= 0).all()
    assert gumbel[2].item() == pytest.approx(-math.log(math.log(2)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("fuse_for_gpu", [False, True])
@pytest.mark.slow_where(mode=["compiled"])
def test_losses_and_gradients_equal_torchrl(call, fuse_for_gpu):
    generator = torch.Generator().manual_seed(0)
    algorithm = SacDiscrete(CONFIG, SPEC, fuse_for_gpu)
    state = step.init(algorithm, torch.tensor(1), ALPHA)
    state["targets"]["critic"] = state["targets"]["critic"] + 0.1 * torch.randn(
        state["targets"]["critic"].shape, generator=generator
    )
    draw = lambda *s: torch.randn(*s, generator=generator)  # noqa: E731
    terminated = torch.rand(B, generator=generator) < 0.3
    action = losses.one_hot(draw(B, A))
    batch = Batch(draw(B, O), action, draw(B), CONFIG.gamma * (~terminated), draw(B, O))
    views = views_of(algorithm, state)
    target = algorithm.learned["critic"].views(state["targets"]["critic"])

    actor = TensorDictModule(module_of(views["actor"], O), in_keys=["observation"], out_keys=["logits"])
    head = ProbabilisticTensorDictModule(
        in_keys=["logits"], out_keys=["action"], distribution_class=OneHotCategorical, return_log_prob=False
    )
    critics = [
        TensorDictModule(module_of(views["critic"], O, e), in_keys=["observation"], out_keys=["action_value"])
        for e in range(2)
    ]
    loss = DiscreteSACLoss(
        ProbabilisticTensorDictSequential(actor, head),
        critics,
        action_space="one_hot",
        num_actions=A,
        num_qvalue_nets=2,
        loss_function="l2",
        alpha_init=ALPHA,
        target_entropy=0.7 * math.log(A),
    )
    loss.make_value_estimator(ValueEstimators.TD0, gamma=CONFIG.gamma)
    for name, value in loss.target_qvalue_network_params.items(True, True):
        index, kind = int(name[-2]) // 2, name[-1]
        weight, bias = parts(target[f"layer{index}"], O if index == 0 else 16)
        value.data.copy_((weight.transpose(1, 2) if kind == "weight" else bias).reshape(value.shape))
    data = as_tensordict(batch, terminated, CONFIG.reward_scale)
    out = loss(data)
    (0.5 * out["loss_qvalue"] + out["loss_actor"] + out["loss_alpha"]).backward()  # their critic loss lacks the 1/2

    hyper = {k: v[0] for k, v in make_hyper(algorithm, CONFIG, torch.device("cpu")).items()}
    gradient = torch.func.grad(
        lambda p: step.objective(algorithm, hyper, p, {"critic": target}, batch, torch.empty(0), "all"), has_aux=True
    )
    grads, (metrics, _) = call(gradient, views)
    ours = dict(zip(METRICS, metrics, strict=True))
    assert_close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)
    assert_close(2 * ours["critic_loss"], out["loss_qvalue"].detach())
    assert_close(ours["actor_loss"], out["loss_actor"].detach())
    assert_close(ours["alpha_loss"], out["loss_alpha"].detach())
    assert_close(ours["entropy"], out["entropy"].detach().mean())
    assert_close(grads["log_alpha"]["log_alpha"], loss.log_alpha.grad)
    compared = 0
    for network, params in (("actor", loss.actor_network_params), ("critic", loss.qvalue_network_params)):
        for name, value in params.items(True, True):
            index, kind = int(name[-2]) // 2, name[-1]
            weight, bias = parts(grads[network][f"layer{index}"], O if index == 0 else 16)
            mine = weight.transpose(-1, -2) if kind == "weight" else bias.reshape(value.shape)
            assert_close(mine, value.grad)
            compared += 1
    assert compared == 12
