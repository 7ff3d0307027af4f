"""skrl's SAC: its `SAC.update` on its `RandomMemory`, and its `SequentialTrainer`, with models of its documented kinds.

The trainer's environments wait for their turn before a step; they are Gymnasium's, stepped one after the other.

Equal: sizes, twin critics, learned temperature from 1, one update of everything per gradient step, Adam's rates, gamma,
tau, float32, a policy whose standard deviation depends on the observation.  Not equal: the models are its user's to
write, and here as in its examples the mean goes through tanh and the actions are drawn around it and clipped, so that
there is no log-determinant of tanh to work out: less work per update.  Its replay lives on the device, like ours.
Writing statistics, off here with `write_interval` 0, reads a dozen numbers per update where it is on.
"""

from typing import Any

from bench.peers.common import (
    ENDLESS,
    Asked,
    Gate,
    Sizes,
    Task,
    Work,
    make_idle_env,
    random_transitions,
    repeated,
    torch_device,
    wait_for,
)


def updates(sizes: Sizes) -> Work:
    """Gradient steps of `SAC.update`, draw included; one call makes one."""
    import torch
    from skrl.memories.torch import RandomMemory

    device = torch_device(sizes.device)
    env = make_idle_env(sizes.obs_dim, sizes.action_dim)
    memory = RandomMemory(memory_size=sizes.transitions, num_envs=1, device=device, replacement=True)
    agent, cfg = make_sac(env.observation_space, env.action_space, memory, sizes, device)
    agent.init()
    obs, action, reward, next_obs = (torch.from_numpy(x).to(device) for x in random_transitions(sizes))
    memory.add_samples(
        observations=obs,
        actions=action,
        rewards=reward[:, None],
        next_observations=next_obs,
        terminated=torch.zeros(sizes.transitions, 1, dtype=torch.bool, device=device),
    )
    agent.enable_models_training_mode(True)  # as it does itself around its updates
    return Work(repeated(lambda: agent.update(timestep=0, timesteps=1), sizes.device), hyper=cfg)


def env_steps(task: Task) -> Work:
    """Environment steps of its `SequentialTrainer`, past the random ones."""
    import gymnasium
    from skrl.envs.wrappers.torch import wrap_env
    from skrl.memories.torch import RandomMemory
    from skrl.trainers.torch import SequentialTrainer

    class Paced(gymnasium.vector.VectorWrapper):
        """Waits for its turn before a step; the first of all is let through."""

        steps = 0

        def step(self, actions: Any) -> Any:
            if self.steps:
                gate.progress(task.num_envs)
            self.steps += 1
            return self.env.step(actions)

    device = torch_device(task.device)
    envs = gymnasium.make_vec(task.env, num_envs=task.num_envs, vectorization_mode="sync")
    env = wrap_env(Paced(envs), verbose=False)
    capacity = -(-task.buffer_size // task.num_envs)
    random_steps = -(-task.learning_starts // task.num_envs)
    memory = RandomMemory(memory_size=capacity, num_envs=task.num_envs, device=device, replacement=True)
    schedule = {
        "gradient_steps": task.updates_per_vec_step,
        "random_timesteps": random_steps,
        "learning_starts": random_steps,
    }
    agent, cfg = make_sac(env.observation_space, env.action_space, memory, task, device, **schedule)
    told = {"timesteps": ENDLESS, "headless": True, "disable_progressbar": True}
    trainer = SequentialTrainer(cfg=told, env=env, agents=agent)
    gate = Gate(lambda _: trainer.train(), lambda: wait_for(task.device))
    gate.run((random_steps + 2) * task.num_envs)
    return Work(gate.run, hyper=cfg)


def make_sac(
    obs_space: Any, action_space: Any, memory: Any, asked: Asked, device: Any, **schedule: int
) -> tuple[Any, dict[str, Any]]:
    """Its SAC, and the settings it was given."""
    import logging

    from skrl.agents.torch.sac import SAC

    logging.getLogger("skrl").setLevel(logging.WARNING)
    cfg = {
        "gradient_steps": 1,
        "batch_size": asked.batch_size,
        "discount_factor": asked.gamma,
        "polyak": asked.tau,
        "learning_rate": (asked.lr, asked.lr, asked.lr),
        "initial_entropy_value": 1.0,
        "experiment": {"write_interval": 0, "checkpoint_interval": 0},
        **schedule,
    }
    spaces = {"observation_space": obs_space, "action_space": action_space}
    models = make_models(spaces, asked.hidden_dims, device)
    agent = SAC(models=models, memory=memory, **spaces, device=device, cfg=cfg)
    return agent, {**cfg, "target_entropy": float(agent._target_entropy)}


def make_models(spaces: dict[str, Any], hidden_dims: tuple[int, ...], device: Any) -> dict[str, Any]:
    """Policy, critics and targets, in its way of writing models."""
    import torch
    from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
    from torch import nn

    obs_dim, action_dim = spaces["observation_space"].shape[0], spaces["action_space"].shape[0]

    def mlp(num_in: int, num_out: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for width in hidden_dims:
            layers += [nn.Linear(num_in, width), nn.ReLU()]
            num_in = width
        return nn.Sequential(*layers, nn.Linear(num_in, num_out))

    class Policy(GaussianMixin, Model):
        """Mean through tanh, and a logarithm of the standard deviation from the same network."""

        def __init__(self) -> None:
            Model.__init__(self, **spaces, device=device)
            GaussianMixin.__init__(self, clip_actions=True, min_log_std=-5, max_log_std=2)
            self.net = mlp(obs_dim, 2 * action_dim)

        def compute(self, inputs: dict[str, Any], role: str) -> tuple[Any, dict[str, Any]]:
            mean, log_std = self.net(inputs["observations"]).chunk(2, dim=-1)
            return torch.tanh(mean), {"log_std": log_std}

    class Critic(DeterministicMixin, Model):
        """Q of an observation and an action."""

        def __init__(self) -> None:
            Model.__init__(self, **spaces, device=device)
            DeterministicMixin.__init__(self)
            self.net = mlp(obs_dim + action_dim, 1)

        def compute(self, inputs: dict[str, Any], role: str) -> tuple[Any, dict[str, Any]]:
            return self.net(torch.cat([inputs["observations"], inputs["taken_actions"]], dim=-1)), {}

    names = ("critic_1", "critic_2", "target_critic_1", "target_critic_2")
    return {"policy": Policy().to(device), **{name: Critic().to(device) for name in names}}
