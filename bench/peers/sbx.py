"""SBX, Stable-Baselines3's SAC in JAX, by its public functions, unchanged.

A call of its `train` draws all batches of that call at once, in NumPy, and runs them as one compiled loop: `per_call`
says how many.  Equal: sizes, twin critics, learned temperature from 1, one update of everything per gradient step
(`policy_delay` 1), Adam's rates, gamma, tau, float32.  Not equal: replay and environments are Stable-Baselines3's (see
sb3.py); losses are read once per call; it updates the target before the actor, which costs the same.  In training a
call makes as many updates as one vector step brings, which is what its users get.
"""

from typing import Any

from bench.peers import sb3
from bench.peers.common import Sizes, Task, Work


def updates(sizes: Sizes, per_call: int = 1) -> Work:
    """Gradient steps of `SAC.train`, so many per call."""
    from sbx import SAC

    model = sb3.for_updates(SAC, sizes)

    def run(num_updates: int) -> int:
        calls = max(1, round(num_updates / per_call))
        for _ in range(calls):
            model.train(gradient_steps=per_call, batch_size=sizes.batch_size)  # reads the losses: waits for the device
        return calls * per_call

    return Work(run, {"per call": per_call}, hyper_parameters(model))


def env_steps(task: Task) -> Work:
    """Environment steps of `SAC.learn`, past the random ones."""
    from sbx import SAC

    model = sb3.for_training(SAC, task)
    return Work(sb3.learn(model, task), hyper=hyper_parameters(model))


def hyper_parameters(model: Any) -> dict[str, Any]:
    """Read back from the model, with the device that JAX chose."""
    import jax

    return {**sb3.hyper_parameters(model), "policy_delay": model.policy_delay, "jax_device": str(jax.devices()[0])}
