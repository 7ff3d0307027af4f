"""What a checkpoint holds of a run, and how a run takes it over."""

from typing import TYPE_CHECKING

from fastsac.checkpoint.reader import Tree
from fastsac.checkpoint.writer import Rows
from fastsac.learning.learner import copy_tree_
from fastsac.run.run_state import RunState, sizes_of

if TYPE_CHECKING:
    from fastsac.run.trainer import Run


def tensors_of(run: "Run") -> Tree:
    """Tensors that a continued run needs, without the rows of the replay."""
    state: Tree = {
        **run.learner.state_dict(),
        "normalizer": run.normalizer.state_dict(),
        **run.collector.state_dict(),
        "best": run.best_policies.state_dict(),
        **run.guard.state_dict(),
    }
    if run.config.checkpoint_replay == "full":
        state["replay"] = run.replay.cursor()
    return state


def rows_of(run: "Run") -> Rows | None:
    """Rows of the replay that a checkpoint keeps."""
    replay = run.replay
    return Rows(replay.span(), replay.row_bytes, replay.read) if run.config.checkpoint_replay == "full" else None


def state_of(run: "Run") -> RunState:
    """Counters and records; copies, since they are written while the run goes on and changes them."""
    collector = run.collector
    return RunState(
        env_id=run.plan.spec.env_id,
        sizes=sizes_of(run.config, run.plan.spec),
        action_bounds=[list(bounds) for bounds in run.plan.spec.action_bounds],
        env_steps=list(collector.env_steps),
        grad_steps=list(run.learner.grad_steps),
        vec_steps=collector.vec_steps,
        learn_from=list(collector.learn_from),
        rollbacks=list(run.guard.rollbacks),
        goal_at=list(run.stop_rule.goal_at),
        evaluation_due=run.log_points.evaluation_due,
        last_evals=list(run.log_points.last_evals),
        episodes=collector.stats.finished(),
        tables=run.files.sinks.num_rows,
        last_row=run.clock.last_row(),
        wall_s=run.clock.wall_s,
    )


def restore(run: "Run", tensors: Tree, state: RunState) -> None:
    """Let a new run take over a checkpoint.

    Raises:
        ValueError: its parts are not those of this run.
    """
    run.learner.load_state_dict(tensors)
    copy_tree_(run.normalizer.state_dict(), tensors.get("normalizer"), "normalizer")
    collector = run.collector
    collector.load_state_dict(tensors)
    run.best_policies.load_state_dict(tensors.get("best", {}))
    run.guard.load(tensors, state.rollbacks)
    collector.env_steps, collector.learn_from = list(state.env_steps), list(state.learn_from)
    if "replay" in tensors:
        run.replay.load_state_dict(tensors["replay"])
    else:  # learning waits until there is a batch again
        collector.learn_from = [steps + run.config.batch_size for steps in state.env_steps]
    collector.stats.load_finished(state.episodes)
    run.stop_rule.goal_at = list(state.goal_at)
    run.log_points.last_evals, run.log_points.evaluation_due = list(state.last_evals), state.evaluation_due
    run.clock.resume(state.wall_s, state.last_row)
