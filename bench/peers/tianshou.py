"""Tianshou's SAC by its public classes, unchanged: `SAC.update` on its replay, and its `OffPolicyTrainer`.

The trainer calls us before each of its training steps, and there it waits for its turn.  Equal: sizes, twin critics,
learned temperature from 1, one update of everything per gradient step, Adam's rates, gamma, tau, float32.  Not equal:
the two critics are updated one after the other, each by an optimizer of its own; it reads five numbers after every
update, which waits for the device; the actor's loss also works out gradients of the critics' weights, which are
dropped; its replay is NumPy in host memory.  Environments are Gymnasium's in its `DummyVectorEnv`, which steps them one
after the other.  Random steps at the start are collected before the trainer begins, as in its examples.
"""

from typing import Any

import numpy as np

from bench.peers.common import (
    ENDLESS,
    Asked,
    Gate,
    Sizes,
    Task,
    Work,
    make_idle_env,
    random_transitions,
    torch_device,
    wait_for,
)


def make_sac(env: Any, asked: Asked) -> Any:
    """Its SAC, put together as in its MuJoCo example."""
    from tianshou.algorithm import SAC
    from tianshou.algorithm.modelfree.sac import AutoAlpha, SACPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.utils.net.common import Net
    from tianshou.utils.net.continuous import ContinuousActorProbabilistic, ContinuousCritic

    device = torch_device(asked.device)
    obs_shape, action_shape = env.observation_space.shape, env.action_space.shape
    hidden = list(asked.hidden_dims)

    def make_critic() -> Any:
        net = Net(state_shape=obs_shape, action_shape=action_shape, hidden_sizes=hidden, concat=True)
        return ContinuousCritic(preprocess_net=net).to(device)

    actor = ContinuousActorProbabilistic(
        preprocess_net=Net(state_shape=obs_shape, hidden_sizes=hidden),
        action_shape=action_shape,
        unbounded=True,
        conditioned_sigma=True,
    ).to(device)
    adam = AdamOptimizerFactory(lr=asked.lr)
    alpha = AutoAlpha(-float(np.prod(action_shape)), 0.0, adam).to(device)
    return SAC(
        policy=SACPolicy(actor=actor, action_space=env.action_space),
        policy_optim=adam,
        critic=make_critic(),
        critic_optim=adam,
        critic2=make_critic(),
        critic2_optim=adam,
        tau=asked.tau,
        gamma=asked.gamma,
        alpha=alpha,
    )


def hyper_parameters(algorithm: Any, asked: Asked) -> dict[str, Any]:
    """Read back from the algorithm, but for the batch and the rates, which it is given elsewhere."""
    found = {name: getattr(algorithm, name) for name in ("tau", "gamma", "n_step_return_horizon")}
    alpha = {"alpha": algorithm.alpha.value, "target_entropy": algorithm.alpha._target_entropy}
    return {**found, **alpha, "batch_size": asked.batch_size, "lr": asked.lr}


def updates(sizes: Sizes) -> Work:
    """Calls of `SAC.update`, which draws from its replay."""
    from tianshou.algorithm.algorithm_base import policy_within_training_step
    from tianshou.data import Batch, ReplayBuffer
    from tianshou.utils.torch_utils import torch_train_mode

    algorithm = make_sac(make_idle_env(sizes.obs_dim, sizes.action_dim), sizes)
    buffer = ReplayBuffer(sizes.transitions)
    obs, action, reward, next_obs = random_transitions(sizes)
    for t in range(sizes.transitions):
        step = {"obs": obs[t], "act": action[t], "rew": reward[t], "obs_next": next_obs[t]}
        buffer.add(Batch(**step, terminated=False, truncated=False, info={}))

    def run(num_updates: int) -> int:
        # As its trainer does around its updates.
        with policy_within_training_step(algorithm.policy), torch_train_mode(algorithm):
            for _ in range(num_updates):
                algorithm.update(buffer=buffer, sample_size=sizes.batch_size)
        wait_for(sizes.device)
        return num_updates

    return Work(run, hyper=hyper_parameters(algorithm, sizes))


def env_steps(task: Task) -> Work:
    """Environment steps of its `OffPolicyTrainer`, past the random ones."""
    import gymnasium
    from tianshou.data import Collector, VectorReplayBuffer
    from tianshou.env import DummyVectorEnv
    from tianshou.trainer import OffPolicyTrainerParams

    envs = DummyVectorEnv([lambda: gymnasium.make(task.env) for _ in range(task.num_envs)])
    envs.seed(1)
    algorithm = make_sac(gymnasium.make(task.env), task)
    buffer = VectorReplayBuffer(task.buffer_size, task.num_envs)
    collector = Collector(algorithm, envs, buffer, exploration_noise=True)
    collector.reset()
    collector.collect(n_step=task.learning_starts, random=True)

    def loop(gate: Gate) -> None:
        last = 0

        def before_step(epoch: int, env_step: int) -> None:
            nonlocal last
            if env_step > last:
                gate.progress(env_step - last)
            last = env_step

        params = OffPolicyTrainerParams(
            training_collector=collector,
            max_epochs=1,
            epoch_num_steps=ENDLESS,
            batch_size=task.batch_size,
            collection_step_num_env_steps=task.num_envs,
            update_step_num_gradient_steps_per_sample=task.updates_per_vec_step / task.num_envs,
            training_fn=before_step,
            verbose=False,
            show_progress=False,
        )
        algorithm.run_training(params)

    gate = Gate(loop, lambda: wait_for(task.device))
    return Work(gate.run, hyper=hyper_parameters(algorithm, task))
