"""Rows of the tables: counters of the members, and rates since the row before."""

import time

import numpy as np

from fastsac.acting.collector import Collector
from fastsac.acting.episodes import success_rate
from fastsac.learning.learner import Learner
from fastsac.run.evaluator import Evaluation
from fastsac.run.run_state import LastRow, Row


class RowClock:
    """Time and steps since the last row of metrics.csv; what is set aside (compiling, evaluating) does not count."""

    def __init__(self, collector: Collector, learner: Learner, since: float) -> None:
        """`since`: when the run began, on `time.perf_counter`."""
        self._collector, self._learner, self._config = collector, learner, learner.config
        self._start = self._at = since
        self.env_steps = self._grad_steps = 0  # at the last row
        self._waited = collector.waited

    @property
    def wall_s(self) -> float:
        """Seconds of the run so far, those before an interruption included."""
        return time.perf_counter() - self._start

    def set_aside(self, seconds: float) -> None:
        """Leave so many seconds out of the rates of the next row."""
        self._at += seconds

    def counters(self, member: int) -> Row:
        """The columns that all tables have."""
        return {
            "member": self._config.first_member + member,
            "env_steps": self._collector.env_steps[member],
            "grad_steps": self._learner.grad_steps[member],
            "seed": self._config.member_seeds[member],
            **self._config.member_setting(member),
        }

    def metrics(self) -> list[Row]:
        """Rows of metrics.csv; means over the steps and episodes since the last ones.  Waits for the device."""
        rates, losses, episodes = self._rates(), self._learner.read_metrics(), self._collector.stats.take()
        means = zip(losses, self._collector.stats.info.take(), strict=True)
        singles = [{name: _single(value) for name, value in {**loss, **info}.items()} for loss, info in means]
        return [{**self.counters(m), **rates, **singles[m], **episodes[m]} for m in range(self._config.num_members)]

    def _rates(self) -> Row:
        """Columns of the time since the last row, which is now."""
        now, env_steps, grad_steps = time.perf_counter(), min(self._collector.env_steps), min(self._learner.grad_steps)
        seconds, waited = now - self._at, self._since()
        rates: Row = {
            "wall_s": _seconds(self.wall_s),
            "env_steps_per_s": _single((env_steps - self.env_steps) / seconds),
            "grad_steps_per_s": _single(max(0, grad_steps - self._grad_steps) / seconds),
            "env_wait_s": _seconds(waited["env"]),
            "device_wait_s": _seconds(waited["device"]),
            "host_s": _seconds(max(0.0, seconds - waited["env"] - waited["device"])),
        }
        self._at, self.env_steps, self._grad_steps, self._waited = now, env_steps, grad_steps, self._collector.waited
        return rates

    def evaluations(self, evaluation: Evaluation) -> list[Row]:
        """Rows of eval.csv, from each member's episodes."""
        members = range(len(evaluation.returns))
        return [{**self.counters(m), "wall_s": _seconds(self.wall_s), **_figures(evaluation, m)} for m in members]

    def last_row(self) -> LastRow:
        """What a continued run needs."""
        return LastRow(self.env_steps, self._grad_steps, time.perf_counter() - self._at, self._since())

    def resume(self, wall_s: float, row: LastRow) -> None:
        """Go on as the clock of a run that came to `wall_s`, with its last row."""
        self._start -= wall_s
        self._at, self.env_steps, self._grad_steps = time.perf_counter() - row.ago_s, row.env_steps, row.grad_steps
        self._waited = {key: seconds - row.waited.get(key, 0.0) for key, seconds in self._collector.waited.items()}

    def _since(self) -> dict[str, float]:
        """Seconds waited since the last row, by what for."""
        return {key: seconds - self._waited[key] for key, seconds in self._collector.waited.items()}


def _figures(evaluation: Evaluation, member: int) -> Row:
    """The columns of eval.csv that tell of one member's episodes."""
    returns, success = evaluation.returns[member], evaluation.success
    told = [] if success is None else success[member][np.isfinite(success[member])].tolist()
    return {
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "episodes": len(returns),
        "episodes_cut": 0 if evaluation.cut is None else int(evaluation.cut[member].sum()),
        **success_rate(told),
    }


def _single(value: float) -> float:
    """The number with the fewest digits that is `value` in float32, which is as exactly as it is known."""
    return float(str(np.float32(value)))


def _seconds(value: float) -> float:
    """To the microsecond."""
    return round(value, 6)
