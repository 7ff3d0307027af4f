"""skrl's SAC: its `SAC.update` on its `RandomMemory`, unchanged, with models of its documented kinds.

Equal: sizes, twin critics, learned temperature from 1, one update of everything per gradient step, Adam's rates, gamma,
tau, float32, a policy whose standard deviation depends on the observation.  Not equal: the models are its user's to
write, and here as in its examples the mean goes through tanh and the actions are drawn around it and clipped, so that
there is no log-determinant of tanh to work out: less work per update.  Its replay lives on the device, like ours.
Writing statistics, off in its `update` with `write_interval` 0, reads a dozen numbers where it is on.
"""

from typing import Any

from bench.peers.common import Sizes, Work, make_idle_env, random_transitions, torch_device, wait_for


def updates(sizes: Sizes) -> Work:
    """Gradient steps of `SAC.update`, draw included; one call makes one."""
    import torch
    from skrl import logger
    from skrl.agents.torch.sac import SAC
    from skrl.memories.torch import RandomMemory

    logger.setLevel("WARNING")
    device = torch_device(sizes.device)
    env = make_idle_env(sizes.obs_dim, sizes.action_dim)
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space}
    memory = RandomMemory(memory_size=sizes.transitions, num_envs=1, device=device, replacement=True)
    cfg = {
        "gradient_steps": 1,
        "batch_size": sizes.batch_size,
        "discount_factor": sizes.gamma,
        "polyak": sizes.tau,
        "learning_rate": (sizes.lr, sizes.lr, sizes.lr),
        "initial_entropy_value": 1.0,
        "experiment": {"write_interval": 0, "checkpoint_interval": 0},
    }
    agent = SAC(models=make_models(sizes, spaces, device), memory=memory, **spaces, device=device, cfg=cfg)
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

    def run(num_updates: int) -> int:
        for _ in range(num_updates):
            agent.update(timestep=0, timesteps=1)
        wait_for(sizes.device)
        return num_updates

    return Work(run, hyper={**cfg, "target_entropy": float(agent._target_entropy)})


def make_models(sizes: Sizes, spaces: dict[str, Any], device: Any) -> dict[str, Any]:
    """Policy, critics and targets, in its way of writing models."""
    import torch
    from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
    from torch import nn

    def mlp(num_in: int, num_out: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for width in sizes.hidden_dims:
            layers += [nn.Linear(num_in, width), nn.ReLU()]
            num_in = width
        return nn.Sequential(*layers, nn.Linear(num_in, num_out))

    class Policy(GaussianMixin, Model):
        """Mean through tanh, and a logarithm of the standard deviation from the same network."""

        def __init__(self) -> None:
            Model.__init__(self, **spaces, device=device)
            GaussianMixin.__init__(self, clip_actions=True, min_log_std=-5, max_log_std=2)
            self.net = mlp(sizes.obs_dim, 2 * sizes.action_dim)

        def compute(self, inputs: dict[str, Any], role: str) -> tuple[Any, dict[str, Any]]:
            mean, log_std = self.net(inputs["observations"]).chunk(2, dim=-1)
            return torch.tanh(mean), {"log_std": log_std}

    class Critic(DeterministicMixin, Model):
        """Q of an observation and an action."""

        def __init__(self) -> None:
            Model.__init__(self, **spaces, device=device)
            DeterministicMixin.__init__(self)
            self.net = mlp(sizes.obs_dim + sizes.action_dim, 1)

        def compute(self, inputs: dict[str, Any], role: str) -> tuple[Any, dict[str, Any]]:
            return self.net(torch.cat([inputs["observations"], inputs["taken_actions"]], dim=-1)), {}

    names = ("critic_1", "critic_2", "target_critic_1", "target_critic_2")
    return {"policy": Policy().to(device), **{name: Critic().to(device) for name in names}}
