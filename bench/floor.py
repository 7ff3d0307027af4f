"""How long an update must take at the least on a large GPU: a model of latency, arithmetic and memory traffic.

Small updates are bound by the number of dependent kernels times the latency of one, large ones by arithmetic and by
memory.  The constants are estimates for an H200, good to a factor of two; they are there to see which of the three
bounds a measured figure, and how far it is from it.

Counted: the draw of actions at obs and next_obs, target critics, critics forward and backward, critics at the new
action and back to it (their weights get no gradient there), actor backward.
"""

from collections.abc import Sequence
from itertools import pairwise

from bench.own import Precision, Sizes

FLOPS_PER_S: dict[Precision, float] = {"highest": 40e12, "high": 150e12, "bf16": 250e12}  # of small matrix products
L2_BYTES = 50e6
L2_BYTES_PER_S, HBM_BYTES_PER_S = 7e12, 3.5e12
NODES, NODE_S = 35, 1.8e-6  # a well-fused update with one member, and a small kernel inside a graph
NUM_CRITICS = 2


def flops(sizes: Sizes) -> float:
    """Floating-point operations of the matrix products of one update of one member."""
    obs, action, hidden = sizes.obs_dim, sizes.action_dim, sizes.hidden_dims
    actor = products((obs, *hidden, 2 * action))
    critic = NUM_CRITICS * products((obs + action, *hidden, 1))
    actor_back = actor - obs * hidden[0]  # to the first hidden layer: the gradient of obs is not needed
    critic_back = critic - NUM_CRITICS * (obs + action) * hidden[0]
    to_action = critic_back + NUM_CRITICS * action * hidden[0]
    forward = 2 * actor + 3 * critic  # actor: obs, next_obs; critics: target, online, at the new action
    backward = (critic + critic_back) + to_action + (actor + actor_back)
    return 2.0 * sizes.batch_size * (forward + backward)


def traffic_bytes(sizes: Sizes) -> float:
    """Bytes that one update of one member reads and writes, about: Adam, Polyak, weights, activations three times."""
    obs, action, hidden = sizes.obs_dim, sizes.action_dim, sizes.hidden_dims
    actor = products((obs, *hidden, 2 * action))
    critic = NUM_CRITICS * products((obs + action, *hidden, 1))
    parameters = 7 * (actor + critic) + 3 * critic + 3 * (actor + critic)
    activations = 3 * sizes.batch_size * sum(hidden) * (2 + 3 * NUM_CRITICS)
    return 4.0 * (parameters + activations)


def floor_s(sizes: Sizes, members: int = 1, precision: Precision = "high", nodes: float = NODES) -> float:
    """Seconds for one update of all members, by the model."""
    moved = members * traffic_bytes(sizes)
    bytes_per_s = L2_BYTES_PER_S if moved < L2_BYTES else HBM_BYTES_PER_S
    return nodes * NODE_S + members * flops(sizes) / FLOPS_PER_S[precision] + moved / bytes_per_s


def products(widths: Sequence[int]) -> int:
    """Multiply-adds per sample of a network with these widths."""
    return sum(a * b for a, b in pairwise(widths))
