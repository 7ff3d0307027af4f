"""Losses and parameters that are NaN or infinite: what it was, a dump to look into it, and the way back.

Owns the dumps and the last state in which all was finite.  Looks at log points, where the host waits for the device
anyway; the update itself only notes which step was the first bad one (`gradient_step.FAULT_COLUMNS`).

Axes: M members, B batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fastsac.acting.collector import Collector
from fastsac.acting.errors import NotFiniteError
from fastsac.algorithms.algorithm import METRICS
from fastsac.algorithms.batch import Batch
from fastsac.checkpoint.writer import dump
from fastsac.config.shares import PartOfAgent
from fastsac.disk.files import write_file
from fastsac.learning.draw import draw_batch
from fastsac.learning.gradient_step import FAULT_COLUMNS, NO_FAULT_STEP
from fastsac.learning.learner import Learner, Parts, copy_tree_
from fastsac.learning.replay import Ring
from fastsac.nn import philox

MAX_ROLLBACKS = 3  # of each member


@dataclass(frozen=True)
class Fault:
    """What was not finite in a member: losses of one gradient step, or parts of its state after one."""

    member: int
    step: int  # the gradient step, counted from 0
    names: tuple[str, ...]
    head: int  # of the replay, as the step's draw read them
    tail: int
    count: int


def find(learner: Learner, parameters: bool) -> list[Fault]:
    """At most one fault per member, in its losses, or in its `parameters`, too.  Waits for the device."""
    faults = []
    for member, row in enumerate(learner.buffers["fault"].tolist()):
        found = dict(zip(FAULT_COLUMNS, row, strict=True))
        if found["step"] != NO_FAULT_STEP:
            losses = found.pop("losses")
            faults.append(Fault(member, names=tuple(n for i, n in enumerate(METRICS) if losses >> i & 1), **found))
    known = {fault.member for fault in faults}
    ring = learner.buffers["ring"]
    for member, names in learner.not_finite().items() if parameters else ():
        if member not in known:
            counters = (int(counter[member]) for counter in (ring.head, ring.tail, ring.num_entries))
            faults.append(Fault(member, max(0, learner.grad_steps[member] - 1), names, *counters))
    return faults


def redraw(learner: Learner, fault: Fault) -> tuple[Batch, Tensor]:
    """The batch of the bad step, from the same counters, and whether a transition's row is overwritten by now, [B]."""
    m, config = fault.member, learner.config
    now: Ring = pytree.tree_map(lambda t: t[m], learner.buffers["ring"])
    head, tail, count = torch.tensor([fault.head, fault.tail, fault.count], device=learner.device)
    then = now._replace(head=head, tail=tail, num_entries=count)
    gamma, seed = learner.buffers["hyper"]["gamma"][m], learner.buffers["seed"][m]
    counter = fault.step + learner.buffers["counter_offset"][m]
    shown: Ring | None = None
    if "demonstrations" in learner.buffers:
        shown = pytree.tree_map(lambda t: t[m], learner.buffers["demonstrations"])
    mine = philox.Rows.of(config.first_of_batch, config.batch_size, config.whole_batch, learner.device)
    batch = draw_batch(config, then, gamma, seed, counter, shown, mine)

    num_positions = len(now.rows.reward)
    num_rows = num_positions // config.num_envs
    row = torch.arange(num_positions, device=learner.device).div(config.num_envs, rounding_mode="floor")
    is_overwritten = (row - head - 1) % num_rows < (now.head - head) % num_rows
    marked = then._replace(rows=now.rows._replace(obs=is_overwritten.unsqueeze(1)))
    if shown is not None:  # which are never overwritten
        shown = shown._replace(rows=shown.rows._replace(obs=torch.zeros_like(shown.rows.terminated).unsqueeze(1)))
    return batch, draw_batch(config, marked, gamma, seed, counter, shown, mine).obs[:, 0]


