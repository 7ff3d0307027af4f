"""Gradient steps of the FlashSAC recipe beside FlashSAC as its paper has it: torch.nn modules, one step after another.

What differs from the paper is in docs/recipes.md: here, that the temperature's loss is on log alpha, that critics'
losses are summed, that schedules end with the run, and that the noise at next_obs is that of the temperature.
"""

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from fastsac.algorithms.registry import get_algorithm
from tests.support.algorithms import spec_of
from tests.support.learners import BASE, A, O
from tests.support.learners import make as make_learner
from tests.support.textbook import Ours, batches, project_onto, squashed

STEPS, WIDTH, BLOCKS, ATOMS = 10, 8, 2, 11
LR, TAU, SIGMA, ALPHA = 3e-3, 0.01, 0.15, 0.01
RECIPE: dict[str, Any] = {
    "network": "flash", "hidden_dims": (WIDTH,) * BLOCKS, "critic_head": "categorical", "num_atoms": ATOMS,
    "value_min": -5.0, "value_max": 5.0, "critic_targets": "min", "actor_q": "min", "update_order": "actor-first",
    "actor_delay": 2, "alpha_states": "both", "target_sigma": SIGMA, "init_alpha": ALPHA, "tau": TAU,
    "lr_schedule": "cosine", "lr_final": 0.5, "actor_lr": LR, "critic_lr": LR, "alpha_lr": LR, "log_std_min": -10.0,
    "log_std_max": 2.0,
}  # fmt: skip
CONFIG = BASE.replace(**RECIPE, algo="sac", total_steps=BASE.learning_starts + STEPS)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.up_norm = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.BatchNorm1d(4 * WIDTH, momentum=0.01)
        self.down, self.down_norm = nn.Linear(4 * WIDTH, WIDTH, bias=False), nn.BatchNorm1d(WIDTH, momentum=0.01)

    def forward(self, x):
        inner = torch.relu(self.up_norm(self.up(x)))
        return x + torch.relu(self.down_norm(self.down(inner)))


class Trunk(nn.Module):
    def __init__(self, num_inputs):
        super().__init__()
        self.norm = nn.BatchNorm1d(num_inputs, momentum=0.01)
        self.embed = nn.Linear(num_inputs, WIDTH, bias=False)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.rms = nn.RMSNorm(WIDTH, eps=1e-6)

    def forward(self, x):
        x = self.embed(self.norm(x))
        for block in self.blocks:
            x = block(x)
        return self.rms(x)


class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.mean, self.raw_std = Trunk(O), nn.Linear(WIDTH, A), nn.Linear(WIDTH, A)

    def forward(self, obs, noise):
        x = self.trunk(obs)
        log_std = -10 + 6 * (1 + torch.tanh(self.raw_std(x)))
        return squashed(self.mean(x), log_std.exp(), noise)


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.head = Trunk(O + A), nn.Linear(WIDTH, ATOMS)

    def forward(self, obs, action):
        return self.head(self.trunk(torch.cat([obs, action], -1)))


def normalize_weights(module):
    """Rows of weights to length 1; gain and shift of BatchNorm together, and the gain of RMSNorm, to sqrt(width)."""
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Linear):
                part.weight.div_(part.weight.norm(dim=-1, keepdim=True))
            elif isinstance(part, nn.BatchNorm1d):
                length = torch.cat([part.weight, part.bias]).norm() / math.sqrt(len(part.weight))
                part.weight.div_(length)
                part.bias.div_(length)
            elif isinstance(part, nn.RMSNorm):
                part.weight.div_(part.weight.norm() / math.sqrt(WIDTH))


