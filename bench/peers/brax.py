"""Brax's SAC: its `train`, unchanged, on an environment that costs nothing.

`train` takes one step of one environment and then makes `per_call` updates as one `lax.scan`, over and over; it calls
us between two of those, and there it waits for its turn.  Equal: sizes, twin critics, learned temperature from 1, one
update of everything per gradient step, Adam's rates, gamma, tau, float32, no normalising of observations.  Not equal:
it draws the batches of a call at once; each of its three losses has draws of its own, so that the actor is evaluated
three times per update and twice at the same observations; its target entropy is half of ours; one step of an idle
environment and an evaluation of one step come with every call of 500 updates; and JAX chooses the threads, by the
processors that the process may use.  Its loop has its own environments only, on the device: there are no environment
steps of Gymnasium's tasks.
"""

from typing import Any

from bench.peers.common import Gate, Sizes, Task, Unsupported, Work

ENDLESS = 10**6  # calls


def updates(sizes: Sizes, per_call: int = 500) -> Work:
    """Gradient steps of `train`, draw included."""
    import jax
    from brax.training.agents.sac import networks, train

    def factory(*args: Any, **kwargs: Any) -> Any:
        return networks.make_sac_networks(*args, **kwargs, hidden_layer_sizes=sizes.hidden_dims)

    settings: dict[str, Any] = {
        "num_timesteps": sizes.transitions + ENDLESS,
        "num_evals": ENDLESS + 1,  # an evaluation after every call: it is where `train` calls us
        "num_envs": 1,
        "num_eval_envs": 1,
        "episode_length": 1,
        "min_replay_size": sizes.transitions,
        "max_replay_size": sizes.transitions,
        "grad_updates_per_step": per_call,
        "batch_size": sizes.batch_size,
        "learning_rate": sizes.lr,
        "discounting": sizes.gamma,
        "tau": sizes.tau,
        "normalize_observations": False,
        "max_devices_per_host": 1,
    }

    def loop(gate: Gate) -> None:
        calls = 0

        def progress(step: int, metrics: Any) -> None:
            nonlocal calls
            calls += 1
            if calls > 1:  # the first one comes before any update
                gate.progress(per_call)

        train.train(make_idle_env(sizes), network_factory=factory, progress_fn=progress, seed=1, **settings)

    gate = Gate(loop)
    return Work(gate.run, {"scan": per_call}, {**settings, "jax_device": str(jax.devices()[0])})


def make_idle_env(sizes: Sizes) -> Any:
    """One of its environments, with random observations and nothing to simulate."""
    import jax
    from brax.envs.base import Env, State

    class Idle(Env):
        """Random numbers."""

        observation_size = sizes.obs_dim
        action_size = sizes.action_dim
        backend = "none"

        def reset(self, rng: Any) -> State:
            """A first observation; the seed of the next ones travels along."""
            obs = jax.random.normal(rng, (sizes.obs_dim,))
            zero = jax.numpy.zeros(())
            return State(None, obs, zero, zero, {}, {"rng": rng})

        def step(self, state: State, action: Any) -> State:
            """The next observation, whatever the action."""
            rng, key = jax.random.split(state.info["rng"])
            obs = jax.random.normal(key, (sizes.obs_dim,))
            return state.replace(obs=obs, reward=obs[0], info={**state.info, "rng": rng})

    return Idle()


def env_steps(task: Task) -> Work:
    """Not with Gymnasium's environments."""
    raise Unsupported("own environments only")
