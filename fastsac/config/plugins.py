"""Networks and critics' heads by name: ours, those that packages register, and classes of modules.  Imports none."""

from importlib.metadata import entry_points
from typing import Literal, get_args

Network = Literal["mlp", "simba", "flash"]
CriticHead = Literal["scalar", "categorical"]
OURS: dict[str, tuple[str, ...]] = {"network": get_args(Network), "critic_head": get_args(CriticHead)}
GROUPS = {"network": "fastsac.networks", "critic_head": "fastsac.heads"}  # of entry points, by setting


def place_of(setting: str, name: str) -> str | None:
    """`package.module:Class` of what a setting names; None of ours.

    Raises:
        ValueError: there is nothing of that name.
    """
    if name in OURS[setting]:
        return None
    module, _, attribute = name.partition(":")
    if module and attribute:
        return name
    registered = {point.name: point.value for point in entry_points(group=GROUPS[setting])}
    if name not in registered:
        names = ", ".join([*OURS[setting], *sorted(registered)])
        raise ValueError(f'{setting} must be one of {names}, or "package.module:Class", got {name!r}.')
    return registered[name]