class FlashSac:
    """The paper's agent."""

    def __init__(self, actor, critics):
        self.actor, self.critics, self.targets = actor, critics, copy.deepcopy(critics)
        self.log_alpha = torch.tensor(ALPHA, dtype=torch.float64).log().requires_grad_()
        self.atoms = torch.linspace(-5, 5, ATOMS, dtype=torch.float64)
        self.target_entropy = 0.5 * A * math.log(2 * math.pi * math.e * SIGMA**2)
        self.optimizers = {}
        for name, params, steps in (
            ("actor", actor.parameters(), STEPS // 2),
            ("alpha", [self.log_alpha], STEPS // 2),
            ("critic", critics.parameters(), STEPS),
        ):
            adam = torch.optim.Adam(params, lr=LR)
            self.optimizers[name] = adam, CosineAnnealingLR(adam, steps, eta_min=LR / 2)

    def minimize(self, name, loss, module=None):
        adam, schedule = self.optimizers[name]
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        if module is not None:
            normalize_weights(module)

    def value(self, logits):
        return (logits.softmax(-1) * self.atoms).sum(-1)

    def update(self, k, batch, noise):
        if k % 2 == 0:
            self.update_actor_and_temperature(batch, noise)
        self.update_critics(batch, noise[1])
        for target, online in zip(self.targets.parameters(), self.critics.parameters(), strict=True):
            target.data.lerp_(online.data, TAU)

    def update_actor_and_temperature(self, batch, noise):
        n = len(batch.obs)
        self.actor.train()
        self.critics.eval()
        actions, log_probs = self.actor(torch.cat([batch.obs, batch.next_obs]), torch.cat([*noise]))
        action, log_prob = actions[:n], log_probs[:n]
        q = torch.stack([self.value(critic(batch.obs, action)) for critic in self.critics]).amin(0)
        alpha = self.log_alpha.detach().exp()
        self.minimize("actor", (alpha * log_prob - q).mean(), self.actor)
        entropy = -log_probs.detach().mean()
        self.minimize("alpha", self.log_alpha * (entropy - self.target_entropy))

    def update_critics(self, batch, noise):
        n, alpha = len(batch.obs), self.log_alpha.detach().exp()
        with torch.no_grad():
            self.actor.eval()
            next_action, next_log_prob = self.actor(batch.next_obs, noise)
            obs = torch.cat([batch.obs, batch.next_obs])
            action = torch.cat([batch.action, next_action])
            self.targets.train()
            logits = torch.stack([target(obs, action)[n:] for target in self.targets])  # [2, B, W]
            lower = self.value(logits).argmin(0)  # [B]
            prob = logits.softmax(-1)[lower, torch.arange(n)]  # [B, W]
            moved = batch.reward[:, None] + batch.discount[:, None] * (self.atoms - (alpha * next_log_prob)[:, None])
            target = project_onto(self.atoms, prob, moved)
        self.critics.train()
        out = torch.stack([critic(obs, action)[:n] for critic in self.critics])  # [2, B, W]
        self.minimize("critic", -(target * out.log_softmax(-1)).sum(-1).mean(-1).sum(), self.critics)


def load_norm(norm, views, name):
    norm.weight.data, norm.bias.data = views[f"{name}_scale"][0].clone(), views[f"{name}_shift"][0].clone()
    norm.running_mean, norm.running_var = views[f"{name}_mean"][0].clone(), views[f"{name}_var"][0].clone()


def load_trunk(trunk, views):
    load_norm(trunk.norm, views, "input")
    trunk.embed.weight.data = views["embed_layer"].T.clone()
    for i, block in enumerate(trunk.blocks):
        for part in ("up", "down"):
            getattr(block, part).weight.data = views[f"{part}{i}_layer"].T.clone()
            load_norm(getattr(block, f"{part}_norm"), views, f"{part}{i}")
    trunk.rms.weight.data = views["rms_scale"][0].clone()


def actor_of(ours):
    views, actor = ours.views("actor"), Actor()
    load_trunk(actor.trunk, views)
    heads = (actor.mean, actor.raw_std)
    for head, weight, bias in zip(heads, views["last_layer"].T.chunk(2), views["last_bias"][0].chunk(2), strict=True):
        head.weight.data, head.bias.data = weight.clone(), bias.clone()
    return actor


def critics_of(ours, target=False):
    critics = nn.ModuleList(Critic() for _ in range(2))
    for e, critic in enumerate(critics):
        assert isinstance(critic, Critic)
        views = {name: value[e] for name, value in ours.views("critic", target).items()}
        load_trunk(critic.trunk, views)
        critic.head.weight.data, critic.head.bias.data = views["last_layer"].T.clone(), views["last_bias"][0].clone()
    return critics


def assert_same(mine, theirs, with_statistics=True):
    theirs = theirs.state_dict()
    for name, value in mine.state_dict().items():
        if "num_batches" not in name and (with_statistics or "running" not in name):
            torch.testing.assert_close(value, theirs[name], rtol=0, atol=1e-7, msg=name)


@pytest.mark.parametrize("fuse_for_gpu", [False, True], ids=["for-cpus", "for-gpus"])
def test_ten_gradient_steps_are_those_of_the_paper(fuse_for_gpu):
    ours = Ours(get_algorithm("sac")(CONFIG, spec_of("sac"), fuse_for_gpu), CONFIG)
    theirs = FlashSac(actor_of(ours), critics_of(ours))
    start = copy.deepcopy(theirs.actor)
    for k, (batch, noise) in enumerate(batches(STEPS)):
        ours.update(batch, noise)
        theirs.update(k, batch, noise)
    assert_same(actor_of(ours), theirs.actor)
    assert_same(critics_of(ours), theirs.critics)
    assert_same(critics_of(ours, target=True), theirs.targets, with_statistics=False)  # theirs go by no statistics
    assert ours.alpha() == pytest.approx(theirs.log_alpha.exp().item(), abs=1e-7)
    assert (theirs.actor.mean.weight - start.mean.weight).abs().max() > 1e-3  # there was something to learn


@pytest.mark.parametrize("seeds", [1, 2])
def test_weights_keep_their_lengths_over_100_gradient_steps(seeds):
    learner = make_learner(**RECIPE, seeds=seeds)
    learner.launch([100] * seeds)
    for name in ("actor", "critic"):
        for vector in learner.buffers["state"]["params"][name]:
            views = learner.algorithm.learned[name].views(vector)
            for key, value in views.items():
                if key.endswith("layer"):
                    length = value.norm(dim=-2)
                elif key.endswith("scale"):
                    shift = views.get(key.replace("scale", "shift"), torch.zeros(()))
                    length = ((value.square() + shift.square()).sum(-1) / value.shape[-1]).sqrt()
                else:
                    continue
                torch.testing.assert_close(length, torch.ones_like(length), atol=1e-6, rtol=0, msg=key)
