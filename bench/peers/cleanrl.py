"""CleanRL's SAC: `cleanrl/sac_continuous_action.py` of a checkout that the user names, unchanged.

Expects the script as of version 1.0 and later, whose options are tyro's; more than one environment needs one that has
`--num-envs` (2024 and later).  It reads `final_observation` where an episode was truncated, which is Gymnasium's name
before 1.0: it runs in an environment with that one, where HalfCheetah is -v4 (the same simulation).

Equal: sizes, twin critics, learned temperature from 1, Adam's rates, gamma, tau, float32, and by arguments one update
of actor, temperature and target per gradient step.  Not equal: the temperature's loss evaluates the actor once more;
log-probabilities are in units of the environment's actions; it makes one update per vector step whatever the number of
environments, so that 1 update per 8 steps is 8 environments instead of 64; every 100 steps it reads and logs a handful
of numbers to TensorBoard; the actor's loss also works out gradients of the critics' weights, which are dropped; the
temperature has the critics' rate.  Updates alone are the same script on an environment that costs nothing: acting,
storing and drawing are in them.
"""

from pathlib import Path

from bench.peers import script
from bench.peers.common import Sizes, Task, Unsupported, Work

SCRIPT = "cleanrl/sac_continuous_action.py"
WARM_UP = 10  # steps


def updates(sizes: Sizes, checkout: str) -> Work:
    """Steps of the script without a simulation, of one update each."""
    env = script.register_idle_env(sizes.obs_dim, sizes.action_dim)
    changes = {"env_id": env, "buffer_size": sizes.transitions + 1, "learning_starts": sizes.transitions}
    arguments = {**script.arguments(sizes), **changes}
    return script.work(Path(checkout) / SCRIPT, arguments, 1, sizes.transitions + WARM_UP, acting="included")


def env_steps(task: Task, checkout: str) -> Work:
    """Environment steps of the script, past the random ones."""
    num_envs, rest = divmod(task.num_envs, task.updates_per_vec_step)
    if rest or num_envs < 1:
        raise Unsupported("it makes one update per vector step")
    env = script.known_env(task.env)
    random_steps = -(-task.learning_starts // num_envs)  # it counts vector steps
    changes = {"env_id": env, "buffer_size": task.buffer_size, "learning_starts": random_steps}
    arguments = {**script.arguments(task), **changes}
    if num_envs > 1:
        arguments["num_envs"] = num_envs
    first_steps = (random_steps + WARM_UP) * num_envs
    return script.work(Path(checkout) / SCRIPT, arguments, num_envs, first_steps, env=env, envs=num_envs)
