"""Log points: rows of the tables, evaluations, checkpoints.  The only places that wait for the device."""

from typing import TYPE_CHECKING

from fastsac.acting.errors import BadStepError, NotFiniteError
from fastsac.disk.errors import DiskErrorTolerance
from fastsac.report.sinks import METRIC_COLUMNS
from fastsac.report.statistics import mean_of_finite
from fastsac.run.evaluator import EvaluationStoppedError, Evaluator
from fastsac.run.run_state import Row

if TYPE_CHECKING:
    from fastsac.run.trainer import Run

RECENT_EPISODES = 20  # of each member, in the return that the display shows


class LogPoints:
    """Logs, evaluates and writes checkpoints.

    Args:
        run: whose these are.
        evaluator: evaluates its policies.
        tolerance: of errors of the disk.

    Attributes:
        evaluation_due: an evaluation was given up when the run was interrupted.
        last_evals: rows of the last evaluation, one per member.
    """

    def __init__(self, run: "Run", evaluator: Evaluator, tolerance: DiskErrorTolerance) -> None:
        self._run, self._evaluator, self._tolerance = run, evaluator, tolerance
        self.evaluation_due = False
        self.last_evals: list[Row] = []
        c = run.config
        self._points = (
            (self.log, c.log_every),
            (self.evaluate, c.eval_every),
            (run.checkpointer.try_to_write, c.checkpoint_every),
        )  # fmt: skip

    def pass_by(self, before: int) -> None:
        """Do what is due between env step `before` and now; the run's end has its own."""
        for act, every in self._points:
            now = self._run.env_steps
            if every > 0 and before // every < now // every and now < self._run.config.total_steps:
                act()

    def log(self) -> None:
        """Write rows of metrics.csv; look for faults, and whether the files are still there.

        Raises:
            NotFiniteError: a loss is not finite, and the run is to stop.
        """
        run = self._run
        run.guard.check()
        run.guard.hold()
        restored = False
        with self._tolerance.allow(str(run.plan.run_dir)):
            restored = run.files.restore()
        run.checkpointer.look(renew=restored)
        rows = run.clock.metrics()
        with self._tolerance.allow("metrics.csv"):
            run.files.sinks.metrics(rows)
        mean = {key: mean_of_finite(row[key] for row in rows) for key in METRIC_COLUMNS if key in rows[0]}
        recent = [list(returns)[-RECENT_EPISODES:] for returns in run.collector.stats.last_returns]
        mean["episode_return"] = mean_of_finite(r for returns in recent for r in returns)
        mean["eval_return"] = mean_of_finite(e["return_mean"] for e in self.last_evals)
        run.display.update({**mean, "env_steps": run.env_steps, "grad_steps": run.grad_steps})

    def evaluate(self) -> None:
        """Evaluate the policies as they are after all gradient steps that are due.

        Raises:
            BadStepError: an environment failed.
            NotFiniteError: an environment, a policy or a loss gave NaN or infinity.
        """
        run = self._run
        self.evaluation_due = True
        if not run.update_stop_rule():  # the run that continues this one makes it
            return
        run.catch_up()
        run.guard.check()
        try:
            with run.aside("evaluating"):
                episodes = self._evaluator(run)
        except EvaluationStoppedError:
            return
        except (BadStepError, NotFiniteError):
            run.guard.check(parameters=True)  # a policy of NaNs makes environments fail: that is what to report
            run.checkpointer.rescue()
            raise
        self.evaluation_due = False
        self.last_evals = run.clock.evaluations(episodes)
        with self._tolerance.allow("eval.csv"):
            run.files.sinks.evaluation(self.last_evals)
        returns = [float(row["return_mean"]) for row in self.last_evals]
        run.best_policies.update_(returns, run.collector.env_steps)
        mean = mean_of_finite(returns)
        run.display.update({"env_steps": run.env_steps, "eval_return": mean}, returns)
        run.update_stop_rule(eval_returns=returns)
