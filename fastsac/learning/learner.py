"""The learner: owns what is learned and what from; joins draw, normalisation, update and metrics into one step.

One gradient step is a function over static buffers (`gradient_step_`), run by `Launch` in whatever way was chosen.
Members are the first axis of every buffer; with one member the axis is squeezed and nothing is vmapped.

Axes: M members, N environments, B batch, O obs_dim, A action_dim.
"""

import math
import time
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fastsac.algorithms import registry, step
from fastsac.algorithms.algorithm import METRICS, NUM_CRITIC_METRICS, Algorithm, Scalars
from fastsac.algorithms.batch import Batch
from fastsac.algorithms.step import State
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.learning.replay import Replay, Ring, draw
from fastsac.nn import normalizer, philox
from fastsac.nn.normalizer import Normalizer
from fastsac.runtime.launch import Launch, Mode

WRITTEN = ("state", "sums", "bad", "due")  # what a gradient step writes; it only reads the rest
SHORT_REDUCTION = 1024  # batches up to here are summed by one kernel
NEVER = -1  # what stands in `bad` for a member whose losses were finite all along
BAD = ("step", "losses", "head", "tail", "count")
"""Columns of `bad`: the first gradient step with a loss that was not finite, which METRICS were not (bit i for the
i-th), and the replay's counters that its draw read."""


def member_step(
    algorithm: Algorithm, config: Config, with_actor: bool, buffers: dict[str, Any]
) -> tuple[State, Tensor, Tensor]:
    """Draw, normalise and update for one member; pure.

    Returns:
        The new state, its METRICS [6], and this step's columns of BAD [5].
    """
    state, hyper, ring = buffers["state"], buffers["hyper"], buffers["ring"]
    seed, counter = buffers["seed"], state["grad_steps"] + buffers["skipped"]
    noise = philox.normal(seed, philox.Purpose.UPDATE, counter, algorithm.noise_shape(config.batch_size))
    batch = draw_batch(config, ring, hyper["gamma"], seed, counter)
    if config.obs_norm:
        batch = normalize_batch(batch, buffers["norm"])
    new, metrics = step.update(algorithm, hyper, state, batch, noise, with_actor)
    losses = ((~metrics.isfinite()).long() << torch.arange(len(METRICS), device=seed.device)).sum()
    return new, metrics, torch.stack([state["grad_steps"], losses, ring["head"], ring["tail"], ring["count"]])


def draw_batch(config: Config, ring: Ring, gamma: Tensor, seed: Tensor, counter: Tensor) -> Batch:
    """What one member learns from at `counter` []; a pure function of its arguments."""
    word = philox.words(seed, philox.Purpose.DRAW, counter, config.batch_size)
    return draw(ring, word, config.num_envs, config.n_step, gamma, with_window=config.num_between > 0)


def normalize_batch(batch: Batch, norm: dict[str, Tensor]) -> Batch:
    """The batch with all observations normalised."""
    mean, rstd = norm["mean"], norm["rstd"]
    obs, next_obs = (normalizer.apply(o, mean, rstd) for o in (batch.obs, batch.next_obs))
    between = batch.window and batch.window._replace(obs=normalizer.apply(batch.window.obs, mean, rstd))
    return batch._replace(obs=obs, next_obs=next_obs, window=between)


def gradient_step_(algorithm: Algorithm, config: Config, buffers: dict[str, Any], with_actor: bool) -> None:
    """One gradient step of every member that has one due; writes state, metrics and counters in place."""
    one = partial(member_step, algorithm, config, with_actor)
    old = buffers["state"]
    if config.num_members == 1:
        new, metrics, bad = one(buffers)
    else:
        read = {k: buffers[k] for k in ("state", "hyper", "ring", "seed", "skipped", "norm")}
        new, metrics, bad = torch.func.vmap(one)(read)
        active = buffers["due"] > 0  # [M]; members whose budget is used up wait for the others
        acting = active & (old["grad_steps"] % algorithm.actor_delay == 0)
        new = keep_inactive(algorithm, new, old, active, acting)
        is_critic = torch.arange(metrics.shape[-1], device=metrics.device) < NUM_CRITIC_METRICS
        metrics = torch.where(torch.where(is_critic, active.unsqueeze(-1), acting.unsqueeze(-1)), metrics, 0.0)
        bad = torch.where(active.unsqueeze(-1), bad, 0)
        buffers["due"].sub_(active.to(torch.int64))
    is_first = (bad[..., 1:2] != 0) & (buffers["bad"][..., :1] == NEVER)
    buffers["bad"].copy_(torch.where(is_first, bad, buffers["bad"]))
    buffers["sums"].add_(metrics)
    for target, value in zip(pytree.tree_leaves(old), pytree.tree_leaves(new), strict=True):
        target.copy_(value)


