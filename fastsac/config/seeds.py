"""The seeds of a run: a count from the first one on, or a list."""

from collections.abc import Iterator, Sequence

from fastsac.config.kinds import shown

MAX_SEED = 2**31  # above all seeds


def seed_list(seed: int, seeds: int | tuple[int, ...]) -> list[int]:
    """The seeds that `seeds` counts from `seed` on, or those that it lists."""
    return list(range(seed, seed + seeds)) if isinstance(seeds, int) else list(seeds)


def check_seed(seed: int) -> None:
    """Raise a ValueError where a number cannot be a seed."""
    if not 0 <= seed < MAX_SEED:
        raise ValueError(f"seed must be in [0, 2^31), got {seed}.")


def rules(seed: int, seeds: int | tuple[int, ...]) -> Iterator[tuple[bool, str]]:
    """What must hold, and the message if it does not."""
    if isinstance(seeds, int):
        yield seeds >= 1, f"seeds must be a count of at least 1, or a list such as 3,7,8, got {seeds}."
        yield seed + seeds <= MAX_SEED, f"seed must be in [0, 2^31 - seeds], got {seed}. Choose a smaller one."
        return
    yield len(seeds) > 0, "seeds must be a count or a list of at least one seed, got ()."
    yield len({*seeds}) == len(seeds), f"seeds must differ from each other, got {shown(seeds)}."
    yield max(seeds) < MAX_SEED, f"seeds must each be in [0, 2^31), got {shown(seeds)}."
    yield (
        seed == 1,
        f"seed has no place beside a list of seeds, got seed {seed} and seeds {shown(seeds)}. Leave it out.",
    )


def seeds_text(seeds: Sequence[int]) -> str:
    """`seed 3`, `seeds 1 to 5`, `seeds 1, 7`, `9 seeds`."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"{len(seeds)} seeds" if len(seeds) > 4 else f"seeds {', '.join(map(str, seeds))}"
