"""This program, served like its peers."""

from collections.abc import Mapping
from typing import Any

from bench.lib import program
from bench.peers.common import Sizes, Task, Work, torch_device
from fastsac.config.defaults import Auto
from fastsac.config.settings import Config
from fastsac.run.mode import choose_mode
from fastsac.runtime.launch import Mode


def updates(sizes: Sizes, mode: Mode, members: int = 1, networks: Mapping[str, Any] | None = None) -> Work:
    """Updates of the learner alone, of all its members, draw included; `networks` are settings that peers lack."""
    learner = program.make_learner(sizes, mode, torch_device(sizes.device), members, **networks or {})

    def run(num_updates: int) -> int:
        delay = learner.algorithm.actor_delay
        whole_turns = -(-num_updates // delay) * delay
        learner.launch([whole_turns] * members)
        program.wait_for(learner)
        return whole_turns

    notes = {"mode": mode, "compile_s": program.compile_seconds(learner)}
    return Work(run, notes, program.hyper_parameters(learner.config))


def env_steps(task: Task, utd_ratio: float, compile: Auto = "auto") -> Work:
    """Environment steps of the training loop, past the random ones."""
    device = torch_device(task.device)
    names = ("env", "num_envs", "learning_starts", "buffer_size", "batch_size", "hidden_dims", "gamma", "tau")
    config = Config(
        **{name: getattr(task, name) for name in names},
        preset="none",
        utd_ratio=utd_ratio,
        actor_lr=task.lr,
        critic_lr=task.lr,
        alpha_lr=task.lr,
        compile=compile,
    )
    mode = choose_mode(config, device)[0]
    training = program.Training(config, mode, device)
    notes = {"mode": mode, "compile_s": training.compile_s}
    return Work(training.run_and_wait, notes, program.hyper_parameters(config))
