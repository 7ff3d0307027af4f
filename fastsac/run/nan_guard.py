"""Losses and parameters that are NaN or infinite: what it was, a dump to look into it, and the way back.

Owns the dumps and the last state in which all was finite.  Looks at log points, where the host waits for the device
anyway; the update itself only notes which step was the first bad one (`gradient_step.FAULT_COLUMNS`).

Axes: M members, B batch.
"""

import io
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
from fastsac.config.settings import Config
from fastsac.disk.files import write_file
from fastsac.learning.draw import draw_batch
from fastsac.learning.gradient_step import FAULT_COLUMNS, NO_FAULT_STEP
from fastsac.learning.learner import Learner, copy_tree_
from fastsac.learning.replay import Ring
from fastsac.nn.normalizer import Normalizer

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
    """What is wrong now, at most one fault per member.  Waits for the device.

    Args:
        learner: to be looked at.
        parameters: look at all parameters, targets and moments, too.
    """
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
    """The batch of the bad step, from the same counters.

    Returns:
        The batch, as drawn, and per transition whether its first row is overwritten by now, [B].
    """
    m, config = fault.member, learner.config
    now: Ring = pytree.tree_map(lambda t: t[m], learner.buffers["ring"])
    head, tail, count = torch.tensor([fault.head, fault.tail, fault.count], device=learner.device)
    then = now._replace(head=head, tail=tail, num_entries=count)
    gamma, seed = learner.buffers["hyper"]["gamma"][m], learner.buffers["seed"][m]
    counter = fault.step + learner.buffers["counter_offset"][m]
    batch = draw_batch(config, then, gamma, seed, counter)

    num_positions = len(now.rows.reward)
    num_rows = num_positions // config.num_envs
    row = torch.arange(num_positions, device=learner.device).div(config.num_envs, rounding_mode="floor")
    is_overwritten = (row - head - 1) % num_rows < (now.head - head) % num_rows
    marked = then._replace(rows=now.rows._replace(obs=is_overwritten.unsqueeze(1)))
    return batch, draw_batch(config, marked, gamma, seed, counter).obs[:, 0]


class NanGuard:
    """Looks for faults, and stops the run or takes members back, as `on_nan` says.

    Args:
        config: settings.
        learner: to look at.
        normalizer: of the learner.
        collector: whose copy of the policy follows a member that goes back.
        run_dir: for dumps.
        say: prints one line.
    """

    def __init__(
        self,
        config: Config,
        learner: Learner,
        normalizer: Normalizer,
        collector: Collector,
        run_dir: Path,
        say: Callable[[str], None],
    ) -> None:
        self.config, self.learner, self.normalizer, self.collector = config, learner, normalizer, collector
        self.run_dir, self._say = run_dir, say
        self._rolls_back = config.on_nan == "rollback"
        self._held: Any = None
        self.rollbacks = [0] * config.num_members

    def state_dict(self) -> dict[str, Any]:
        """What a continued run may have to go back to."""
        return {} if self._held is None else {"held": self._held}

    def load(self, state: dict[str, Any], rollbacks: list[int]) -> None:
        """Take over what `state_dict` gave, where it did, and how often each member was taken back.

        Raises:
            ValueError: it is of another algorithm.
        """
        self.rollbacks = list(rollbacks)
        if self._rolls_back and "held" in state:
            self.hold()
            copy_tree_(self._held, state["held"], "held")

    def start(self) -> None:
        """Hold the state, unless a continued run brought what to go back to."""
        if self._held is None:
            self.hold()

    def hold(self) -> None:
        """Keep a copy of the state, on the device, if it may be needed; all of it is finite, says a `check` before."""
        if self._held is not None:
            pytree.tree_map(lambda mine, new: mine.copy_(new), self._held, self.learner.buffers["state"])
        elif self._rolls_back:
            self._held = pytree.tree_map(torch.clone, self.learner.buffers["state"])

    def check(self, parameters: bool = False) -> bool:
        """Look for faults and deal with them.  Waits for the device.

        Args:
            parameters: look at more than the losses.

        Returns:
            Whether a member was taken back.

        Raises:
            NotFiniteError: a fault, and the run is to stop.
        """
        faults = find(self.learner, parameters or self._rolls_back)
        for fault in faults:
            what, dump = self._describe(fault), self._dump(fault)
            if not self._rolls_back or self.rollbacks[fault.member] == MAX_ROLLBACKS:
                raise NotFiniteError(f"{what}. {dump} {self._advice()}")
            self._roll_back(fault.member)
            to, number = self.learner.grad_steps[fault.member], self.rollbacks[fault.member]
            self._say(f"{what}. {dump} Back to gradient step {to:,}, for time {number} of {MAX_ROLLBACKS}.")
        return bool(faults)

    def _roll_back(self, member: int) -> None:
        self.rollbacks[member] += 1
        self.learner.rewind_(member, self._held)
        self.collector.sync_policy(member)

    def _describe(self, fault: Fault) -> str:
        names = ", ".join(fault.names)
        was = "was" if len(fault.names) == 1 else "were"
        member = self.config.member_name(fault.member)
        return f"{names} of {member} {was} not finite at gradient step {fault.step}"

    def _advice(self) -> str:
        if self._rolls_back:
            return f"{MAX_ROLLBACKS} rollbacks did not help: try a smaller learning rate or --max-grad-norm 1."
        return (
            "Checkpoints written so far are kept; try a smaller learning rate, --max-grad-norm 1 or --on-nan rollback."
        )

    def _dump(self, fault: Fault) -> str:
        """Write all that belongs to a fault; says where it is, or why not."""
        folder = self.run_dir / f"nan-{fault.step}"
        times = len(list(folder.glob(f"member{fault.member}[-.]*pt")))  # the same step may go wrong again
        path = folder / f"member{fault.member}{f'-{times + 1}' if times else ''}.pt"
        batch, stale = redraw(self.learner, fault)
        content = {
            "names": list(fault.names), "member": fault.member, "seed": self.config.member_seeds[fault.member],
            "grad_step": fault.step,
            "counter_offset": int(self.learner.buffers["counter_offset"][fault.member]),
            "replay": {"head": fault.head, "tail": fault.tail, "count": fault.count},
            "noticed_at": {
                "env_steps": self.collector.env_steps[fault.member],
                "grad_steps": self.learner.grad_steps[fault.member],
            },
            "config": self.config.to_json(),
            "batch": _tensors(batch), "overwritten": stale,
            "state": self.learner.buffers["state"], "normalizer": self.normalizer.state_dict(),
        }  # fmt: skip
        if self._held is not None:
            content["held"] = self._held
        for name in ("state", "normalizer", "held"):
            if name in content:
                content[name] = pytree.tree_map(lambda t: t[fault.member].clone(), content[name])
        try:
            folder.mkdir(exist_ok=True)
            buffer = io.BytesIO()
            torch.save(pytree.tree_map(lambda x: x.cpu() if isinstance(x, Tensor) else x, content), buffer)
            write_file(path, buffer.getvalue())
        except OSError as error:
            return f"No dump could be written ({error.strerror})."
        return f"See {path}."


def _tensors(batch: Batch) -> dict[str, Tensor]:
    """A batch as a dictionary, which loads without running code."""
    plain = {k: v for k, v in batch._asdict().items() if k != "window"}
    window = {f"window.{k}": v for k, v in batch.window._asdict().items()} if batch.window else {}
    return plain | window
