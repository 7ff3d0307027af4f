"""The exact yardstick: on a small MDP the algorithms for discrete actions find the optimal soft values and policy."""

import pytest
import torch

from fastsac.acting.collector import Collector
from fastsac.config.settings import Config
from fastsac.env import make_env, make_spec
from fastsac.learning.learner import make_parts
from fastsac.nn import philox
from tests.support import chain_env

TASK, ALPHA, GAMMA = "random:5,3,1", 0.3, 0.8
ENV = f"tests.support.chain_env:{TASK}"
CONFIG = Config(
    env=ENV, num_envs=50, total_steps=20_000, learning_starts=19_000, batch_size=256, buffer_size=20_000, gamma=GAMMA,
    tau=0.02, hidden_dims=(64,), critic_lr=3e-3, actor_lr=3e-3, init_alpha=ALPHA, learn_alpha=False, num_critics=1,
)  # fmt: skip


def trained(algo, updates):
    """A learner after so many updates on transitions of uniform actions."""
    config = CONFIG.replace(algo=algo)
    seeds = philox.derive_seeds(config.seed, philox.Purpose.ENV_SEED, config.num_envs)
    env = make_env(ENV, seeds)
    parts = make_parts(config, make_spec(ENV), torch.device("cpu"), "eager")
    learner, collector = parts.learner, Collector(config, env, *parts)
    collector.start()
    while collector.env_steps[0] < config.learning_starts:
        collector.send()
        collector.recv()
    env.close()
    for step_size in (1.0, 0.1, 0.1):
        for name in ("actor_lr", "critic_lr"):
            if name in learner.buffers["hyper"]:
                learner.buffers["hyper"][name].mul_(step_size)
        learner.launch([updates // 3])
    return learner


@pytest.mark.parametrize("algo", ["sac-discrete", "sql-discrete"])
@pytest.mark.slow
def test_values_and_policy_are_the_optimal_soft_ones(algo):
    p, r = chain_env.tables(TASK)
    q_exact, policy_exact = (torch.from_numpy(x).float() for x in chain_env.soft_policy_iteration(p, r, ALPHA, GAMMA))
    learner = trained(algo, 2_400)
    algorithm, params = learner.algorithm, learner.buffers["state"]["params"]
    states = torch.eye(5)
    q = algorithm.net("critic", params["critic"][0])(states)[0]
    spread = q_exact.max() - q_exact.min()
    if "actor" in params:
        policy = torch.softmax(algorithm.net("actor", params["actor"][0])(states), -1)
    else:
        policy = torch.softmax(q / ALPHA, -1)
    entropy, entropy_exact = (-(x * x.log()).sum(-1) for x in (policy, policy_exact))
    assert (q - q_exact).abs().max() < 0.03 * spread
    torch.testing.assert_close(policy, policy_exact, rtol=0, atol=0.04)
    torch.testing.assert_close(entropy, entropy_exact, rtol=0, atol=0.04)
