"""Who does what where several processes train a run: checks of the settings, and words for it."""

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastsac.acting.tally import Tally
from fastsac.algorithms.step import reduced_sizes
from fastsac.config.settings import Config
from fastsac.config.shares import PartOfAgent, SomeMembers, share_of
from fastsac.learning.learner import Learner
from fastsac.nn.reduction import ALONE, Reduction
from fastsac.runtime.device import num_cpus
from fastsac.runtime.gpus import Placement
from fastsac.runtime.versions import versions
from fastsac.runtime.world import AgreedError, Ranks, World

if TYPE_CHECKING:
    from fastsac.run.plan import Plan


def check_equal_settings(config: Config, world: World) -> None:
    """Raise an AgreedError where processes were given other settings, or other versions of packages, than rank 0."""
    for what, mine in (("settings", config.to_json()), ("versions", repr(versions()))):
        said = world.gather(mine)
        if differing := _differing(said):
            ranks = ", ".join(map(str, differing))
            raise AgreedError(
                f"rank {ranks} has other {what} than rank 0. Start all processes by the same command, "
                "in environments of the same versions."
            )


def check_equal(fact: str, world: World) -> None:
    """Raise an AgreedError where another process than rank 0 has another `fact`, a predicate in words."""
    said = world.gather(fact)
    for rank in _differing(said):
        raise AgreedError(f"rank {rank} {said[rank]}, and rank 0 {said[0]}. All processes must do the same.")


def share_with_others(config: Config, world: World) -> Config:
    """What this process trains; `config` where it is alone.  A ValueError where the run cannot be divided."""
    if world.is_alone:
        return config
    share = share_of(config, world.rank, world.size)
    return share.replace(env_threads=num_cpus()) if config.env_threads == "auto" else share


def shared_by(plan: "Plan") -> tuple[Reduction, Tally | None]:
    """What the processes of one agent add up together: on the device, and on the host."""
    if not isinstance(plan.share, PartOfAgent):
        return ALONE, None
    from fastsac.runtime.reduction import GroupReduction, GroupTally

    world = plan.world
    assert isinstance(world, Ranks)
    group = world.device_group(plan.device, plan.placement.is_gpu_shared)
    return GroupReduction("agent", plan.device, group, world.explained), GroupTally(wait=world.wait)


def about_processes(share: Config, placement: Placement, world: World) -> str:
    """How the run is divided, and where its processes are, in words; all call it together."""
    if world.is_alone:
        asked = share.parallel in ("members", "data")
        return f"parallel {share.parallel} divides nothing: this process is alone; torchrun starts several" * asked
    hosts: dict[str, list[str]] = {}
    for host, name in world.gather((socket.gethostname(), str(placement.device))):
        hosts.setdefault(host, []).append(name)
    is_own = placement.device.type == "cuda" and not placement.is_gpu_shared
    where = "; ".join(f"{host}: {_devices(names, is_own)}" for host, names in hosts.items())
    if isinstance(share, PartOfAgent):
        return (
            f"{world.size} processes train one agent: {share.num_envs} of {share.all_envs} environments and "
            f"{share.batch_size} of {share.whole_batch} transitions of a batch in each ({where})"
        )
    assert isinstance(share, SomeMembers)
    counts = sorted({share.whole.num_members // world.size, -(-share.whole.num_members // world.size)})
    return (
        f"{world.size} processes share the members, {' or '.join(map(str, counts))} each ({where}); "
        "they talk at log points alone, by gloo"
    )


def about_reductions(learner: Learner) -> str:
    """How fast the processes of one agent add up the gradients of an update, measured; all call it together."""
    reduction = learner.algorithm.reduction
    if reduction is ALONE:
        return ""
    from fastsac.runtime.reduction import GroupReduction
    from fastsac.runtime.reduction_speed import measured_text

    assert isinstance(reduction, GroupReduction)
    sizes = [4 * numbers for numbers in reduced_sizes(learner.algorithm, learner.buffers["state"])]
    return f"gradients are reduced by {reduction.backend}: {measured_text(reduction, sizes, learner.device)}"


def _devices(names: Sequence[str], is_own: bool) -> str:
    """`cuda:0 to cuda:7`, or `2 on cpu`; processes that are shown a GPU each may all call their own cuda:0."""
    if len({*names}) > 1:
        in_order = names == [f"cuda:{number}" for number in range(len(names))]
        return f"{names[0]} to {names[-1]}" if in_order else ", ".join(names)
    return f"{len(names)} on {names[0]}" + " of their own" * (is_own and len(names) > 1)


def _differing(said: Sequence[str]) -> list[int]:
    """Ranks that say something else than rank 0."""
    return [rank for rank, each in enumerate(said) if each != said[0]]
