"""Settings that have no effect in a run: refused where somebody gave them, left out where the preset brought them."""

from collections.abc import Iterator, Mapping

from fastsac.algorithms import registry
from fastsac.algorithms.algorithm import OPTIONS
from fastsac.algorithms.plugins import find_network
from fastsac.config.presets import find_preset
from fastsac.config.settings import Config
from fastsac.env import EnvSpec

TRAITS_OF_SETTINGS = {
    "activation": "activation", "actor_layer_norm": "layer_norm", "critic_layer_norm": "layer_norm",
    "zero_init_actor": "zero_last",
}  # fmt: skip
"""What only some architectures have, by the settings that ask for it."""


def settle(config: Config, spec: EnvSpec, before: Config | None = None) -> tuple[Config, str]:
    """The settings with the default of all that has no effect, and what the preset has lost by that, in words.

    Args:
        config: settings, with the name of an algorithm and not auto.
        spec: of the task.
        before: settings of the run that goes on, whose values stay: versions without this check took them.

    Raises:
        ValueError: a setting without effect has a value that is neither its default, nor the preset's, nor the run's.
    """
    idle = {
        name: why
        for why, names in _without_effect(config, spec)
        for name in names
        if getattr(config, name) != config.default(name)
        and (before is None or getattr(config, name) != getattr(before, name))
    }
    _, brought = find_preset(config.env, config.preset, config.algo)
    for name, why in idle.items():
        if getattr(config, name) != brought.get(name):
            raise ValueError(f"{name} has no effect {why}. Leave it out.")
    note = f"left out of preset {config.preset}: {_in_words(idle)}" if idle else ""
    return config.replace(**{name: config.default(name) for name in idle}), note


def _in_words(idle: Mapping[str, str]) -> str:
    """`log_std_min and target_sigma (no effect on algo sac-discrete), num_atoms (no effect with ...)`."""
    reasons = dict.fromkeys(idle.values())
    by_reason = {reason: [name for name in idle if idle[name] == reason] for reason in reasons}
    return ", ".join(f"{' and '.join(names)} (no effect {reason})" for reason, names in by_reason.items())


def _without_effect(config: Config, spec: EnvSpec) -> Iterator[tuple[str, list[str]]]:
    """Names of settings that change nothing, and why they do not."""
    yield f"on algo {config.algo}", sorted(OPTIONS - registry.get_algorithm(config.algo).options)
    has = find_network(config.network).has
    yield f"on network {config.network}", [name for name, trait in TRAITS_OF_SETTINGS.items() if trait not in has]
    if config.critic_head == "scalar":
        yield "with critic_head scalar", ["num_atoms", "value_min"]
        if not config.reward_norm:
            yield "with critic_head scalar and without reward_norm", ["value_max"]
    if config.lr_schedule == "constant":
        yield "with lr_schedule constant", ["lr_final"]
    if config.n_step == 1:
        yield "with n_step 1", ["n_step_entropy"]
    if config.actor_hidden_dims is not None and config.critic_hidden_dims is not None:
        _, brought = find_preset(config.env, config.preset, config.algo)
        which = "set the widths"
        if {"actor_hidden_dims", "critic_hidden_dims"} <= {*brought}:
            which = f"preset {config.preset} has set, and --actor-hidden-dims and --critic-hidden-dims change"
        yield f"beside actor_hidden_dims and critic_hidden_dims, which {which}", ["hidden_dims"]
    if spec.image is not None:
        yield "on images", ["obs_norm"]
