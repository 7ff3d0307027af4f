"""How long the updates of a run take on a CPU, about: a word before hours of them begin.

The figures are of `python -m bench.recipes` (bench/results/cpu2/recipes.json), whose recipes differ widely in size.
"""

from fastsac.algorithms import registry
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.nn.vectors import num_params
from fastsac.run.mode import expected_updates

FLOP_PER_NUMBER = 12.0  # of an update's matrix products, for each parameter and transition: 8 to 17
GFLOP_PER_S = 75.0  # of a core: 50 to 85
LONG_S = 2 * 3600.0  # from which on it is said


def forecast(config: Config, spec: EnvSpec, cores: int) -> str:
    """What to say of a run whose updates take hours on so many cores; nothing of others, and of images."""
    if spec.image is not None:  # whose convolutions use a parameter many times
        return ""
    updates, gflop = expected_updates(config), config.num_members * gflop_per_update(config, spec)
    seconds = updates * gflop / (GFLOP_PER_S * cores)
    if seconds < LONG_S:
        return ""
    each = f"{cores} CPU cores, if each comes" if cores > 1 else "a CPU core, if it comes"
    return (
        f"{updates:,} updates of about {gflop:.2g} GFLOP take {_in_words(seconds)} on {each} to {GFLOP_PER_S:.0f} "
        "GFLOP a second. A GPU is faster; fewer --total-steps, a smaller --batch-size or narrower layers are less work."
    )


def gflop_per_update(config: Config, spec: EnvSpec) -> float:
    """Of one member, about."""
    networks = registry.get_algorithm(config.algo)(config, spec).networks.values()
    return FLOP_PER_NUMBER * config.batch_size * sum(num_params(network.shapes) for network in networks) / 1e9


def _in_words(seconds: float) -> str:
    hours = seconds / 3600
    return f"some {hours:.0f} hours" if hours < 48 else f"some {hours / 24:.0f} days"
