"""`fastsac envs`: the environments of all back ends, by family or by name."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from fastsac.cli.parsing import parse
from fastsac.cli.spelling import near_match
from fastsac.config.fields import setting

if TYPE_CHECKING:
    from fastsac.env import EnvSpec, Task

FILTERS = """
fastsac envs cheetah          those with cheetah in their name, with the sizes of observation and action
fastsac envs "*Cheetah-v5"    those whose whole name is like this
fastsac envs --family NAME    those of one family
fastsac envs --images         those whose observation is an image
fastsac envs --discrete       those with discrete actions"""


@dataclass(frozen=True)
class EnvsArgs:
    """Count the environments that policies can be trained in, by family.

    With a pattern or an option, list them, with the sizes of observation and action and the time limit.
    """

    pattern: Annotated[str | None, tyro.conf.Positional] = None
    """Part of a name, or a glob such as "*Cheetah-v5"."""
    family: str | None = setting(None, metavar="NAME")
    """List those of one family."""
    back_end: str | None = setting(None, metavar="NAME")
    """List those of one back end, which may be a module of your own: package.module."""
    images: tyro.conf.FlagCreatePairsOff[bool] = False
    """List those whose observation is an image."""
    discrete: tyro.conf.FlagCreatePairsOff[bool] = False
    """List those with discrete actions."""


def run(args: list[str]) -> int:
    """Count or list; returns the exit status."""
    options = parse(EnvsArgs, "fastsac envs", args)
    from fastsac.env import list_tasks

    tasks = list_tasks(options.pattern, own_module(options))
    if options == EnvsArgs():
        print_families(tasks)
        return 0
    if not tasks:
        raise ValueError(f"no environment matches {options.pattern!r}{near_tasks(options)}")
    for name in ("family", "back_end"):
        tasks = those_with(tasks, name, getattr(options, name))
    is_narrow = options.pattern or options.family
    now, later = ([task for task in tasks if bool(is_narrow or not task.is_slow) is chosen] for chosen in (True, False))
    found = print_list(now, options)
    if later:
        families = sorted({task.family for task in later})
        print(f"{len(later)} more take a while to look at: fastsac envs --family {' or '.join(families)}")
    elif not found:
        raise ValueError("no trainable environment is like this. `fastsac envs` counts all.")
    return 0


def near_tasks(options: EnvsArgs) -> str:
    """The names that are near to a pattern that matches none, or where all names are."""
    from fastsac.env import list_tasks, near_matches

    module, pattern = own_module(options), options.pattern or ""
    near = near_matches(pattern, [t.env_id if ":" in pattern else t.name for t in list_tasks(None, module)])
    return near or (f". `fastsac envs --back-end {module}` lists all." if module else ". `fastsac envs` counts all.")


def own_module(options: EnvsArgs) -> str | None:
    """The module that is asked for as a back end: `--back-end package.module`, or `package.module:Task`."""
    prefix, colon, _ = (options.pattern or "").partition(":")
    asked = options.back_end or prefix * bool(colon)
    return asked if "." in asked else None


def those_with(tasks: "list[Task]", name: str, wanted: str | None) -> "list[Task]":
    """The tasks with a family or a back end, whatever its case and hyphens; raises ValueError where there are none."""
    if wanted is None:
        return tasks

    def usual(text: str) -> str:
        return text.lower().replace("-", "_")

    by_name: dict[str, list[Task]] = {}
    for task in tasks:
        by_name.setdefault(usual(task.family if name == "family" else task.backend), []).append(task)
    if usual(wanted) not in by_name:
        near = near_match(usual(wanted), by_name)
        choices = f"; choose from {', '.join(sorted(by_name))}." if near == "." else near
        raise ValueError(f"there is no {name.replace('_', ' ')} {wanted!r} among these{choices}")
    return by_name[usual(wanted)]


def print_families(tasks: "Iterable[Task]") -> None:
    """A row for each family of each back end, and how to list more."""
    from fastsac.env import describe

    tasks = list(tasks)
    trainable = [task for task, _ in describe(task for task in tasks if not task.is_slow)]
    families: dict[tuple[str, str], list[Task]] = {}
    for task in sorted([*trainable, *(task for task in tasks if task.is_slow)], key=lambda task: task.family):
        families.setdefault((task.family, task.backend), []).append(task)
    print(f"{'family':18}{'back end':12}{'environments':>12}  for example")
    for (family, backend), members in families.items():
        print(f"{family:18}{backend:12}{len(members):12}  {members[0].name}")
    print(f"{'all':30}{sum(map(len, families.values())):12}")
    print(FILTERS)


def print_list(tasks: "list[Task]", options: EnvsArgs) -> int:
    """A row for each of the tasks that can be trained, as it is described; returns how many there are.

    Below them stand the figures that their steps tell, if they all tell the same.
    """
    from fastsac.env import describe

    width = max((len(task.env_id) for task in tasks), default=0)
    found, figures = 0, set()
    for _, spec in describe(tasks):
        if (options.images and spec.image is None) or (options.discrete and not spec.discrete):
            continue
        if not found:
            print(f"{'environment':{width}}  {'obs':>10}  {'action':>12}  {'limit':>6}")
        print(row(spec, width), flush=found < 20)
        found += 1
        figures.add(spec.info_names)
    if len(figures) == 1 and (names := figures.pop()):
        print(textwrap.fill(f"figures for --info-metrics: {' '.join(names)}", 120, break_on_hyphens=False))
    return found


def row(spec: "EnvSpec", width: int) -> str:
    """Name, sizes of observation and action, and time limit."""
    obs = "x".join(map(str, spec.image or (spec.obs_dim,)))
    action = f"{spec.action_dim} choices" if spec.discrete else str(spec.action_dim)
    return f"{spec.env_id:{width}}  {obs:>10}  {action:>12}  {spec.max_episode_steps or '-':>6}"
