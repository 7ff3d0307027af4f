"""SAC v1: its losses by hand, where gradients stop, its schedule, and beside torchrl's SACLoss with a value network."""

import math
from functools import partial

import pytest
import torch
from tensordict.nn import ProbabilisticTensorDictModule, ProbabilisticTensorDictSequential, TensorDictModule
from torchrl.modules import ValueOperator
from torchrl.objectives import SACLoss, ValueEstimators

from fastsac.algorithms import losses, step
from fastsac.algorithms.algorithm import METRICS
from fastsac.algorithms.batch import Batch
from fastsac.algorithms.sac_v1 import SacV1
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.learning.gradient_step import make_hyper
from fastsac.nn import vectors
from tests.support.networks import module_of, parts, views_of
from tests.support.torchrl_modules import ActorModule, CriticModule, FixedNoise, as_tensordict

O, A, B = 4, 2, 32
SPEC = EnvSpec("test:test", O, A, (("obs", O),), None)
CONFIG = Config(
    env="test:test", algo="sac-v1", hidden_dims=(16, 16), batch_size=B, learning_starts=B, gamma=0.97,
    reward_scale=2.0, init_alpha=0.3,
)  # fmt: skip
ALPHA = CONFIG.init_alpha
NETWORKS = ("actor", "critic", "value")


def make_hyper_of_one(algorithm, config=CONFIG):
    return {k: v[0] for k, v in make_hyper(algorithm, config, torch.device("cpu")).items()}


def gradients(algorithm, views, target, batch, noise, which="all"):
    """Flat gradients of all networks, and the metrics by name."""
    hyper = make_hyper_of_one(algorithm)
    grads, (metrics, _) = torch.func.grad(
        lambda p: step.objective(algorithm, hyper, p, {"value": target}, batch, noise, which), has_aux=True
    )(views)
    return {name: vectors.flatten(g) for name, g in grads.items()}, dict(zip(METRICS, metrics, strict=True))


@pytest.fixture(params=[False, True], ids=["for-cpus", "for-gpus"])
def problem(request):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    algorithm = SacV1(CONFIG, SPEC, fuse_for_gpu=request.param)
    state = step.init(algorithm, torch.tensor(1), ALPHA)
    shift = 0.1 * draw(*state["targets"]["value"].shape) * (state["targets"]["value"] != 0)
    state["targets"]["value"] = state["targets"]["value"] + shift
    terminated = torch.rand(B, generator=generator) < 0.3
    batch = Batch(draw(B, O), torch.tanh(draw(B, A)), draw(B), CONFIG.gamma * (~terminated), draw(B, O))
    return algorithm, state, batch, terminated, draw(1, B, A)


def test_value_target_by_hand():
    q = torch.tensor([[1.0, 5.0], [2.0, 4.0]], requires_grad=True)
    log_prob = torch.tensor([-1.0, 3.0], requires_grad=True)
    target = losses.value_target(q, log_prob, torch.tensor(0.5))
    assert target.tolist() == [1 + 0.5, 4 - 1.5]
    assert not target.requires_grad


def test_value_loss_by_hand():
    value = torch.tensor([1.0, 4.0], requires_grad=True)
    loss = losses.value_loss(value, torch.tensor([1.5, 2.0]))
    assert loss.tolist() == [0.125, 2.0]
    (gradient,) = torch.autograd.grad(loss.sum(), value)
    assert gradient.tolist() == [-0.5, 2.0]


def constant(shapes, outputs):
    """Parameters of networks whose outputs are their last bias, whatever the input."""
    params = {name: torch.zeros(shape) for name, shape in shapes.items()}
    last = list(params)[-1]
    params[last][..., 16, :] = torch.tensor(outputs)
    return params


