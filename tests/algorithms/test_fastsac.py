"""Gradient steps of the FastSAC recipe beside FastSAC as holosoma has it: torch.nn modules, one step after another.

What differs is in docs/recipes.md: here, that the temperature's loss is on log alpha, which does not decay.
"""

import copy

import pytest
import torch
from torch import nn

from fastsac.algorithms.registry import get_algorithm
from tests.support.algorithms import spec_of
from tests.support.learners import BASE, A, O
from tests.support.networks import module_of
from tests.support.textbook import Ours, batches, project_onto, squashed

STEPS, DELAY, ATOMS, LR, TAU, ALPHA = 10, 4, 11, 3e-3, 0.125, 0.001
BETAS, DECAY = (0.9, 0.95), 1e-3
CONFIG = BASE.replace(
    algo="sac", network="mlp", activation="silu", actor_layer_norm=True, critic_layer_norm=True, zero_init_actor=True,
    actor_hidden_dims=(8, 4), critic_hidden_dims=(12, 6), critic_head="categorical", num_atoms=ATOMS, value_min=-20.0,
    value_max=20.0, critic_targets="own", actor_q="mean", update_order="critics-first", actor_delay=DELAY,
    alpha_states="next_obs", target_entropy=0.0, init_alpha=ALPHA, tau=TAU, log_std_min=-5.0, log_std_max=0.0,
    adam_beta1=BETAS[0], adam_beta2=BETAS[1], weight_decay=DECAY, actor_lr=LR, critic_lr=LR, alpha_lr=LR,
)  # fmt: skip


class FastSac:
    """holosoma's agent."""

    def __init__(self, actor, critics):
        self.actor, self.critics, self.targets = actor, critics, copy.deepcopy(critics)
        self.log_alpha = torch.tensor(ALPHA, dtype=torch.float64).log().requires_grad_()
        self.atoms = torch.linspace(-20, 20, ATOMS, dtype=torch.float64)
        self.actor_optimizer = torch.optim.AdamW(actor.parameters(), LR, BETAS, weight_decay=DECAY)
        self.critic_optimizer = torch.optim.AdamW(critics.parameters(), LR, BETAS, weight_decay=DECAY)
        self.alpha_optimizer = torch.optim.AdamW([self.log_alpha], LR, BETAS, weight_decay=0.0)

    def act(self, obs, noise):
        mean, raw = self.actor(obs).chunk(2, -1)
        log_std = -5 + 2.5 * (1 + torch.tanh(raw))
        return squashed(mean, log_std.exp(), noise)

    def update(self, k, batch, noise):
        self.update_critics_and_temperature(batch, noise[1])
        if k % DELAY == 0:
            self.update_actor(batch, noise[0])
        for target, online in zip(self.targets.parameters(), self.critics.parameters(), strict=True):
            target.data.lerp_(online.data, TAU)

    def update_critics_and_temperature(self, batch, noise):
        alpha, losses = self.log_alpha.detach().exp(), []
        with torch.no_grad():
            next_action, next_log_prob = self.act(batch.next_obs, noise)
        for critic, target in zip(self.critics, self.targets, strict=True):
            with torch.no_grad():
                prob = target(torch.cat([batch.next_obs, next_action], -1)).softmax(-1)
                soft = self.atoms - (alpha * next_log_prob)[:, None]
                prob = project_onto(self.atoms, prob, batch.reward[:, None] + batch.discount[:, None] * soft)
            out = critic(torch.cat([batch.obs, batch.action], -1))
            losses.append(-(prob * out.log_softmax(-1)).sum(-1).mean())
        minimize(self.critic_optimizer, sum(losses))
        minimize(self.alpha_optimizer, -self.log_alpha * next_log_prob.mean())

    def update_actor(self, batch, noise):
        action, log_prob = self.act(batch.obs, noise)
        logits = torch.stack([critic(torch.cat([batch.obs, action], -1)) for critic in self.critics])
        q = (logits.softmax(-1) * self.atoms).sum(-1).mean(0)
        minimize(self.actor_optimizer, (self.log_alpha.detach().exp() * log_prob - q).mean())


def minimize(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def modules_of(ours):
    """Actor, critics and target critics."""
    actor = module_of(ours.views("actor"), O, layer_norm=True, activation=nn.SiLU).double()
    critics, targets = (
        nn.ModuleList(
            module_of(ours.views("critic", target), O + A, critic=e, layer_norm=True, activation=nn.SiLU).double()
            for e in range(2)
        )
        for target in (False, True)
    )
    return actor, critics, targets


@pytest.mark.parametrize("fuse_for_gpu", [False, True], ids=["for-cpus", "for-gpus"])
def test_ten_gradient_steps_are_those_of_holosoma(fuse_for_gpu):
    ours = Ours(get_algorithm("sac")(CONFIG, spec_of("sac"), fuse_for_gpu), CONFIG)
    actor, critics, _ = modules_of(ours)
    assert not actor[-1].weight.any()
    assert not actor[-1].bias.any()
    theirs = FastSac(actor, critics)
    for k, (batch, noise) in enumerate(batches(STEPS)):
        ours.update(batch, noise)
        theirs.update(k, batch, noise)
    for mine, other in zip(modules_of(ours), (theirs.actor, theirs.critics, theirs.targets), strict=True):
        for a, b in zip(mine.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-7)
    assert ours.alpha() == pytest.approx(theirs.log_alpha.exp().item(), rel=1e-5)
    assert ours.alpha() != pytest.approx(ALPHA, rel=0.01)
    assert actor[-1].weight.abs().max() > 1e-3