def keep_inactive(algorithm: Algorithm, new: State, old: State, active: Tensor, acting: Tensor) -> State:
    """The new state for active members (what is delayed: for acting ones), the old state for the rest."""
    delayed = [name for name, part in algorithm.learned.items() if part.delayed]

    def choose(path: tuple[Any, ...], value: Tensor, before: Tensor) -> Tensor:
        mask = acting if path[-1].key in delayed else active
        return torch.where(mask.view(-1, *[1] * (value.dim() - 1)), value, before)

    return pytree.tree_map_with_path(choose, new, old)


def make_hyper(algorithm: Algorithm, config: Config, device: torch.device) -> Scalars:
    """Hyper-parameters as tensors [M], so that members may differ and a captured graph may see them change."""
    members = [algorithm.hyper(config.of_member(i)) for i in range(config.num_members)]
    return {k: torch.tensor([m[k] for m in members], dtype=torch.float32, device=device) for k in members[0]}


class Learner:
    """State, replay, normaliser and metrics of M members, and the launches that update them.

    Args:
        config: settings.
        spec: the task's sizes.
        device: where everything lives.
        mode: how steps are run.
    """

    def __init__(self, config: Config, spec: EnvSpec, device: torch.device, mode: Mode) -> None:
        m = config.num_members
        self.config, self.device, self.mode = config, device, mode
        algo = registry.resolve_algorithm(config.algo, spec.discrete)
        self.algorithm = registry.get_algorithm(algo)(config, spec, fuse_for_gpu=device.type != "cpu")
        self.obs_dtype = torch.float32 if spec.image is None else torch.uint8
        sizes = (m, config.num_envs, config.buffer_size, spec.obs_dim, spec.action_dim)
        self.replay = Replay(*sizes, device, self.obs_dtype)
        self.normalizer = Normalizer(m, spec.obs_dim, device)
        seeds = torch.tensor(config.member_seeds, device=device)  # [M]
        alphas = [config.of_member(i).init_alpha for i in range(m)]
        states = [step.init(self.algorithm, seed, alpha) for seed, alpha in zip(seeds, alphas, strict=True)]
        num_metrics = len(METRICS)
        self.buffers: dict[str, Any] = {
            "state": pytree.tree_map(lambda *leaves: torch.stack(leaves), *states),
            "hyper": make_hyper(self.algorithm, config, device),
            "ring": self.replay.ring(),
            "norm": {"mean": self.normalizer.mean, "rstd": self.normalizer.rstd},
            "seed": seeds,
            "sums": torch.zeros(m, num_metrics, device=device),
            "skipped": torch.zeros(m, dtype=torch.int64, device=device),  # counters that no step has: see `rewind_`
            "bad": torch.full((m, len(BAD)), NEVER, device=device),
            "due": torch.zeros(m, dtype=torch.int64, device=device),
        }
        self.grad_steps = [0] * m  # mirrors of the device's counters
        self._read_at = [0] * m  # gradient steps at the last `read_metrics`
        self.compute_s = 0.0  # spent in launches on a CPU, where they are over when they return
        views = pytree.tree_map(lambda t: t[0], self.buffers) if m == 1 else self.buffers
        self._launch = Launch(
            partial(gradient_step_, self.algorithm, config),
            variants={with_actor: (views, with_actor) for with_actor in (True, False)},
            written={key: views[key] for key in WRITTEN},
            mode=mode,
            # Members out of step bring rows of flags that no warm-up foresees: single steps need no capture then.
            steps_per_graph=config.updates_per_graph if m == 1 or self.algorithm.actor_delay == 1 else 1,
            short_reductions=config.batch_size <= SHORT_REDUCTION and config.max_grad_norm == 0,
        )
        self._host_due: list[tuple[Tensor, Any]] = []  # pinned, each with the event of its last copy
        if device.type == "cuda":
            self._host_due = [(torch.zeros(m, dtype=torch.int64).pin_memory(), torch.cuda.Event()) for _ in range(4)]

    @property
    def policy(self) -> Tensor:
        """What members act by, [M, P]."""
        policy: Tensor = self.buffers["state"]["params"][self.algorithm.acts_by]
        return policy

    @property
    def state_bytes(self) -> int:
        """Parameters, targets and moments of all members."""
        return sum(t.nbytes for t in pytree.tree_leaves(self.buffers["state"]))

    def warm_up(self) -> None:
        """Compile and capture now; changes no number."""
        self._launch.warm_up([k % self.algorithm.actor_delay == 0 for k in range(self.algorithm.actor_delay)])

    def rehearse(self, num_steps: int) -> None:
        """Run gradient steps that change nothing, to see how long they take."""
        self._launch.rehearse([k % self.algorithm.actor_delay == 0 for k in range(num_steps)])

    @torch.no_grad()
    def act_deterministic(self, obs: Tensor) -> Tensor:
        """The policy's best actions [M, N, A] for obs [M, N, O]."""
        policies, norm = self.policy, self.buffers["norm"]
        actions = []
        for i in range(self.config.num_members):
            o = normalizer.apply(obs[i], norm["mean"][i], norm["rstd"][i]) if self.config.obs_norm else obs[i]
            actions.append(self.algorithm.act(policies[i], o, None))
        return torch.stack(actions)

    def launch(self, due: list[int]) -> None:
        """Run `due[m]` gradient steps of member m; does not wait for the device."""
        if max(due) <= 0:
            return
        began = time.perf_counter()
        delay = self.algorithm.actor_delay
        flags = [
            any(k < due[m] and (self.grad_steps[m] + k) % delay == 0 for m in range(len(due)))
            for k in range(max(due))
        ]  # fmt: skip
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
        before, self._read_at = self._read_at, list(self.grad_steps)
        rows = []
        for row, then, now in zip(sums, before, self.grad_steps, strict=True):
            acting = -(-now // self.algorithm.actor_delay) - -(-then // self.algorithm.actor_delay)
            counts = [now - then if i < NUM_CRITIC_METRICS else acting for i in range(len(row))]
            rows.append({name: s / c if c else math.nan for name, s, c in zip(METRICS, row, counts, strict=True)})
        return rows

    def bad_steps(self) -> list[int]:
        """Per member, the first gradient step with a loss that was not finite, or NEVER.  Waits for the device."""
        steps: list[int] = self.buffers["bad"][:, 0].tolist()
        return steps

    def not_finite(self) -> list[int]:
        """Members whose parameters, targets or moments hold NaN or infinity.  Waits for the device: log points only."""
        floats = [t for t in pytree.tree_leaves(self.buffers["state"]) if t.is_floating_point()]
        finite = torch.stack([t.flatten(1).isfinite().all(-1) for t in (x.unsqueeze(-1) for x in floats)]).all(0)
        return [m for m, ok in enumerate(finite.tolist()) if not ok]

    def not_finite_parts(self, member: int) -> list[str]:
        """Names of a member's parameters, targets and moments that hold NaN or infinity.  Waits for the device."""
        leaves: list[tuple[Any, Tensor]] = pytree.tree_leaves_with_path(self.buffers["state"])
        return [
            ".".join(part.key for part in path)
            for path, value in leaves
            if value.is_floating_point() and not bool(value[member].isfinite().all())
        ]

    def rewind_(self, member: int, state: State) -> None:
        """Let a member go back to its part of `state`, an older copy of the buffer, and forget what was bad since.

        Its later steps draw from counters that it has not used, so that no batch comes again; its budget counts the
        steps that the state holds, so that those that are lost are made up for.  Waits for the device.
        """
        pytree.tree_map(lambda mine, saved: mine[member].copy_(saved[member]), self.buffers["state"], state)
        grad_steps = int(state["grad_steps"][member])
        self.buffers["skipped"][member] += self.grad_steps[member] - grad_steps
        self.buffers["bad"][member] = NEVER
        self.buffers["sums"][member] = 0.0
        self.grad_steps[member] = self._read_at[member] = grad_steps

    def state_dict(self, with_replay: bool = True) -> dict[str, Any]:
        """Everything that a continued run needs."""
        state = {
            "state": self.buffers["state"],
            "normalizer": self.normalizer.state_dict(),
            "skipped": self.buffers["skipped"],
            "sums": self.buffers["sums"],
            "bad": self.buffers["bad"],
            "read_at": torch.tensor(self._read_at),
        }
        return {**state, "replay": self.replay.state_dict()} if with_replay else state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave, in place; without a replay this one stays as it is.

        Raises:
            ValueError: it is of another algorithm.
        """
        mine = self.state_dict(with_replay=False)
        copy_tree_(mine, {name: state.get(name) for name in mine})
        if "replay" in state:
            self.replay.load_state_dict(state["replay"])
        self.grad_steps = self.buffers["state"]["grad_steps"].tolist()
        self._read_at = mine["read_at"].tolist()


def copy_tree_(target: Any, source: Any, name: str = "state") -> None:
    """Copy a tree of tensors into one of the same keys, shapes and types.

    Raises:
        ValueError: they differ; nothing is copied from there on.
    """
    if isinstance(target, dict):
        if not isinstance(source, dict) or source.keys() != target.keys():
            found = sorted(source) if isinstance(source, dict) else type(source).__name__
            raise ValueError(f"{name} must have parts {sorted(target)}, got {found}.")
        for key, value in target.items():
            copy_tree_(value, source[key], f"{name}.{key}")
    elif not isinstance(source, Tensor) or source.shape != target.shape or source.dtype != target.dtype:
        found = f"{list(source.shape)} {source.dtype}" if isinstance(source, Tensor) else type(source).__name__
        raise ValueError(f"{name} must be {list(target.shape)} {target.dtype}, got {found}.")
    else:
        target.copy_(source)
