"""The seams for networks and heads: a toy architecture with statistics and a projection, and a toy head, learn."""

import numpy as np
import pytest
import torch

from fastsac.algorithms import step
from fastsac.algorithms.algorithm import METRICS
from fastsac.algorithms.batch import Batch
from fastsac.algorithms.heads import HEADS
from fastsac.algorithms.heads.head import Head
from fastsac.algorithms.registry import get_algorithm
from fastsac.config.algorithms import ALGORITHMS
from fastsac.learning.gradient_step import make_hyper
from fastsac.nn.architecture import Architecture
from fastsac.nn.mlp import Mlp
from fastsac.nn.network import ARCHITECTURES
from fastsac.run.effects import settle
from tests.support.algorithms import make, spec_of, states
from tests.support.learners import BASE, CPU, A, O
from tests.support.loops import run

MOMENTUM = 0.1
ATOMS = torch.linspace(-4, 4, 5)


def unit(weight):
    """Columns of length 1."""
    return weight / weight.norm(dim=-2, keepdim=True)


class Toy(Architecture):
    """One layer with weights of unit length, on inputs less their mean: a running one, in training the batch's."""

    @property
    def shapes(self):
        ensemble = () if self.num_nets is None else (self.num_nets,)
        return {"weight": (*ensemble, self.num_inputs, self.num_outputs), "bias": (*ensemble, 1, self.num_outputs)}

    @property
    def stat_shapes(self):
        return {"mean": (self.num_inputs,)}

    def init(self, draw):
        return {"weight": unit(draw["weight"]), "bias": 0 * draw["bias"], "mean": 0 * draw["mean"]}

    def apply(self, params, stats, x, training):
        mean = x.mean(0) if training else stats["mean"]
        x = x - mean if self.num_nets is None else (x - mean).expand(self.num_nets, -1, -1)
        moved = {"mean": torch.lerp(stats["mean"], mean.detach(), MOMENTUM)} if training else stats
        return x @ params["weight"] + params["bias"], moved

    def project(self, params):
        return {"weight": unit(params["weight"])}


class Atoms(Head):
    """Logits of a distribution over five values (Bellemare et al. 2017, C51); its loss is the cross-entropy."""

    width = len(ATOMS)

    def value(self, out):
        return (out.softmax(-1) * ATOMS).sum(-1)

    def spread(self, value):
        """Values [...] over their neighbours, [..., W]."""
        return (1 - (value.clamp(-4, 4).unsqueeze(-1) - ATOMS).abs() / 2).clamp(min=0)

    def target(self, reward, discount, next_out, next_log_prob, alpha):
        (first, second), (first_value, second_value) = next_out, self.value(next_out)
        lower = torch.where((first_value < second_value).unsqueeze(-1), first, second).softmax(-1)  # [B, W]
        moved = reward.unsqueeze(-1) + discount.unsqueeze(-1) * (ATOMS - (alpha * next_log_prob).unsqueeze(-1))
        return (lower.unsqueeze(-1) * self.spread(moved)).sum(-2).detach()

    def encode(self, value):
        return self.spread(value)

    def loss(self, out, target):
        return -(target * out.log_softmax(-1)).sum(-1).sum(0)


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    """All algorithms have them; nothing else knows of them."""
    monkeypatch.setitem(ARCHITECTURES, "mlp", Toy)
    monkeypatch.setitem(HEADS, "scalar", Atoms)


def one_step(algo, with_actor=True, discount=0.9):
    """An algorithm, a batch, its state before and after an update with that, and metrics by name."""
    config = BASE.replace(algo=algo)
    algorithm = get_algorithm(algo)(config, spec_of(algo))
    hyper = {k: v[0] for k, v in make_hyper(algorithm, config, CPU).items()}
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    batch = Batch(1 + draw(8, O), algorithm.act_randomly(draw(8, A)), draw(8), torch.full((8,), discount), draw(8, O))
    old = step.init(algorithm, torch.tensor(1), 0.5)
    new, metrics = step.update(algorithm, hyper, old, batch, draw(*algorithm.noise_shape(8)), with_actor)
    return algorithm, batch, old, new, dict(zip(METRICS, metrics, strict=True))


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_a_step_projects_weights_and_moves_statistics(algo):
    algorithm, batch, old, new, _ = one_step(algo)
    for name in algorithm.networks:
        before, after = (algorithm.learned[name].views(state["params"][name]) for state in (old, new))
        assert not torch.equal(before["weight"], after["weight"])
        torch.testing.assert_close(after["weight"].norm(dim=-2), torch.ones_like(after["weight"].norm(dim=-2)))
        torch.testing.assert_close(after["mean"][:O], MOMENTUM * batch.obs.mean(0))
        assert not algorithm.learned[name].views(new["exp_avg"][name])["mean"].any()
    for name, vector in new["targets"].items():
        expected = MOMENTUM * BASE.tau * batch.obs.mean(0)
        torch.testing.assert_close(algorithm.learned[name].views(vector)["mean"][:O], expected)


