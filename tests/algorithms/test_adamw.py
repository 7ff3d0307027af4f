"""Decay of weights and Adam's betas in whole gradient steps, beside torch.optim.AdamW on the same gradients."""

from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils import _pytree as pytree

from fastsac.algorithms import step
from fastsac.algorithms.batch import Batch
from fastsac.algorithms.registry import get_algorithm
from fastsac.learning.gradient_step import make_hyper
from tests.support.algorithms import spec_of
from tests.support.learners import BASE, CPU, A, O
from tests.support.learners import make as make_learner

STEPS, DELAY, FINAL, BETAS = 20, 2, 0.2, (0.8, 0.95)
RATES, DECAYS = (1e-3, 1e-2), (0.1, 1.0)
CONFIG = BASE.replace(
    sweep=(f"critic_lr={RATES[0]},{RATES[1]}", f"weight_decay={DECAYS[0]},{DECAYS[1]}"), actor_delay=DELAY,
    adam_beta1=BETAS[0], adam_beta2=BETAS[1], lr_schedule="cosine", lr_final=FINAL,
    total_steps=BASE.learning_starts + STEPS,
)  # fmt: skip


class Torch:
    """One member's optimizers: decay of all parameters of networks, none of log_alpha; schedules of own steps."""

    def __init__(self, algorithm, state, config):
        self.optimizers = {}
        for name, part in algorithm.learned.items():
            lr, decay = getattr(config, part.lr), 0.0 if name == "log_alpha" else config.weight_decay
            param = state["params"][name].clone().requires_grad_()
            adam = torch.optim.AdamW([param], lr, BETAS, weight_decay=decay)
            num_steps = STEPS // DELAY if part.delayed else STEPS
            self.optimizers[name] = param, adam, CosineAnnealingLR(adam, num_steps, FINAL * lr)

    def step(self, grads):
        for name, grad in grads.items():
            param, adam, schedule = self.optimizers[name]
            param.grad = grad
            adam.step()
            schedule.step()


def gradients(algorithm, hyper, state, batch, noise, which):
    """Of what learns from these losses, as vectors."""
    views = {name: part.views(state["params"][name]) for name, part in algorithm.learned.items()}
    targets = {name: algorithm.learned[name].views(vector) for name, vector in state["targets"].items()}
    of = lambda views: step.objective(algorithm, hyper, views, targets, batch, noise, which)[0]  # noqa: E731
    grads = torch.func.grad(of)(views)
    parts = {name: part for name, part in algorithm.learned.items() if part.is_among(which)}
    return {name: part.vector(grads[name]) for name, part in parts.items()}


def test_members_with_decay_betas_and_a_schedule_take_the_steps_of_torch_adamw():
    algorithm = get_algorithm("sac")(CONFIG, spec_of("sac"))
    hyper = make_hyper(algorithm, CONFIG, CPU)
    fresh = [step.init(algorithm, torch.tensor(seed), 0.5) for seed in CONFIG.member_seeds]
    references = [Torch(algorithm, *pair) for pair in zip(fresh, CONFIG.members, strict=True)]
    state = pytree.tree_map(lambda *leaves: torch.stack(leaves), *fresh)
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    for k in range(STEPS):
        batch = Batch(draw(8, O), torch.tanh(draw(8, A)), draw(8), torch.full((8,), 0.9), draw(8, O))
        noise, with_actor = draw(*algorithm.noise_shape(8)), k % DELAY == 0
        for m, reference in enumerate(references):
            mine, numbers = (pytree.tree_map(lambda x: x[m], tree) for tree in (state, hyper))  # noqa: B023
            reference.step(gradients(algorithm, numbers, mine, batch, noise, "all" if with_actor else "critics"))
        one = lambda h, s: step.update(algorithm, h, s, batch, noise, with_actor)[0]  # noqa: B023, E731
        state = torch.func.vmap(one)(hyper, state)
    for m, reference in enumerate(references):
        for name, (param, _, _) in reference.optimizers.items():
            torch.testing.assert_close(state["params"][name][m], param.detach(), rtol=1e-6, atol=1e-6, msg=name)


def test_statistics_do_not_decay():
    changes: dict[str, Any] = {"network": "flash", "hidden_dims": (8,), "adam_beta1": 0.5}
    plain, decayed = (make_learner(weight_decay=decay, **changes) for decay in (0.0, 100.0))
    for learner in (plain, decayed):
        learner.launch([1])
    part = plain.algorithm.learned["critic"]
    of_plain, of_decayed = (part.views(of.buffers["state"]["params"]["critic"][0]) for of in (plain, decayed))
    assert part.network is not None
    for name in part.network.body.stat_shapes:
        assert torch.equal(of_plain[name], of_decayed[name]), name  # moved by the batch alone
    assert not torch.equal(of_plain["embed_layer"], of_decayed["embed_layer"])


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_without_decay_the_state_has_no_more_than_before(schedule):
    algorithm = get_algorithm("sac")(BASE.replace(lr_schedule=schedule), spec_of("sac"))
    assert step.init(algorithm, torch.tensor(0), 1.0)["bias_correction"].shape == (2, 2)
    assert "weight_decay" not in make_hyper(algorithm, algorithm.config, CPU)