class NanGuard:
    """Looks for faults, writes dumps of them, and stops the run or takes members back, as `on_nan` says."""

    def __init__(self, parts: Parts, collector: Collector, run_dir: Path, say: Callable[[str], None]) -> None:
        self.learner, self.collector, self._parts = parts.learner, collector, parts
        self.config, self.run_dir = parts.learner.config, run_dir
        self._rank = (
            self.config.rank if isinstance(self.config, PartOfAgent) else None
        )  # one of those that see the same
        self._say = say if not self._rank else lambda _: None
        self.rollbacks = [0] * self.config.num_members  # how often each was taken back
        self._held: Any = None  # what members go back to, on the device, if they do
        if self.config.on_nan == "rollback":
            self._held = pytree.tree_map(torch.clone, parts.learner.buffers["state"])

    def state_dict(self) -> dict[str, Any]:
        """What a continued run may have to go back to."""
        return {} if self._held is None else {"held": self._held}

    def load(self, state: dict[str, Any], rollbacks: list[int]) -> None:
        """Take over what `state_dict` gave, or hold the learner's state if it gave nothing; and its `rollbacks`."""
        self.rollbacks = list(rollbacks)
        if self._held is not None and "held" in state:
            copy_tree_(self._held, state["held"], "held")
        else:
            self.hold()

    def hold(self) -> None:
        """Keep a copy of the state if it may be needed; all of it is finite, says a `check` before."""
        if self._held is not None:
            pytree.tree_map(lambda mine, new: mine.copy_(new), self._held, self.learner.buffers["state"])

    def check(self, parameters: bool = False) -> bool:
        """Look for faults, as `find`; returns whether a member was taken back, or raises a NotFiniteError."""
        faults = find(self.learner, parameters or self._held is not None)
        for fault in faults:
            what = f"{self._describe(fault)}. {self._dump(fault)}"
            if self._held is None:
                advice = "Try a smaller learning rate, --max-grad-norm 1 or --on-nan rollback."
                raise NotFiniteError(f"{what} {advice}")
            if self.rollbacks[fault.member] == MAX_ROLLBACKS:
                advice = "try a smaller learning rate or --max-grad-norm 1."
                raise NotFiniteError(f"{what} {MAX_ROLLBACKS} rollbacks did not help: {advice}")
            self._roll_back(fault.member)
            to, number = self.learner.grad_steps[fault.member], self.rollbacks[fault.member]
            self._say(f"{what} Back to gradient step {to:,}, for time {number} of {MAX_ROLLBACKS}.")
        return bool(faults)

    def _roll_back(self, member: int) -> None:
        self.rollbacks[member] += 1
        self.learner.rewind_(member, self._held)
        self.collector.actor.sync_policy(member)

    def _describe(self, fault: Fault) -> str:
        names = ", ".join(fault.names)
        was = "was" if len(fault.names) == 1 else "were"
        member = self.config.member_name(fault.member)
        return f"{names} of {member} {was} not finite at gradient step {fault.step}"

    def _dump(self, fault: Fault) -> str:
        """Write all that belongs to a fault; says where it is, or why not."""
        m, number = fault.member, self.config.first_member + fault.member
        folder = self.run_dir / f"nan-{fault.step}"
        name = f"member{number}" if self._rank is None else f"rank{self._rank}-member{number}"
        times = len(list(folder.glob(f"{name}[-.]*pt")))  # the same step may go wrong again
        path = folder / f"{name}{f'-{times + 1}' if times else ''}.pt"
        batch, stale = redraw(self.learner, fault)
        state = {"state": self.learner.buffers["state"], **self._parts.normalizers()}
        content = {
            "names": list(fault.names), "member": number, "seed": self.config.member_seeds[m], "grad_step": fault.step,
            "counter_offset": int(self.learner.buffers["counter_offset"][m]),
            "replay": {"head": fault.head, "tail": fault.tail, "count": fault.count},
            "noticed_at": {"env_steps": self.collector.env_steps[m], "grad_steps": self.learner.grad_steps[m]},
            "config": self.config.to_json(), "batch": _tensors(batch), "overwritten": stale,
            **pytree.tree_map(lambda t: t[m].clone(), state | self.state_dict()),
        }  # fmt: skip
        try:
            folder.mkdir(exist_ok=True)
            write_file(path, dump(content))
        except OSError as error:
            return f"No dump could be written ({error.strerror})."
        return f"See {path}."


def _tensors(batch: Batch) -> dict[str, Tensor]:
    """As a dictionary, which loads without running code."""
    plain = {k: v for k, v in batch._asdict().items() if k != "window"}
    window = {f"window.{k}": v for k, v in batch.window._asdict().items()} if batch.window else {}
    return plain | window
