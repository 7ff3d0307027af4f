"""LeanRL's SAC: `leanrl/sac_continuous_action_torchcompile.py` of a checkout that the user names, unchanged.

Expects the script as of 2024-09 and later, with `--compile` and `--cudagraphs`; the second is given on CUDA.  What is
equal and what is not is as for CleanRL, which it was made from (cleanrl.py), and beside that: it has one environment,
the critics are evaluated as one batched product, it draws a batch in random steps too, for which reason updates alone
have a replay of at most 10,000 transitions, and its logging goes to Weights & Biases, which is switched off.
"""

from pathlib import Path
from typing import Any

from bench.peers import script
from bench.peers.common import Sizes, Task, Unsupported, Work

SCRIPT = "leanrl/sac_continuous_action_torchcompile.py"
WARM_UP = 50  # steps in which it compiles


def updates(sizes: Sizes, checkout: str) -> Work:
    """Steps of the script without a simulation, of one update each."""
    env, transitions = script.register_idle_env(sizes.obs_dim, sizes.action_dim), min(sizes.transitions, 10_000)
    changes = {"env_id": env, "buffer_size": sizes.transitions, "learning_starts": transitions}
    return work({**script.arguments(sizes), **changes}, checkout, acting="included")


def env_steps(task: Task, checkout: str) -> Work:
    """Environment steps of the script, past the random ones."""
    if (task.num_envs, task.updates_per_vec_step) != (1, 1):
        raise Unsupported("one environment and one update per step only")
    env = script.known_env(task.env)
    changes = {"env_id": env, "buffer_size": task.buffer_size, "learning_starts": task.learning_starts}
    return work({**script.arguments(task), **changes}, checkout, env=env)


def work(arguments: dict[str, Any], checkout: str, **notes: str) -> Work:
    """Compiled, and on CUDA in graphs."""
    arguments |= {"compile": True, "cudagraphs": arguments["cuda"]}
    return script.work(Path(checkout) / SCRIPT, arguments, 1, arguments["learning_starts"] + WARM_UP, **notes)
