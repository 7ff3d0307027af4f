"""Log points: rows of the tables, evaluations, checkpoints.  The only places that wait for the device."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from fastsac.acting.errors import BadStepError, NotFiniteError
from fastsac.config.derived import INFO
from fastsac.disk.errors import DiskErrorTolerance
from fastsac.env import ReportsInfo, told
from fastsac.report.sinks import METRIC_COLUMNS
from fastsac.report.statistics import mean_of_finite
from fastsac.run.evaluator import Evaluation, EvaluationStoppedError, Evaluator
from fastsac.run.films import Films
from fastsac.run.run_state import Row

if TYPE_CHECKING:
    from fastsac.run.trainer import Run

RECENT_EPISODES = 20  # of each member, in the return that the display shows


class LogPoints:
    """Logs, evaluates and writes checkpoints, when the settings of a run say so."""

    def __init__(self, run: "Run", evaluator: Evaluator, tolerance: DiskErrorTolerance) -> None:
        self._run, self._evaluator, self._tolerance = run, evaluator, tolerance
        self._films = Films(run)
        self.evaluation_due = False  # one was not made when the run was interrupted
        self.last_evals: list[Row] = []  # one per member, of all processes
        self.logged_at = 0  # env steps

    def pass_by(self, before: int) -> None:
        """Do what is due between env step `before` and now; the run's end has its own."""
        run, c = self._run, self._run.config
        if run.env_steps >= c.total_steps:
            return
        is_log, is_evaluation, is_checkpoint = (
            every > 0 and before // every < run.env_steps // every
            for every in (c.log_every, c.eval_every, c.checkpoint_every)
        )
        self.evaluation_due |= is_evaluation  # also where the row before it ends the run
        if is_log:
            self.log()
        if is_evaluation:
            self.evaluate()
        if is_checkpoint:
            run.checkpointer.try_to_write()

    def log(self) -> None:
        """Write rows of metrics.csv; look for faults, as `NanGuard.check`, and whether the files are still there."""
        run, together = self._run, self._run.together
        run.guard.check()
        run.guard.hold()
        together.take_episodes()
        run.update_stop_rule()  # for one that goes by the episodes of all processes
        is_first, self.logged_at = self.logged_at == 0, run.env_steps
        restored = False
        with self._tolerance.allow(str(run.plan.run_dir)):
            restored = run.files.restore()
        run.checkpointer.look(renew=restored)
        rows = together.of_all(run.clock.metrics())
        with self._tolerance.allow("metrics.csv"):
            run.files.metrics(rows)
        if is_first and run.plan.world.is_first:
            self._warn_of_untold(rows)
        mean = {key: mean_of_finite(row.get(key, math.nan) for row in rows) for key in METRIC_COLUMNS}
        recent = together.of_all([list(each)[-RECENT_EPISODES:] for each in run.collector.stats.last_returns])
        mean["episode_return"] = mean_of_finite(chain.from_iterable(recent))
        mean["eval_return"] = mean_of_finite(e["return_mean"] for e in self.last_evals)
        run.display.update({**mean, "env_steps": run.env_steps, "grad_steps": run.grad_steps})
        run.callbacks.log(rows)
        run.checkpointer.tell()
        together.agree()  # what callbacks asked for

    def _warn_of_untold(self, rows: Sequence[Row]) -> None:
        """Say which of info_metrics no environment has told so far."""
        run = self._run
        names = run.env.info_names if isinstance(run.env, ReportsInfo) else ()
        for name in run.config.info_metrics:
            if all(math.isnan(row[INFO + name]) for row in rows):
                run.display.warn(
                    f"no environment has told {name!r}, which info_metrics asks for, in {self.logged_at:,} steps: it "
                    f"stays nan until one does{told(name, names) if names and name not in names else '.'}"
                )

    def evaluate(self) -> None:
        """Evaluate the policies as they are after all gradient steps that are due; raises as `train`."""
        run = self._run
        self.evaluation_due = True
        if not run.update_stop_rule():  # the run that continues this one makes it
            return
        run.catch_up()
        run.guard.check()
        episodes: Evaluation | None = None
        try:
            with run.aside("evaluating"):
                episodes = self._evaluator(run)
        except EvaluationStoppedError:
            pass
        except (BadStepError, NotFiniteError):
            run.guard.check(parameters=True)  # a policy of NaNs makes environments fail: that is what to report
            run.checkpointer.rescue()
            raise
        if not run.together.is_true_of_all(episodes is not None) or episodes is None:
            run.together.agree()  # on the end that interrupted it
            return
        self.evaluation_due = False
        is_filmed = self._films.is_due(before=min((int(row["env_steps"]) for row in self.last_evals), default=0))
        self.last_evals = run.together.of_all(run.clock.evaluations(run.together.evaluation(episodes)))
        with self._tolerance.allow("eval.csv"):
            run.files.evaluation(self.last_evals)
        returns = [float(row["return_mean"]) for row in self.last_evals]
        own_returns = run.together.own(returns)
        run.best_policies.update_(own_returns, run.collector.env_steps)
        names = {"return_mean": "eval_return", "return_std": "eval_std", "success_rate": "eval_success_rate"}
        means = {new: mean_of_finite(row.get(name, math.nan) for row in self.last_evals) for name, new in names.items()}
        run.display.update({"env_steps": run.env_steps, **means}, returns)
        run.update_stop_rule(eval_returns=own_returns)
        run.together.agree()
        if is_filmed and run.plan.world.is_first:
            self._films.make(own_returns)
        run.callbacks.evaluation(self.last_evals)
        run.together.agree()
