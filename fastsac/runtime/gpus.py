"""Which GPU each of several processes takes, and whether some of them have the same one.

What counts is the GPU itself, known by its UUID, not its number: torchrun shows all processes of a machine the
same GPUs, other launchers show each process its own, which is cuda:0 to everyone.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fastsac.runtime.device import choose_device
from fastsac.runtime.world import World


@dataclass(frozen=True)
class View:
    """What a process sees.

    Attributes:
        host: name of its machine.
        local_rank: its number among the processes of that machine.
        gpus: UUIDs of the GPUs that it may use, in the order of their numbers.
    """

    host: str
    local_rank: int
    gpus: tuple[str, ...]


@dataclass(frozen=True)
class Placement:
    """Where a process works.

    Attributes:
        device: that it trains on.
        gpu: UUID; empty on a CPU, and for a process alone.
        num_sharing: processes that have this GPU, itself included.
        is_gpu_shared: whether any processes of the run have one GPU together, which NCCL cannot have.
    """

    device: torch.device
    gpu: str = ""
    num_sharing: int = 1
    is_gpu_shared: bool = False


def look(name: str, world: World) -> list[View]:
    """What each process sees for `--device name`; all call it together.  A process alone looks at nothing."""
    if world.is_alone:
        return []
    return world.gather(View(socket.gethostname(), world.local_rank, visible_gpus(name)))


def visible_gpus(name: str = "auto") -> tuple[str, ...]:
    """UUIDs of the GPUs that this process may use for `--device name`; initialises CUDA, on none of them."""
    if name == "cpu" or not torch.cuda.is_available():
        return ()
    return tuple(str(torch.cuda.get_device_properties(i).uuid) for i in range(torch.cuda.device_count()))


def choose_placement(name: str, views: Sequence[View], rank: int) -> Placement:
    """Where the process of that rank works; a pure function of the views, so that each knows of all.

    Args:
        name: as of `choose_device`.  A GPU that is named is taken as each process numbers its own.
        views: what all processes see, as `look` gives it; none for a process alone.
        rank: of the process.

    Raises:
        ValueError: as of `choose_device`, or not every process can have a GPU of its own.
    """
    if len(views) < 2 or name == "cpu" or not views[rank].gpus:
        return Placement(choose_device(name))
    if name in ("auto", "cuda"):
        gpu = own_gpus(views)[rank]
        return Placement(torch.device("cuda", views[rank].gpus.index(gpu)), gpu)
    device = choose_device(name)
    taken = [view.gpus[device.index] for view in views if device.index < len(view.gpus)]
    gpu = views[rank].gpus[device.index]
    return Placement(device, gpu, taken.count(gpu), len({*taken}) < len(taken))


def own_gpus(views: Sequence[View]) -> list[str]:
    """UUIDs of the GPUs of all processes, no two of them the same; empty for those that see none.

    Processes that see the same GPUs take them in the order of their local ranks, and one that sees its own takes its
    first.  Where that would leave a later one without, those before it make room, if they can.

    Raises:
        ValueError: some processes see fewer GPUs than they are.
    """
    wishes = [_wishes(views, rank) for rank in range(len(views))]
    owner: dict[str, int] = {}

    def settle(rank: int, asked: set[str]) -> bool:
        """Give the process a GPU, and other ones to those who had it; False where `asked` are all that they see."""
        for gpu in wishes[rank]:
            if gpu not in asked:
                asked.add(gpu)
                if gpu not in owner or settle(owner[gpu], asked):
                    owner[gpu] = rank
                    return True
        return False

    for rank in range(len(views)):
        asked: set[str] = set()
        if wishes[rank] and not settle(rank, asked):
            raise ValueError(_too_few(views, sorted([rank, *(owner[gpu] for gpu in asked)]), len(asked)))
    found = {rank: gpu for gpu, rank in owner.items()}
    return [found.get(rank, "") for rank in range(len(views))]


def _wishes(views: Sequence[View], rank: int) -> tuple[str, ...]:
    """The GPUs that a process sees, from the one on that is its own if those who see the same divide them in turn."""
    gpus = views[rank].gpus
    alike = [other for other in range(len(views)) if views[other].gpus == gpus]
    turn = sorted(alike, key=lambda other: (views[other].local_rank, other)).index(rank)
    start = turn % len(gpus) if gpus else 0
    return gpus[start:] + gpus[:start]


def _too_few(views: Sequence[View], ranks: Sequence[int], count: int) -> str:
    """What is wrong where these processes see so many GPUs, and what to do."""
    host = views[ranks[0]].host
    there = [view for view in views if view.host == host]
    on = f" on {host}" if len(there) < len(views) else ""
    if len({view.gpus for view in there}) == 1:
        n = len(there)
        return (
            f"{n} processes{on} need {n} GPUs, and there {'is' if count == 1 else 'are'} {count}. "
            f"Start torchrun with --nproc-per-node {count}, or share one by --device cuda:0."
        )
    return (
        f"ranks {', '.join(map(str, ranks))}{on} see {count} GPU{'s' * (count > 1)} together, and need one each. "
        "Let the launcher show each process a GPU of its own (CUDA_VISIBLE_DEVICES), or share them by --device cuda:0."
    )