def test_all_losses_of_constant_networks_by_hand():
    algorithm = SacV1(CONFIG, SPEC)
    params = {
        "actor": constant(algorithm.networks["actor"].shapes, [0.0] * 2 * A),  # the mean is 0 and log_std -1.5
        "critic": constant(algorithm.networks["critic"].shapes, [[3.0], [5.0]]),
        "value": constant(algorithm.networks["value"].shapes, [[1.0]]),
    }
    target = {"value": constant(algorithm.networks["value"].shapes, [[10.0]])}
    # The second transition terminated.
    batch = Batch(torch.ones(2, O), torch.zeros(2, A), torch.tensor([1.0, -1.0]), torch.tensor([0.9, 0.0]),
                  torch.ones(2, O))  # fmt: skip
    hyper = make_hyper_of_one(algorithm)
    total, (metrics, _) = step.objective(algorithm, hyper, params, target, batch, torch.zeros(1, 2, A), "all")
    ours = dict(zip(METRICS, metrics.tolist(), strict=True))
    log_prob = A * (1.5 - 0.5 * math.log(2 * math.pi))  # the slope of tanh at 0 is 1
    value_loss = 0.5 * (1 - (3 - ALPHA * log_prob)) ** 2
    targets = [2 * 1 + 0.9 * 10, 2 * -1]  # reward_scale is 2
    q_loss = sum(0.5 * (3 - y) ** 2 + 0.5 * (5 - y) ** 2 for y in targets) / 2
    actor_loss = ALPHA * log_prob - 3
    assert ours["critic_loss"] == pytest.approx(q_loss + value_loss)
    assert ours["q_mean"] == pytest.approx(4.0)
    assert ours["actor_loss"] == pytest.approx(actor_loss)
    assert ours["entropy"] == pytest.approx(-log_prob)
    assert (ours["alpha_loss"], ours["alpha"]) == (0.0, pytest.approx(ALPHA))
    assert total.item() == pytest.approx(q_loss + value_loss + actor_loss)


def test_each_loss_moves_its_own_parameters_only(problem):
    algorithm, state, batch, _, noise = problem
    views, target = views_of(algorithm, state), algorithm.learned["value"].views(state["targets"]["value"])
    grads, _ = gradients(algorithm, views, target, batch, noise)
    assert all(g.abs().max() > 0 for g in grads.values())
    assert_close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-7)

    # Without the actor's loss nothing reaches the actor, and the others get what they got.
    fewer, _ = gradients(algorithm, views, target, batch, noise, which="critics")
    assert not fewer["actor"].any()
    assert_close(fewer["critic"], grads["critic"])
    assert_close(fewer["value"], grads["value"])

    # The critics' gradient knows V only by its target; the actor's knows V not at all.
    changed = {**views, "value": algorithm.learned["value"].views(state["params"]["value"] * 2)}
    other, _ = gradients(algorithm, changed, target, batch, noise)
    torch.testing.assert_close(other["critic"], grads["critic"], rtol=0, atol=0)
    torch.testing.assert_close(other["actor"], grads["actor"], rtol=0, atol=0)
    assert not torch.equal(other["value"], grads["value"])
    moved = algorithm.learned["value"].views(state["targets"]["value"] * 2)
    other, _ = gradients(algorithm, views, moved, batch, noise)
    torch.testing.assert_close(other["value"], grads["value"], rtol=0, atol=0)
    torch.testing.assert_close(other["actor"], grads["actor"], rtol=0, atol=0)
    assert not torch.equal(other["critic"], grads["critic"])

    # The critics' gradient knows nothing of the sampled action, that of V and the actor's are made of it.
    other, _ = gradients(algorithm, views, target, batch, noise + 1)
    assert_close(other["critic"], grads["critic"])
    assert not torch.equal(other["value"], grads["value"])

    def target_loss(t):
        return step.objective(algorithm, make_hyper_of_one(algorithm), views, {"value": t}, batch, noise, "all")[0]

    assert not vectors.flatten(torch.func.grad(target_loss)(target)).any()


def test_a_delayed_actor_waits_and_the_others_do_not(problem):
    algorithm, state, batch, _, noise = problem
    hyper = make_hyper_of_one(algorithm)
    between, metrics = step.update(algorithm, hyper, state, batch, noise, with_actor=False)
    assert [torch.equal(between["params"][n], state["params"][n]) for n in NETWORKS] == [True, False, False]
    assert metrics[2:].tolist() == [0.0] * 4
    full, metrics = step.update(algorithm, hyper, state, batch, noise)
    assert not torch.equal(full["params"]["actor"], state["params"]["actor"])
    assert metrics[METRICS.index("alpha")].item() == pytest.approx(ALPHA)
    for name in ("critic", "value"):
        torch.testing.assert_close(full["params"][name], between["params"][name], rtol=1e-5, atol=1e-6)


