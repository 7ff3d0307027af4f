"""This program, served like its peers."""

from bench import own
from bench.peers.common import Sizes, Task, Work, torch_device
from fastsac.config.settings import Auto, Config
from fastsac.run.plan import choose_mode
from fastsac.runtime.launch import Mode


def updates(sizes: Sizes, mode: Mode) -> Work:
    """Updates of the learner alone, draw included."""
    device = torch_device(sizes.device)
    mine = own.Sizes(
        obs_dim=sizes.obs_dim,
        action_dim=sizes.action_dim,
        hidden_dims=sizes.hidden_dims,
        batch_size=sizes.batch_size,
        transitions=sizes.transitions,
    )
    candidate = own.updates("fastsac", mine, mode, device)
    return Work(candidate.run, candidate.notes, candidate.about)


def env_steps(task: Task, utd_ratio: float, compile: Auto = "auto") -> Work:
    """Environment steps of the training loop, past the random ones."""
    device = torch_device(task.device)
    config = Config(
        env=task.env,
        num_envs=task.num_envs,
        learning_starts=task.learning_starts,
        utd_ratio=utd_ratio,
        buffer_size=task.buffer_size,
        batch_size=task.batch_size,
        hidden_dims=task.hidden_dims,
        gamma=task.gamma,
        tau=task.tau,
        actor_lr=task.lr,
        critic_lr=task.lr,
        alpha_lr=task.lr,
        compile=compile,
    )
    mode = choose_mode(config, device)[0]
    endless = config.replace(total_steps=2**31)  # the update budget must not end during the measurement
    candidate = own.env_steps("fastsac", endless, mode, device)
    return Work(candidate.run, candidate.notes, candidate.about)
