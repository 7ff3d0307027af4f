"""What learns first within a gradient step, and at which states the temperature learns."""

import itertools

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters
from torch.utils import _pytree as pytree

from fastsac.algorithms import step
from fastsac.algorithms.algorithm import METRICS
from fastsac.algorithms.batch import Batch
from fastsac.algorithms.registry import get_algorithm
from fastsac.learning.gradient_step import make_hyper
from tests.support.algorithms import make, spec_of, states
from tests.support.learners import BASE, CPU, A, O
from tests.support.learners import make as make_learner
from tests.support.loops import run

ALGOS = pytest.mark.parametrize("algo", ["sac", "sac-discrete"])
ORDERS = pytest.mark.parametrize("order", ["actor-first", "critics-first"])


class Problem:
    """A state, a batch, and updates from there."""

    def __init__(self, algo="sac", fuse_for_gpu=False, **changes):
        self.config, self.spec, self.fuse_for_gpu = BASE.replace(algo=algo, **changes), spec_of(algo), fuse_for_gpu
        algorithm = self.algorithm()
        generator = torch.Generator().manual_seed(0)
        draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
        action = algorithm.act_randomly(draw(8, A))
        self.batch = Batch(draw(8, O), action, draw(8), torch.full((8,), 0.9), draw(8, O))
        self.noise = draw(*algorithm.noise_shape(8))
        self.start = step.init(algorithm, torch.tensor(3), 0.5)
        for _ in range(3):  # Adam's first steps are of one length, whatever the loss is
            self.start, _ = self.update(self.start, update_order="joint")

    def algorithm(self, **changes):
        config = self.config.replace(**changes)
        return get_algorithm(config.algo)(config, self.spec, self.fuse_for_gpu)

    def update(self, state, with_actor=True, **changes):
        algorithm = self.algorithm(**changes)
        hyper = {k: v[0] for k, v in make_hyper(algorithm, algorithm.config, CPU).items()}
        new, metrics = step.update(algorithm, hyper, state, self.batch, self.noise, with_actor)
        return new, dict(zip(METRICS, metrics.tolist(), strict=True))

    def with_params(self, state, *names):
        """The state at the start, but for these parameters, which are those of `state`."""
        return {**self.start, "params": self.start["params"] | {name: state["params"][name] for name in names}}


@ALGOS
@pytest.mark.parametrize("fuse_for_gpu", [False, True])
@pytest.mark.parametrize("alpha_states", ["obs", "both"])
def test_critics_learn_after_the_actor_and_use_it(algo, fuse_for_gpu, alpha_states):
    problem = Problem(algo, fuse_for_gpu, alpha_states=alpha_states, actor_lr=0.1)
    joint, together = problem.update(problem.start)
    of_critics, after = problem.update(problem.with_params(joint, "actor", "log_alpha"), with_actor=False)
    new, metrics = problem.update(problem.start, update_order="actor-first")
    for name in ("actor", "log_alpha"):
        torch.testing.assert_close(new["params"][name], joint["params"][name])
    for mine, theirs in ((new["params"], of_critics["params"]), (new["targets"], of_critics["targets"])):
        torch.testing.assert_close(mine["critic"], theirs["critic"])
    assert (new["params"]["critic"] - joint["params"]["critic"]).abs().max() > 1e-6
    assert metrics == pytest.approx({**together, "critic_loss": after["critic_loss"]})


@ALGOS
def test_the_actor_learns_after_the_critics_and_asks_them(algo):
    problem = Problem(algo, critic_lr=0.1)
    of_critics, _ = problem.update(problem.start, with_actor=False)
    joint, after = problem.update(problem.with_params(of_critics, "critic"))
    new, metrics = problem.update(problem.start, update_order="critics-first")
    for name in ("actor", "log_alpha"):
        torch.testing.assert_close(new["params"][name], joint["params"][name])
    torch.testing.assert_close(new["params"]["critic"], of_critics["params"]["critic"])
    assert metrics["actor_loss"] == pytest.approx(after["actor_loss"])


@ALGOS
@ORDERS
def test_steps_without_the_actor_are_the_same_in_every_order(algo, order):
    problem = Problem(algo)
    (joint, seen), (new, metrics) = (problem.update(problem.start, False, update_order=o) for o in ("joint", order))
    pytree.tree_map(lambda a, b: torch.testing.assert_close(a, b, rtol=0, atol=0), new, joint)
    assert metrics == seen


