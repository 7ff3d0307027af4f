"""What the processes of a run do together: meet, agree on its end, and bring rows and checkpoints to rank 0.

Those that share members do not talk while they train.  Each goes on until its own members pass a log point; the
vector step at which the last of them has done so is that of a single process, and there all meet.
Those that train one agent count its steps together, and are at the same vector step anyway.

A process alone meets itself at every vector step.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fastsac.checkpoint.reader import Tree, sha256
from fastsac.checkpoint.writer import Rows
from fastsac.config.shares import PartOfAgent
from fastsac.run.evaluator import Evaluation
from fastsac.run.merging import merged, merged_rows, merged_state
from fastsac.run.run_state import RunState

if TYPE_CHECKING:
    from fastsac.run.trainer import Run

T = TypeVar("T")
Counters = dict[str, Any]  # a `Row`, and goal_at, which may be None


class DivergedError(RuntimeError):
    """The processes of one agent have come to have different parameters; all of them raise it."""


class Together:
    """The part of a run that knows of other processes."""

    def __init__(self, run: "Run") -> None:
        self._run, self.world = run, run.plan.world
        self._is_of_agent = isinstance(run.config, PartOfAgent)
        self._env_steps = 0  # of the member that has made the fewest, of all processes, when they met last
        self._counters: list[Counters] = []  # then
        self._meet_at: int | None = None  # the vector step at which they meet, once it is known

    @property
    def env_steps(self) -> int:
        """Environment steps of the member that has made the fewest: now, or of all processes when they met last."""
        return self._own_env_steps if self.world.is_alone else self._env_steps

    @property
    def _own_env_steps(self) -> int:
        return min(self._run.collector.env_steps)

    # Meeting --------------------------------------------------------------------------------------------------------

    def meets(self) -> bool:
        """Whether all processes are at the same vector step now, where something may be due."""
        self.world.check()
        if self.world.is_alone:
            return True
        vec_steps = self._run.collector.vec_steps
        if self._meet_at is None:
            if self._own_env_steps < self._next_log_point() and not self._is_stop_wished():
                return False
            self._meet_at = max(self.world.gather(vec_steps))
        if vec_steps < self._meet_at:
            return False
        self._meet_at = None
        self.agree()
        return True

    def agree(self) -> None:
        """Let all processes, which are at the same vector step, know the same of the run and its end."""
        rule = self._run.stop_rule
        if self.world.is_alone:
            return
        said = self.world.gather((self._own_env_steps, self._own_counters(), rule.hand_over()))
        self._env_steps = min(steps for steps, _, _ in said)
        self._counters = said[0][1] if self._is_of_agent else [row for _, rows, _ in said for row in rows]
        rule.agree(self._env_steps, [row["goal_at"] for row in self._counters], [each for _, _, each in said])

    def _next_log_point(self) -> int:
        """Environment steps at which something is due next."""
        config, done = self._run.config, self._env_steps
        every = [n for n in (config.log_every, config.eval_every, config.checkpoint_every) if n > 0]
        return min([config.total_steps, *((done // n + 1) * n for n in every)])

    def _is_stop_wished(self) -> bool:
        """Whether a process wants all to stop; of one agent all learn of it at the same vector step."""
        rule, collector = self._run.stop_rule, self._run.collector
        if rule.wanted is not None:
            self.world.ask(rule.wanted)
        if not self._is_of_agent:
            return self.world.wish is not None
        collector.wants_stop = rule.wanted is not None
        return collector.is_stop_wanted

    def interrupts(self) -> bool:
        """Whether an evaluation or a film, in which processes do not meet, is to be given up for the end of the run."""
        is_interrupted = not self._run.update_stop_rule()
        if (wanted := self._run.stop_rule.wanted) is not None:
            self.world.ask(wanted)
        return is_interrupted or self.world.wish is not None

    def counters(self) -> list[Counters]:
        """Counters, and the goals that were reached, of all members: now, or when the processes met last."""
        if self.world.is_alone or not self._counters:
            return self._own_counters()
        return self._counters

    def _own_counters(self) -> list[Counters]:
        rows, goal_at = self._run.clock, self._run.stop_rule.goal_at
        return [{**rows.counters(m), "goal_at": goal_at[m]} for m in range(self._run.config.num_members)]

    # What is brought together -----------------------------------------------------------------------------------------

    def of_all(self, values: Sequence[T]) -> list[T]:
        """Of values of the members of each process, those of all members."""
        gathered = self.world.gather(list(values))
        return gathered[0] if self._is_of_agent else [value for each in gathered for value in each]

    def own(self, values: Sequence[T]) -> Sequence[T]:
        """Of values of all members, those of the members of this process."""
        first = self._run.config.first_member
        return values[first : first + self._run.config.num_members]

    def is_true_of_all(self, fact: bool) -> bool:
        """Whether it is so in every process."""
        return all(self.world.gather(fact))

    def take_episodes(self) -> None:
        """Let every process of an agent count the episodes of all that have finished, and what their steps told."""
        if self._is_of_agent:
            stats = self._run.collector.stats
            stats.take_in(self.world.gather(stats.hand_over()))
            if stats.info.names:
                stats.info.take_in(self.world.gather(stats.info.hand_over()))

    def evaluation(self, episodes: Evaluation) -> Evaluation:
        """All episodes of an evaluation of the members of this process."""
        if not self._is_of_agent:
            return episodes
        parts: list[Any] = [*zip(*self.world.gather(tuple(episodes)), strict=True)]
        joined: list[Any] = [None if part[0] is None else np.concatenate(part, 1) for part in parts]
        return Evaluation(*joined)

    # Checkpoints ------------------------------------------------------------------------------------------------------

    def checkpoint(self, tensors: Tree, state: RunState) -> tuple[Tree, RunState] | None:
        """The state of all processes on rank 0; None elsewhere.

        Raises:
            DivergedError: the processes of one agent have come to have different parameters.
        """
        states = self.world.gather(state)
        if self._is_of_agent and not self.world.is_alone:
            self._check_equal()
        trees = self.world.bring(tensors)
        if trees is None:
            return None
        return merged(trees, self._run.config), merged_state(states, self._run.config)

    def _check_equal(self) -> None:
        buffers = self._run.learner.buffers
        shared = [buffers["state"], buffers["norm"], buffers.get("return_scale")]
        sums = self.world.gather([_fingerprint(leaf) for leaf in pytree.tree_leaves(shared) if leaf is not None])
        if differing := [rank for rank, each in enumerate(sums) if each != sums[0]]:
            raise DivergedError(
                f"the parameters of rank {differing[0]} are not those of rank 0 any more. Are the versions and the "
                "GPUs of all machines the same?"
            )

    @contextmanager
    def replay_rows(self) -> Iterator[Rows]:
        """The rows of the replays of all processes, to be read on rank 0 inside; the others give theirs meanwhile."""
        replay, world = self._run.replay, self.world

        def read(first: int, last: int) -> dict[str, Tensor]:
            world.tell((first, last))
            parts = world.bring(replay.read(first, last))
            assert parts is not None
            return merged_rows(parts, self._run.config)

        if world.is_alone:
            yield Rows(replay.span(), replay.row_bytes, replay.read)
            return
        try:
            yield Rows(replay.span(), replay.row_bytes * world.size, read)
        except Exception:
            world.tell(None)
            raise
        world.tell(None)  # not after a second signal, which ends this process wherever its threads are

    def give_rows(self) -> None:
        """Give rank 0 the rows that it asks for."""
        while (span := self.world.tell(None)) is not None:
            self.world.bring(self._run.replay.read(*span))


def _fingerprint(tensor: Tensor) -> str:
    """Another one if any bit differs."""
    return sha256(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