@pytest.mark.parametrize("algo", ["sac", "sac-discrete", "sql-discrete"])
def test_statistics_of_a_joint_architecture_are_of_obs_and_next_obs(algo, monkeypatch):
    monkeypatch.setattr(Toy, "joint", True)
    trained = []
    apply = Toy.apply

    def applied(self, params, stats, x, training):
        trained.append(training)
        return apply(self, params, stats, x, training)

    monkeypatch.setattr(Toy, "apply", applied)
    algorithm, batch, _, new, _ = one_step(algo)
    for name in algorithm.networks:
        mean = algorithm.learned[name].views(new["params"][name])["mean"][:O]
        torch.testing.assert_close(mean, MOMENTUM * torch.cat([batch.obs, batch.next_obs]).mean(0))
    assert trained.count(True) == 2 + (algo != "sql-discrete")  # critics, target critics and actor, once each
    # Targets ask the actor as it is, and the loss of a continuous actor asks the critics.
    asked = {"sac": 2, "sac-discrete": 1, "sql-discrete": 0}
    assert trained.count(False) == asked[algo]


def test_what_a_joint_critic_sees_beside_is_in_its_statistics_and_not_in_its_outputs(monkeypatch):
    monkeypatch.setattr(Toy, "joint", True)
    algorithm = get_algorithm("sac")(BASE, spec_of("sac"))
    net = algorithm.net("critic", algorithm.networks["critic"].init(torch.tensor(1), 0))
    obs, action = torch.randn(2, 8, O), torch.randn(2, 8, A)
    both = net(obs.flatten(0, 1), action.flatten(0, 1), training=True)  # [E, 2 B, W]
    torch.testing.assert_close(net(obs[0], action[0], beside=(obs[1], action[1])), both[:, :8])


def test_a_delayed_actor_keeps_its_statistics():
    _, _, old, new, _ = one_step("sac", with_actor=False)
    assert torch.equal(old["params"]["actor"], new["params"]["actor"])
    assert not torch.equal(old["params"]["critic"], new["params"]["critic"])


def test_the_loss_and_the_values_are_the_heads_own():
    """With discount 0 the target is the reward, which its two neighbours among the atoms share."""
    algorithm, batch, old, _, metrics = one_step("sql-discrete", discount=0.0)
    critic = algorithm.learned["critic"].views(old["params"]["critic"])
    out = (batch.obs - batch.obs.mean(0)) @ critic["weight"]  # [E, B, A * W]
    log_p = out.view(2, 8, A, 5)[:, torch.arange(8), batch.action.argmax(-1)].log_softmax(-1)  # [E, B, W]
    assert metrics["q_mean"].item() == pytest.approx((log_p.exp() * ATOMS).sum(-1).mean().item(), rel=1e-5)
    place = (batch.reward + 4) / 2
    low, share, rows = place.long(), place.frac(), torch.arange(8)
    expected = -((1 - share) * log_p[:, rows, low] + share * log_p[:, rows, low + 1]).sum(0).mean()
    assert metrics["critic_loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_target_of_a_head_may_be_a_distribution():
    """Of two critics, the lower one's: all its weight is at 2, which comes to lie at 1 + 0.5 (2 - 0.4 * 5) = 1."""
    next_out = torch.tensor([[[0.0, 0.0, 0.0, 0.0, 99.0]], [[0.0, 0.0, 0.0, 99.0, 0.0]]])
    one, half, log_prob = torch.tensor([1.0]), torch.tensor([0.5]), torch.tensor([5.0])
    target = Atoms().target(one, half, next_out, log_prob, torch.tensor(0.4))
    torch.testing.assert_close(target, torch.tensor([[0.0, 0.0, 0.5, 0.5, 0.0]]))


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_members_learn_by_recorded_launches_as_alone(recorder, algo):
    many, alone = make(algo, "captured", seeds=2, actor_delay=2), make(algo, seed=6, actor_delay=2)
    actions = run(many), run(alone)
    assert recorder.replayed > 10
    np.testing.assert_allclose(actions[0][:, 1], actions[1][:, 0], rtol=1e-3, atol=1e-3)
    for name, vector in states(alone)["params"].items():
        torch.testing.assert_close(states(many)["params"][name][1], vector[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.slow
def test_compiled_is_one_graph_and_agrees_with_eager(joint, monkeypatch):
    monkeypatch.setattr(Toy, "joint", joint)
    compiled, eager = make("sac", "compiled"), make("sac")
    np.testing.assert_allclose(run(compiled), run(eager), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("setting", ["critic_layer_norm", "zero_init_actor"])
def test_what_an_architecture_has_not_is_refused(setting):
    with pytest.raises(ValueError, match=rf"^{setting} has no effect on network mlp\. Leave it out\."):
        settle(BASE.replace(algo="sac", **{setting: True}), spec_of("sac"))


def test_without_statistics_and_projection_a_step_adds_nothing(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "mlp", Mlp)
    network = get_algorithm("sac")(BASE, spec_of("sac")).networks["critic"]
    vector = network.init(torch.tensor(1), 0)
    assert network.finish(vector, {}) is vector
