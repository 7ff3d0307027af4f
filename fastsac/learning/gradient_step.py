"""One gradient step of every member over static buffers: draw, normalisation, update and metrics in one function.

Members are the first axis of every buffer; with one member the axis is squeezed and nothing is vmapped.

Axes: M members.
"""

from functools import partial
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fastsac.algorithms import step
from fastsac.algorithms.algorithm import METRICS, NUM_CRITIC_METRICS, Algorithm, Scalars
from fastsac.algorithms.step import State
from fastsac.config.settings import Config
from fastsac.learning.draw import draw_batch, normalize_batch
from fastsac.learning.replay import Ring
from fastsac.nn import philox

MUTATED = ("state", "sums", "fault", "due")  # the buffers that a gradient step writes
NO_FAULT_STEP = -1  # in the first of FAULT_COLUMNS: all losses of the member were finite so far
FAULT_COLUMNS = ("step", "losses", "head", "tail", "count")
"""Of the first gradient step with a loss that was not finite: its number, a bit for each such loss in METRICS (bit i
for the i-th), and the replay's counters that its draw read."""


class MemberBuffers(TypedDict):
    """The buffers that a gradient step reads, of one member; of all members M comes first."""

    state: State
    hyper: Scalars
    ring: Ring
    demonstrations: NotRequired[Ring]  # of which prefill_share of a batch is drawn
    seed: Tensor  # int64 []
    first_of_batch: NotRequired[Tensor]  # int64 [], which transition its first is, where others have the other ones
    counter_offset: Tensor  # int64 [], added to the gradient step's number for its draw: see `Learner.rewind_`
    norm: tuple[Tensor, Tensor]  # mean and rstd, [O] each
    return_scale: NotRequired[Tensor]  # [], what rewards are times, with reward_norm


class Buffers(MemberBuffers):
    """All buffers of a learner."""

    sums: Tensor  # [M, 6], of METRICS since they were read
    fault: Tensor  # int64 [M, 5], FAULT_COLUMNS
    due: Tensor  # int64 [M], gradient steps that the launch has still to take; not used with one member


READ = tuple(MemberBuffers.__annotations__)


def member_step(
    algorithm: Algorithm, config: Config, with_actor: bool, buffers: MemberBuffers
) -> tuple[State, Tensor, Tensor]:
    """The new state of one member, its METRICS [6], and FAULT_COLUMNS [5] of this step, where losses 0 is no fault."""
    state, hyper, ring = buffers["state"], buffers["hyper"], buffers["ring"]
    seed, counter = buffers["seed"], state["grad_steps"] + buffers["counter_offset"]
    rows = philox.Rows(buffers["first_of_batch"], config.whole_batch) if "first_of_batch" in buffers else None
    noise = philox.normal(seed, philox.Purpose.UPDATE, counter, algorithm.noise_shape(config.batch_size), rows)
    batch = draw_batch(config, ring, hyper["gamma"], seed, counter, buffers.get("demonstrations"), rows)
    if config.obs_norm:
        batch = normalize_batch(batch, *buffers["norm"])
    if config.reward_norm:
        batch = batch._replace(reward=buffers["return_scale"] * batch.reward)
    new, metrics = step.update(algorithm, hyper, state, batch, noise, with_actor)
    losses = ((~metrics.isfinite()).long() << torch.arange(len(METRICS), device=seed.device)).sum()
    return new, metrics, torch.stack([state["grad_steps"], losses, ring.head, ring.tail, ring.num_entries])


def gradient_step_(algorithm: Algorithm, config: Config, buffers: Buffers, with_actor: bool) -> None:
    """One gradient step of every member that has one due; writes the MUTATED buffers."""
    one = partial(member_step, algorithm, config, with_actor)
    old = buffers["state"]
    if config.num_members == 1:
        new, metrics, fault = one(buffers)
    else:
        new, metrics, fault = torch.func.vmap(one)({name: value for name, value in buffers.items() if name in READ})
        active = buffers["due"] > 0  # [M]; members whose budget is used up wait for the others
        acting = active & (old["grad_steps"] % algorithm.actor_delay == 0)
        new = keep_inactive(algorithm, new, old, active, acting)
        is_critic = torch.arange(metrics.shape[-1], device=metrics.device) < NUM_CRITIC_METRICS
        metrics = torch.where(torch.where(is_critic, active.unsqueeze(-1), acting.unsqueeze(-1)), metrics, 0.0)
        fault = torch.where(active.unsqueeze(-1), fault, 0)
        buffers["due"].sub_(active.to(torch.int64))
    is_first = (fault[..., 1:2] != 0) & (buffers["fault"][..., :1] == NO_FAULT_STEP)
    buffers["fault"].copy_(torch.where(is_first, fault, buffers["fault"]))
    buffers["sums"].add_(metrics)
    for target, value in zip(pytree.tree_leaves(old), pytree.tree_leaves(new), strict=True):
        target.copy_(value)


def keep_inactive(algorithm: Algorithm, new: State, old: State, active: Tensor, acting: Tensor) -> State:
    """The new state for active members (of delayed parts: for acting ones), the old state for the rest."""
    delayed = [name for name, part in algorithm.learned.items() if part.delayed]

    def choose(path: tuple[Any, ...], value: Tensor, before: Tensor) -> Tensor:
        mask = acting if path[-1].key in delayed else active
        return torch.where(mask.view(-1, *[1] * (value.dim() - 1)), value, before)

    chosen: State = pytree.tree_map_with_path(choose, new, old)
    return chosen


def make_hyper(algorithm: Algorithm, config: Config, device: torch.device) -> Scalars:
    """Hyper-parameters as tensors [M], so that members may differ and a captured graph may see them change."""
    members = [algorithm.hyper(member) for member in config.members]
    return {k: torch.tensor([m[k] for m in members], dtype=torch.float32, device=device) for k in members[0]}
