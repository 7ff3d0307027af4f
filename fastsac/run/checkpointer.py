"""The checkpoints of a run: what they hold, how a run takes one over, when the loop waits for them, and how long."""

import time
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fastsac import checkpoint
from fastsac.checkpoint.reader import Tree
from fastsac.checkpoint.thread import CheckpointThread
from fastsac.checkpoint.writer import Writer
from fastsac.disk.errors import DiskErrorTolerance
from fastsac.learning.learner import copy_tree_
from fastsac.run.merging import own_piece
from fastsac.run.run_state import RunState, goals_of, sizes_of
from fastsac.run.task_record import PartRecord

if TYPE_CHECKING:
    from fastsac.run.trainer import Run


class Checkpointer:
    """Hands the state of a run to the thread that writes it."""

    def __init__(self, run: "Run", tolerance: DiskErrorTolerance) -> None:
        plan = run.plan
        self._run, self._tolerance = run, tolerance
        found = plan.resume.found if plan.resume else None
        self._writer = Writer(run.files.folder, plan.config.keep_checkpoints, found, lambda: plan.place.is_held)
        self.thread = CheckpointThread(self._writer, lambda: run.files.sync(), plan.device, run.display.info)
        self.loop_s = 0.0  # that the loop stood still for checkpoints
        self._told: Path | None = None  # the newest that callbacks know of

    def close(self, error: type[BaseException] | None, *_: object) -> None:
        """Wait for the thread, unless an `error` ends the program at once: then the thread keeps the run directory."""
        try:
            if error is None or not issubclass(error, KeyboardInterrupt):
                self.thread.close()
        finally:
            if self.thread.is_writing:
                self._run.plan.place.keep()

    def nbytes(self) -> float:
        """About the size of a checkpoint now, at most where the replay began with other transitions."""
        run = self._run
        is_prefilled = run.plan.prefill_digest is not None and run.config.prefill_share == 0
        filled = 1.0 if is_prefilled else min(1.0, run.env_steps / run.plan.config.buffer_size)
        return run.plan.world.size * (run.learner.state_bytes + filled * run.replay.nbytes())

    def write(self) -> None:
        """Begin to write a checkpoint; a CheckpointError if the one before failed for another reason than the disk."""
        run = self._run
        if run.update_stop_rule():  # else there may be little time; the run that continues begins with these
            run.catch_up()
        began = time.perf_counter()
        run.guard.check(parameters=True)
        with run.aside("writing a checkpoint"):
            with self._tolerance.allow("a checkpoint"):
                self.thread.wait()  # for the one before; should it have failed, this one is tried all the same
            with suppress(OSError):  # rows go on waiting
                run.files.flush()
            self._hand_over()
        self.loop_s += time.perf_counter() - began

    def _hand_over(self) -> None:
        """Give what a checkpoint holds to the thread; of several processes, to that of rank 0."""
        run, together = self._run, self._run.together
        keeps_rows = run.config.checkpoint_replay == "full"
        together.take_episodes()
        whole = together.checkpoint(tensors_of(run), state_of(run))
        if whole is None:
            if keeps_rows:
                together.give_rows()
            return
        tensors, state = whole
        # The next actions, of another stream, write counters that are copied here.
        with run.collector.actor.idle(), together.replay_rows() if keeps_rows else nullcontext() as rows:
            self.thread.submit(run.env_steps, tensors, state.to_json(), rows)

    def try_to_write(self) -> None:
        """As `write`; a disk that refuses is told of, and tried again later."""
        with self._tolerance.allow("a checkpoint"):
            self.write()

    def look(self, renew: bool) -> None:
        """Say if the last checkpoint could not be written; write one if it is time to try again, or to `renew` it."""
        is_due = False
        with self._tolerance.allow("a checkpoint"):
            self.thread.check()
            is_due = renew or self.thread.should_retry()
        if self._run.plan.world.tell(is_due):
            self.try_to_write()

    def write_last(self) -> None:
        """Write a checkpoint and wait until it is on the disk; a CheckpointError if it could not be written."""
        self.write()
        self.thread.wait()
        if self._run.plan.world.tell(self._writer.has_damage):  # which nobody would write again any more
            self.write()
            self.thread.wait()

    def tell(self) -> None:
        """Tell callbacks of the newest checkpoint that is whole, once."""
        if self.thread.newest not in (None, self._told):
            self._told = self.thread.newest
            self._run.callbacks.checkpoint(self._told)

    def rescue(self) -> None:
        """Write the state before an environment or a callback failed, if that can be done: by a process alone."""
        run = self._run
        if not run.plan.world.is_alone:
            return
        with suppress(Exception):
            run.learner.launch(run.collector.due())  # unless it is done: of the step that failed
            self.write()
            self.thread.wait()
            run.display.info(f"wrote a checkpoint of the state before, at {run.env_steps:,} steps")


