"""This program, served like its peers."""

from typing import Any

from bench.lib import program
from bench.lib.harness import Candidate
from bench.peers.common import Sizes, Task, Work, torch_device
from fastsac.config.settings import Auto, Config
from fastsac.run.plan import choose_mode
from fastsac.runtime.launch import Mode


def updates(sizes: Sizes, mode: Mode, members: int = 1) -> Work:
    """Updates of the learner alone, draw included."""
    return as_work(program.updates(sizes, mode, torch_device(sizes.device), members))


def env_steps(task: Task, utd_ratio: float, compile: Auto = "auto") -> Work:
    """Environment steps of the training loop, past the random ones."""
    device = torch_device(task.device)
    names = ("env", "num_envs", "learning_starts", "buffer_size", "batch_size", "hidden_dims", "gamma", "tau")
    config = Config(
        **{name: getattr(task, name) for name in names},
        utd_ratio=utd_ratio,
        actor_lr=task.lr,
        critic_lr=task.lr,
        alpha_lr=task.lr,
        compile=compile,
    )
    mode = choose_mode(config, device)[0]
    endless = config.replace(total_steps=program.ENDLESS)  # the update budget must not end during the measurement
    return as_work(program.env_steps(endless, mode, device))


def as_work(candidate: Candidate) -> Work:
    """As the adapters of the peers have it."""
    run: Any = candidate.run
    return Work(run, candidate.notes, candidate.about)
