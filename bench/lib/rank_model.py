"""What more GPUs should come to, on paper: no figure of it was measured on them.

Each GPU has environments and a batch of its own.  An update is that of one GPU and the reduction of its gradients,
which waits for it; environments are stepped beside the updates.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Parts:
    """What one GPU takes: HalfCheetah-v5, hidden layers 256 and 256, measured on an H100 (results/h100/gpu.json).

    Attributes:
        update_s: of an update in a captured launch.
        vec_step_s: of a step of the environments, on 16 CPU cores for each GPU.
        batch_size: transitions of an update.
        num_envs: environments.
        updates: for each step of the environments; 64 are one for 4 env steps of one GPU.
        vector_bytes: that a reduction has, gradients and metrics.
    """

    update_s: float = 149e-6
    vec_step_s: float = 1.3e-3
    batch_size: int = 256
    num_envs: int = 256
    updates: int = 64
    vector_bytes: int = 4 * 224_887


@dataclass(frozen=True)
class Cluster:
    """GPUs, and how NCCL reduces over them.  Latency and bandwidth are assumptions, for vectors of about 1 MB.

    Attributes:
        name: of the row.
        ranks: GPUs; one has no reductions, and the rest does not matter.
        latency_s: of the reduction of one number.
        bytes_per_s: that each GPU sends, and takes in as many.
    """

    name: str
    ranks: int = 1
    latency_s: float = 0.0
    bytes_per_s: float = 0.0


CLUSTERS = (
    Cluster("1 GPU"),
    Cluster("8 GPUs of one machine, NVLink", ranks=8, latency_s=20e-6, bytes_per_s=200e9),
    Cluster("32 GPUs of 4 machines, InfiniBand", ranks=32, latency_s=60e-6, bytes_per_s=40e9),
)


@dataclass(frozen=True)
class Forecast:
    """What an arrangement should come to."""

    reduction_s: float  # of an update
    share: float  # of the reduction in the time of an update
    updates_per_s: float
    transitions_per_s: float  # learned from
    env_steps_per_s: float
    member_updates_per_s: float  # of as many agents, a GPU each, instead of one


def ring_s(ranks: int, num_bytes: int, latency_s: float, bytes_per_s: float) -> float:
    """Seconds of a reduction in a ring: 2 (R - 1) / R of the vector go through each connection, after the latency."""
    return latency_s + 2 * (ranks - 1) / ranks * num_bytes / bytes_per_s if ranks > 1 else 0.0


def forecast(parts: Parts, cluster: Cluster) -> Forecast:
    """What one agent on all GPUs of a cluster should come to, and as many agents on them."""
    reduction_s = ring_s(cluster.ranks, parts.vector_bytes, cluster.latency_s, cluster.bytes_per_s)
    update_s = parts.update_s + reduction_s
    step_s = max(parts.vec_step_s, parts.updates * update_s)
    updates_per_s = parts.updates / step_s
    return Forecast(
        reduction_s=reduction_s,
        share=reduction_s / update_s,
        updates_per_s=updates_per_s,
        transitions_per_s=updates_per_s * parts.batch_size * cluster.ranks,
        env_steps_per_s=parts.num_envs * cluster.ranks / step_s,
        member_updates_per_s=cluster.ranks * parts.updates / max(parts.vec_step_s, parts.updates * parts.update_s),
    )
