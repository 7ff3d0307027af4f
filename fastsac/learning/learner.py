"""The learner: owns the parameters of M members and the launches of their gradient steps.

The replay and the normalisers are given: the learner reads their tensors and writes none of them.

Axes: M members, N environments, O obs_dim, A action_dim, P parameters of the policy.
"""

import math
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fastsac.algorithms import registry, step
from fastsac.algorithms.algorithm import METRICS, NUM_CRITIC_METRICS
from fastsac.algorithms.step import State
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.learning.gradient_step import FAULT_COLUMNS, MUTATED, NO_FAULT_STEP, Buffers, gradient_step_, make_hyper
from fastsac.learning.replay import Replay, Ring, make_replay
from fastsac.nn import normalizer
from fastsac.nn.normalizer import Normalizer
from fastsac.nn.reduction import ALONE, Reduction
from fastsac.nn.return_normalizer import ReturnNormalizer
from fastsac.runtime.launch import Launch, Mode

SHORT_REDUCTION = 1024  # batches up to here are summed by one kernel


class PolicyTensors(NamedTuple):
    """The tensors that members act by."""

    params: Tensor  # [M, P]
    mean: Tensor  # [M, O], of observations
    rstd: Tensor  # [M, O]


class Learner:
    """State and metrics of M members, and the launches of their gradient steps on what they draw from the replay."""

    def __init__(
        self,
        config: Config,
        spec: EnvSpec,
        device: torch.device,
        mode: Mode,
        replay: Replay,
        normalizer: Normalizer,
        return_normalizer: ReturnNormalizer | None,
        demonstrations: Ring | None = None,
        reduction: Reduction = ALONE,
    ) -> None:
        m = config.num_members
        self.config, self.device, self.mode = config, device, mode
        algo = registry.resolve_algorithm(config.algo, spec.discrete)
        self.algorithm = registry.get_algorithm(algo)(config, spec, device.type != "cpu", reduction)
        seeds = torch.tensor(config.member_seeds, device=device)  # [M]
        members = zip(seeds, config.members, strict=True)
        states = [step.init(self.algorithm, seed, member.init_alpha) for seed, member in members]
        self.buffers: Buffers = {
            "state": pytree.tree_map(lambda *leaves: torch.stack(leaves), *states),
            "hyper": make_hyper(self.algorithm, config, device),
            "ring": replay.ring(),
            "seed": seeds,
            "counter_offset": torch.zeros(m, dtype=torch.int64, device=device),
            "norm": (normalizer.mean, normalizer.rstd),
            "sums": torch.zeros(m, len(METRICS), device=device),
            "fault": torch.full((m, len(FAULT_COLUMNS)), NO_FAULT_STEP, device=device),
            "due": torch.zeros(m, dtype=torch.int64, device=device),
        }
        if return_normalizer is not None:
            self.buffers["return_scale"] = return_normalizer.scale
        if demonstrations is not None:
            self.buffers["demonstrations"] = demonstrations
        if config.batch_size < config.whole_batch:
            self.buffers["first_of_batch"] = torch.full_like(seeds, config.first_of_batch)
        self.grad_steps = [0] * m  # mirrors of the device's counters
        self._read_at = torch.zeros(m, dtype=torch.int64)  # gradient steps at the last `read_metrics`
        self.compute_s = 0.0  # spent in launches on a CPU, where they are over when they return
        views: Buffers = pytree.tree_map(lambda t: t[0], self.buffers) if m == 1 else self.buffers
        self._launch = Launch(
            partial(gradient_step_, self.algorithm, config),
            variants={with_actor: (views, with_actor) for with_actor in (True, False)},
            written=[value for name, value in views.items() if name in MUTATED],
            mode=mode,
            # Members out of step bring rows of flags that no warm-up foresees: single steps need no capture then.
            steps_per_graph=config.updates_per_graph if m == 1 or self.algorithm.actor_delay == 1 else 1,
            short_reductions=config.batch_size <= SHORT_REDUCTION and not config.clips_gradients,
        )
        self._host_due: list[tuple[Tensor, torch.cuda.Event]] = []  # pinned, each with the event of its last copy
        if device.type == "cuda":
            self._host_due = [(torch.zeros(m, dtype=torch.int64).pin_memory(), torch.cuda.Event()) for _ in range(4)]

    @property
    def policy(self) -> PolicyTensors:
        """The tensors that members act by, as they are now; views."""
        return PolicyTensors(self.buffers["state"]["params"][self.algorithm.acts_by], *self.buffers["norm"])

    @property
    def state_bytes(self) -> int:
        """Parameters, targets and moments of all members."""
        return sum(t.nbytes for t in pytree.tree_leaves(self.buffers["state"]))

    def warm_up(self) -> None:
        """Compile and capture now; changes no number."""
        self._launch.warm_up([k % self.algorithm.actor_delay == 0 for k in range(self.algorithm.actor_delay)])

    def release(self) -> None:
        """Let go of the CUDA graphs."""
        self._launch.release()

    def rehearse(self, num_steps: int) -> None:
        """Run gradient steps that change nothing, to see how long they take."""
        self._launch.rehearse([k % self.algorithm.actor_delay == 0 for k in range(num_steps)])

    def act_deterministic(self, obs: Tensor) -> Tensor:
        """The policies' best actions [M, N, A] for obs [M, N, O]."""
        return torch.stack([self.act_of_member(m, o) for m, o in enumerate(obs)])

    @torch.no_grad()
    def act_of_member(self, member: int, obs: Tensor) -> Tensor:
        """One policy's best actions [N, A] for obs [N, O]."""
        params, mean, rstd = (tensor[member] for tensor in self.policy)
        obs = normalizer.apply(obs, mean, rstd) if self.config.obs_norm else obs
        return self.algorithm.act(params, obs, None)

    def launch(self, due: list[int]) -> None:
        """Run `due[m]` gradient steps of member m; does not wait for the device."""
        if max(due) <= 0:
            return
        began, delay = time.perf_counter(), self.algorithm.actor_delay
        members = list(zip(due, self.grad_steps, strict=True))
        flags = [any(k < n and (done + k) % delay == 0 for n, done in members) for k in range(max(due))]
        if self.config.num_members > 1:
            self._set_due(due)
        self._launch(flags)
        self.grad_steps = [done + more for done, more in zip(self.grad_steps, due, strict=True)]
        if self.device.type == "cpu":
            self.compute_s += time.perf_counter() - began

    def _set_due(self, due: list[int]) -> None:
        """Through pinned memory: a copy from other memory would wait for the launches that are queued."""
        if not self._host_due:
            self.buffers["due"].copy_(torch.tensor(due))
            return
        host, copied = self._host_due.pop(0)
        copied.synchronize()  # over long ago: three copies were enqueued since
        host.copy_(torch.tensor(due))
        self.buffers["due"].copy_(host, non_blocking=True)
        copied.record()
        self._host_due.append((host, copied))

    def read_metrics(self) -> list[dict[str, float]]:
        """Means since the last call, per member; nan where no step was made.  Waits for the device: log points only."""
        sums = self.buffers["sums"].tolist()
        self.buffers["sums"].zero_()
        before, rows = self._read_at.tolist(), []
        self._read_at.copy_(torch.tensor(self.grad_steps))
        for row, then, now in zip(sums, before, self.grad_steps, strict=True):
            acting = -(-now // self.algorithm.actor_delay) - -(-then // self.algorithm.actor_delay)
            counts = [now - then if i < NUM_CRITIC_METRICS else acting for i in range(len(row))]
            rows.append({name: s / c if c else math.nan for name, s, c in zip(METRICS, row, counts, strict=True)})
        return rows

    def fault_steps(self) -> list[int]:
        """The first gradient step of each member with a loss that was not finite, or NO_FAULT_STEP; waits."""
        steps: list[int] = self.buffers["fault"][:, 0].tolist()
        return steps

    def not_finite(self) -> dict[int, tuple[str, ...]]:
        """Names of what has NaN or infinity in the state of each member that has any.  Waits: log points only."""
        leaves: list[tuple[Any, Tensor]] = pytree.tree_leaves_with_path(self.buffers["state"])
        leaves = [(path, value) for path, value in leaves if value.is_floating_point()]
        finite = torch.stack([value.unsqueeze(-1).flatten(1).isfinite().all(-1) for _, value in leaves], -1)
        names = [".".join(part.key for part in path) for path, _ in leaves]
        found = [tuple(name for name, ok in zip(names, row, strict=True) if not ok) for row in finite.tolist()]
        return {member: those for member, those in enumerate(found) if those}

    def rewind_(self, member: int, state: State) -> None:
        """Let a member go back to its part of `state`, an older copy of the buffer, and forget its fault.

        Its later steps draw from counters that it has not used, so that no batch comes again; its budget counts the
        steps that the state holds, so that those that are lost are made up for.  Waits for the device.
        """
        pytree.tree_map(lambda mine, saved: mine[member].copy_(saved[member]), self.buffers["state"], state)
        grad_steps = int(state["grad_steps"][member])
        self.buffers["counter_offset"][member] += self.grad_steps[member] - grad_steps
        self.buffers["fault"][member] = NO_FAULT_STEP
        self.buffers["sums"][member] = 0.0
        self.grad_steps[member] = grad_steps
        self._read_at[member] = grad_steps

    def state_dict(self) -> dict[str, object]:
        """Everything of the learner that a continued run needs."""
        kept = ("state", "counter_offset", "sums", "fault")
        return {**{name: value for name, value in self.buffers.items() if name in kept}, "read_at": self._read_at}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Take over what `state_dict` gave, among other parts, in place.

        Raises:
            ValueError: it is of other settings.
        """
        mine = self.state_dict()
        copy_tree_(mine, {name: state.get(name) for name in mine})
        self.grad_steps = self.buffers["state"]["grad_steps"].tolist()


class Parts(NamedTuple):
    """A learner, with the replay and the normalisers that it reads and that a collector writes."""

    learner: Learner
    replay: Replay
    normalizer: Normalizer
    return_normalizer: ReturnNormalizer | None  # with reward_norm

    def normalizers(self) -> dict[str, dict[str, Tensor]]:
        """The statistics of each normaliser that there is, as checkpoints hold them."""
        returns = {} if self.return_normalizer is None else {"return_normalizer": self.return_normalizer.state_dict()}
        return {"normalizer": self.normalizer.state_dict(), **returns}


def make_parts(
    config: Config,
    spec: EnvSpec,
    device: torch.device,
    mode: Mode,
    demonstrations: Ring | None = None,
    reduction: Reduction = ALONE,
) -> Parts:
    """A learner of fresh members, an empty replay, and normalisers that have seen nothing."""
    replay, m = make_replay(config, spec, device), config.num_members
    normalizer = Normalizer(m, spec.obs_dim, device)
    returns = ReturnNormalizer(m, config.num_envs, config.value_max, device) if config.reward_norm else None
    learner = Learner(config, spec, device, mode, replay, normalizer, returns, demonstrations, reduction)
    return Parts(learner, replay, normalizer, returns)


def copy_tree_(target: object, source: object, name: str = "state") -> None:
    """Copy a tensor, or a dictionary of such, into one of the same keys, shapes and types.

    Raises:
        ValueError: they differ; nothing is copied from there on.
    """
    if isinstance(target, dict):
        if not isinstance(source, dict) or source.keys() != target.keys():
            found = sorted(source) if isinstance(source, dict) else type(source).__name__
            raise ValueError(f"{name} must have parts {sorted(target)}, got {found}.")
        for key, value in target.items():
            copy_tree_(value, source[key], f"{name}.{key}")
        return
    assert isinstance(target, Tensor)
    if not isinstance(source, Tensor) or source.shape != target.shape or source.dtype != target.dtype:
        found = f"{list(source.shape)} {source.dtype}" if isinstance(source, Tensor) else type(source).__name__
        raise ValueError(f"{name} must be {list(target.shape)} {target.dtype}, got {found}.")
    target.copy_(source)
