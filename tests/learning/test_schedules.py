"""Learning rates that change over the run: as if torch's schedulers had set them before every gradient step."""

from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR

from fastsac.algorithms.registry import get_algorithm
from fastsac.config.settings import Config
from fastsac.learning.gradient_step import make_hyper
from tests.support.algorithms import spec_of
from tests.support.learners import BASE, CPU, make

STEPS = 14  # gradient steps of the run
RUN: dict[str, Any] = {"total_steps": BASE.learning_starts + STEPS, "utd_ratio": 1.0}


def rates(schedule: str, config: Config, lr: float, count: int) -> list[float]:
    """The learning rate of each of `count` steps."""
    adam = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = {
        "linear": lambda: LinearLR(adam, start_factor=1.0, end_factor=config.lr_final, total_iters=count),
        "cosine": lambda: CosineAnnealingLR(adam, T_max=count, eta_min=config.lr_final * lr),
    }[schedule]()
    found = []
    for _ in range(count):
        found.append(float(scheduler.get_last_lr()[0]))
        adam.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("delay", [1, 3])
def test_members_take_steps_at_the_rates_of_torch_s_schedulers(schedule, delay):
    """Actor and temperature by their own steps, of which there are fewer with a delay."""
    sweep = ("lr_final=0,0.25", "critic_lr=1e-3,1e-2")
    scheduled = make(lr_schedule=schedule, sweep=sweep, actor_delay=delay, **RUN)
    scheduled.launch([STEPS] * 4)
    for member in range(4):
        config = scheduled.config.of_member(member)
        alone = make(critic_lr=config.critic_lr, actor_delay=delay, **RUN)
        own_steps = -(-STEPS // delay)
        critic = rates(schedule, config, config.critic_lr, STEPS)
        delayed = rates(schedule, config, config.actor_lr, own_steps)
        for i in range(STEPS):
            alone.buffers["hyper"]["critic_lr"].fill_(critic[i])
            for name in ("actor_lr", "alpha_lr"):
                alone.buffers["hyper"][name].fill_(delayed[i // delay])
            alone.launch([1])
        for name, value in alone.buffers["state"]["params"].items():
            torch.testing.assert_close(
                scheduled.buffers["state"]["params"][name][member], value[0], rtol=1e-4, atol=1e-6, msg=name
            )


@pytest.mark.parametrize("algo", ["sac", "sql-discrete"])
def test_a_constant_schedule_adds_nothing(algo):
    hyper = make_hyper(get_algorithm(algo)(BASE, spec_of(algo)), BASE, CPU)
    assert not {"lr_final", "lr_steps"} & hyper.keys()