def test_the_target_follows_the_new_value_network(problem):
    algorithm, state, batch, _, noise = problem
    new, _ = step.update(algorithm, make_hyper_of_one(algorithm), state, batch, noise)
    expected = state["targets"]["value"] + CONFIG.tau * (new["params"]["value"] - state["targets"]["value"])
    torch.testing.assert_close(new["targets"]["value"], expected)


def test_the_value_network_has_layer_norm_where_the_critics_have():
    algorithm = SacV1(CONFIG.replace(critic_layer_norm=True), SPEC)
    assert {"scale0", "shift1"} <= algorithm.networks["value"].shapes.keys()


class WithMode(FixedNoise):
    """The action that torchrl asks for at next_obs, which its value network does not look at."""

    @property
    def deterministic_sample(self):
        return torch.tanh(self.normal.loc)


def torchrl_module(algorithm, state):
    """torchrl's loss module over modules that hold our parameters."""
    views, target = views_of(algorithm, state), algorithm.learned["value"].views(state["targets"]["value"])
    body = TensorDictModule(
        ActorModule(module_of(views["actor"], O)), in_keys=["observation"], out_keys=["loc", "scale"]
    )
    head = ProbabilisticTensorDictModule(
        in_keys=["loc", "scale"], out_keys=["action"], distribution_class=WithMode, return_log_prob=True
    )
    critics = [
        ValueOperator(CriticModule(module_of(views["critic"], O + A, e)), in_keys=["observation", "action"])
        for e in range(2)
    ]
    loss = SACLoss(
        ProbabilisticTensorDictSequential(body, head),
        critics,
        value_network=ValueOperator(module_of(views["value"], O, 0), in_keys=["observation"]),
        num_qvalue_nets=2,
        loss_function="l2",
        alpha_init=ALPHA,
        fixed_alpha=True,
        target_entropy=-float(A),
        delay_qvalue=False,  # there is no target critic; V's is delayed by default
    )
    loss.make_value_estimator(ValueEstimators.TD0, gamma=CONFIG.gamma)
    for name, value in loss.target_value_network_params.items(True, True):
        index, kind = int(name[-2]) // 2, name[-1]
        weight, bias = parts(target[f"layer{index}"][0], O if index == 0 else 16)
        value.data.copy_((weight.T if kind == "weight" else bias).reshape(value.shape))
    return loss


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_losses_and_gradients_equal_torchrl(problem):
    algorithm, state, batch, terminated, noise = problem
    loss = torchrl_module(algorithm, state)
    data = as_tensordict(batch, terminated, CONFIG.reward_scale)
    # Version 1 of theirs gives each critic its own part of the batch: with the batch twice, each gets all of it, and
    # the mean over both is 1/2 sum_e as in J_Q.  Their loss of V lacks the 1/2.
    FixedNoise.queue = [torch.cat([noise[0], noise[0]])] * 2  # for V and for the actor
    out = loss(torch.cat([data, data]))
    assert not FixedNoise.queue
    (out["loss_qvalue"] + 0.5 * out["loss_value"] + out["loss_actor"]).backward()

    views, target = views_of(algorithm, state), algorithm.learned["value"].views(state["targets"]["value"])
    hyper = make_hyper_of_one(algorithm)
    grads, (metrics, _) = torch.func.grad(
        lambda p: step.objective(algorithm, hyper, p, {"value": target}, batch, noise, "all"), has_aux=True
    )(views)
    ours = dict(zip(METRICS, metrics, strict=True))

    assert_close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)
    assert terminated.any()
    theirs = (out["loss_qvalue"] + 0.5 * out["loss_value"]).detach()
    assert_close(ours["critic_loss"], theirs)
    assert_close(ours["actor_loss"], out["loss_actor"].detach())
    assert_close(ours["entropy"], out["entropy"].detach())
    assert_close(ours["alpha"], out["alpha"].detach())

    compared = 0
    networks = (loss.actor_network_params, loss.qvalue_network_params, loss.value_network_params)
    for name, params in zip(NETWORKS, networks, strict=True):
        num_inputs = O + A if name == "critic" else O
        for path, value in params.items(True, True):
            kind, index = path[-1], int(path[-2]) // 2
            weight, bias = parts(grads[name][f"layer{index}"], num_inputs if index == 0 else 16)
            mine = weight.transpose(-1, -2) if kind == "weight" else bias
            assert_close(mine.reshape(value.shape), value.grad)
            compared += 1
    assert compared == 18