@pytest.mark.parametrize("order", ["joint", "actor-first", "critics-first"])
@pytest.mark.parametrize("network", [{}, {"network": "flash", "hidden_dims": (8,)}], ids=["mlp", "flash"])
def test_members_that_are_out_of_step_learn_as_alone(order, network):
    """At steps that are one member's turn and not the other's."""
    settings = {**network, "actor_delay": 2, "update_order": order, "actor_lr": 0.05}
    many = make_learner(sweep=("utd_ratio=1,0.5",), **settings)
    for due in ([3, 2], [2, 1], [1, 2]):
        many.launch(due)
    rows = many.read_metrics()
    for member, utd_ratio in enumerate((1.0, 0.5)):
        alone = make_learner(utd_ratio=utd_ratio, **settings)
        alone.launch([many.grad_steps[member]])
        for name, value in alone.buffers["state"]["params"].items():
            torch.testing.assert_close(many.buffers["state"]["params"][name][member], value[0], msg=name)
        assert rows[member] == pytest.approx(alone.read_metrics()[0], rel=1e-4)


@ALGOS
@ORDERS
@pytest.mark.parametrize("changes", [{}, {"seeds": 2, "network": "flash", "hidden_dims": (8,)}], ids=["plain", "all"])
def test_recorded_launches_give_the_numbers_of_eager_ones(recorder, algo, order, changes):
    settings = {**changes, "update_order": order, "actor_delay": 2, "alpha_states": "both", "updates_per_launch": 4}
    eager, captured = make(algo, **settings), make(algo, "captured", **settings)
    assert np.array_equal(run(eager, steps=8), run(captured, steps=8))
    assert recorder.replayed > 10
    pytree.tree_map(lambda a, b: torch.testing.assert_close(a, b, rtol=0, atol=0), states(eager), states(captured))


@pytest.mark.slow
@ORDERS
def test_compiled_is_one_graph_and_agrees_with_eager(order):
    torch._dynamo.reset()
    counters.clear()
    settings = {"update_order": order, "alpha_states": "both", "target_sigma": 0.15, "weight_decay": 1e-3}
    compiled, eager = make("sac", "compiled", **settings), make("sac", **settings)
    np.testing.assert_allclose(run(compiled), run(eager), rtol=1e-3, atol=1e-4)
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] == 2  # the update and the actor


@ALGOS
@pytest.mark.parametrize(("states_", "weights"), [("obs", (1, 0)), ("next_obs", (0, 1)), ("both", (0.5, 0.5))])
@pytest.mark.parametrize("fuse_for_gpu", [False, True])
def test_the_temperature_learns_at_the_states_that_are_asked_for(algo, states_, weights, fuse_for_gpu):
    """Its loss at obs, and at next_obs, where obs and its noise are exchanged for those."""
    problem = Problem(algo, fuse_for_gpu, alpha_states=states_)
    _, metrics = problem.update(problem.start)
    losses = []
    for _ in ("obs", "next_obs"):
        losses.append(problem.update(problem.start, alpha_states="obs")[1]["alpha_loss"])
        problem.batch = problem.batch._replace(obs=problem.batch.next_obs)
        problem.noise = problem.noise.flip(0)
    assert metrics["alpha_loss"] == pytest.approx(sum(w * loss for w, loss in zip(weights, losses, strict=True)))
    assert losses[0] != pytest.approx(losses[1])


@ALGOS
@pytest.mark.parametrize("order", ["joint", "actor-first", "critics-first"])
def test_the_temperature_is_not_delayed_where_it_learns_with_the_critics(algo, order):
    settings = {"actor_delay": 3, "update_order": order}
    delayed, with_critics = make(algo, **settings), make(algo, alpha_states="next_obs", **settings)
    for loop, moves in ((delayed, [True, False, False, True]), (with_critics, [True] * 4)):
        run(loop, steps=4, updates=0)
        values = [states(loop)["params"]["log_alpha"].item()]
        for _ in range(4):
            loop.learner.launch([1])
            values.append(states(loop)["params"]["log_alpha"].item())
        assert [a != b for a, b in itertools.pairwise(values)] == moves
        assert loop.learner.read_metrics()[0]["alpha"] == pytest.approx(1.0, rel=0.01)  # its mean, not more


def test_the_target_entropy_may_be_that_of_a_gaussian():
    hyper = Problem(target_sigma=0.15).algorithm().hyper(BASE.replace(target_sigma=0.15))
    normal = torch.distributions.Normal(0.0, 0.15)
    assert hyper["target_entropy"] == pytest.approx(A * normal.entropy().item())
    assert hyper["target_entropy"] == pytest.approx(-0.478 * A, abs=1e-3)
