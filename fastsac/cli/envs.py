"""`fastsac envs`: the environments of all back ends."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from fastsac.cli.parsing import parse


@dataclass(frozen=True)
class EnvsArgs:
    """List the environments that policies can be trained in, with the sizes of observation and action."""

    pattern: Annotated[str | None, tyro.conf.Positional] = None
    """Part of a name, or a glob such as "*Cheetah*".  Default: all environments."""


def run(args: list[str]) -> int:
    """List; returns the exit status."""
    options = parse(EnvsArgs, "fastsac envs", args)
    from fastsac.env import list_envs, list_slow_envs

    specs = list_envs(options.pattern)
    if not specs:
        raise ValueError(f"no trainable environment matches {options.pattern!r}. `fastsac envs` lists all.")
    width = max(len(s.env_id) for s in specs)
    print(f"{'environment':{width}}  {'obs':>8}  {'action':>12}  {'limit':>6}")
    for s in specs:
        obs = "x".join(map(str, s.image or (s.obs_dim,)))
        action = f"{s.action_dim} choices" if s.discrete else str(s.action_dim)
        print(f"{s.env_id:{width}}  {obs:>8}  {action:>12}  {s.max_episode_steps or '-':>6}")
    if options.pattern is None and (more := list_slow_envs()):
        print(f"and {len(more)} more from images; give part of a name to list them, as in `fastsac envs Pong`.")
    return 0