def tensors_of(run: "Run") -> Tree:
    """Tensors that a continued run needs, without the rows of the replay."""
    return {
        **run.learner.state_dict(),
        **run.parts.normalizers(),
        **run.collector.state_dict(),
        "best": run.best_policies.state_dict(),
        **run.guard.state_dict(),
        **({"replay": run.replay.cursor()} if run.config.checkpoint_replay == "full" else {}),
    }


def state_of(run: "Run") -> RunState:
    """Counters and records; copies, since they are written while the run goes on and changes them."""
    collector, spec = run.collector, run.plan.spec
    return RunState(
        env_id=spec.env_id,
        sizes=sizes_of(run.plan.config, spec),
        action_bounds=[list(bounds) for bounds in spec.action_bounds],
        obs_parts=[PartRecord.of(part) for part in spec.obs_parts],
        action_shape=None if spec.action_shape is None else list(spec.action_shape),
        action_start=spec.action_start,
        env_steps=list(collector.env_steps),
        grad_steps=list(run.learner.grad_steps),
        vec_steps=collector.vec_steps,
        learn_from=list(collector.learn_from),
        rollbacks=list(run.guard.rollbacks),
        goal_at=list(run.stop_rule.goal_at),
        goals=goals_of(run.config),
        prefill=run.plan.prefill_digest,
        evaluation_due=run.log_points.evaluation_due,
        last_evals=list(run.log_points.last_evals),
        episodes=collector.stats.finished(),
        tables=run.files.num_rows,
        last_row=run.clock.last_row(),
        wall_s=run.clock.wall_s,
    )


def restore(run: "Run", tensors: Tree, state: RunState) -> None:
    """Let a new run take over a checkpoint, whose rows are read meanwhile.

    Raises:
        ValueError: its parts are not those of this run, or its rows cannot be read.
    """
    collector = run.collector
    run.learner.load_state_dict(tensors)
    for name, statistics in run.parts.normalizers().items():
        copy_tree_(statistics, tensors.get(name), name)
    collector.load_state_dict(tensors)
    copy_tree_(run.best_policies.state_dict(), tensors.get("best"), "best")
    run.guard.load(tensors, state.rollbacks)
    collector.env_steps, collector.learn_from = list(state.env_steps), list(state.learn_from)
    if "replay" in tensors:
        assert run.plan.resume is not None
        pieces = map(partial(own_piece, share=run.config), checkpoint.read_rows(run.plan.resume.found))
        run.replay.load(tensors["replay"], pieces)
    else:  # learning waits until there is a batch again
        collector.learn_from = [steps + run.plan.config.batch_size for steps in state.env_steps]
    collector.stats.load_finished(state.episodes)
    if state.is_of_goals(run.config):
        run.stop_rule.goal_at = list(state.goal_at)
    run.log_points.last_evals, run.log_points.evaluation_due = list(state.last_evals), state.evaluation_due
    run.log_points.logged_at = state.last_row.env_steps
    run.clock.resume(state.wall_s, state.last_row)
