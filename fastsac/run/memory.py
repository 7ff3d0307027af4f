"""Whether the members of a run fit into memory."""

import torch
from torch.utils import _pytree as pytree

from fastsac.algorithms import registry, step
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.learning.replay import make_replay
from fastsac.runtime.device import format_bytes, free_memory


def member_bytes(config: Config, spec: EnvSpec, fuse_for_gpu: bool) -> tuple[int, int]:
    """Bytes that one member takes: its replay, and its networks with moments, targets and copies to act by."""
    meta = torch.device("meta")  # tensors without memory
    ring = make_replay(config.of_member(0), spec, meta).nbytes()
    algorithm = registry.get_algorithm(config.algo)(config, spec, fuse_for_gpu)
    state = step.init(algorithm, torch.tensor(0, device=meta), 1.0)
    copies = 2 if config.on_nan == "rollback" else 1
    networks = copies * sum(t.nbytes for t in pytree.tree_leaves(state)) + 2 * state["params"][algorithm.acts_by].nbytes
    return ring, networks


def check_memory(config: Config, spec: EnvSpec, device: torch.device, prefill_bytes: int = 0, sharing: int = 1) -> str:
    """The memory that the members take, in words; a ValueError where the device has less, which says what fits.

    Args:
        config: settings.
        spec: of the task.
        device: of the learner.
        prefill_bytes: what all members share beside that, and is still to be allocated.
        sharing: processes that have the device together, and as much each.
    """
    m = config.num_members
    ring, networks = member_bytes(config, spec, fuse_for_gpu=device.type != "cpu")
    needed, free = m * (ring + networks), free_memory(device)
    if free is not None and needed > (left := 0.9 * free.num_bytes / sharing - prefill_bytes):
        fits = int(left / (ring + networks))
        transitions = int((left / m - networks) / ring * config.buffer_size)
        has = (
            free.text
            + f" for {sharing} processes" * (sharing > 1)
            + (f", of which the prefill takes {format_bytes(prefill_bytes)}" if prefill_bytes else "")
        )
        may_be = transitions >= max(config.values_of("learning_starts"))  # any smaller replay is refused
        if m > 1 and fits >= 1:
            smaller = f", or all with --buffer-size {transitions}" if may_be else ""
            raise ValueError(
                f"{m} members need {format_bytes(needed)} ({format_bytes(ring)} of replay and "
                f"{format_bytes(networks)} of networks each), but {has}. {fits} of them fit{smaller}."
            )
        what = f"Give --buffer-size {transitions} or less" if may_be else "No replay that is large enough fits"
        raise ValueError(
            f"buffer_size {config.buffer_size:,} needs {format_bytes(m * ring)} for {m} member(s), but {has}. "
            f"{what}{', or raise the limit' * free.is_limit}."
        )
    each = f"{format_bytes(ring)} for {config.buffer_size:,} transitions, networks {format_bytes(networks)}"
    return f"replay {each}" + (f", for each of {m} members" if m > 1 else "")
