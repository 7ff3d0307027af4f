"""The latest figures of a run and the time that is left, as numbers and as text."""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fastsac.config.seeds import seeds_text
from fastsac.config.settings import Config
from fastsac.report.statistics import iqm_of_finite

LEARNED_SHARE = 0.1  # of a row's env steps; with fewer that came with updates, its rate says nothing of later rows
SHOWN_EVALUATIONS = 5


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: the mean return of each member, and means over members of the rest, nan where not known."""

    env_steps: float
    returns: Sequence[float]
    std: float
    success_rate: float


class Progress:
    """The figures of a run as of its last log point or evaluation; `progress[name]` is nan where there is none yet.

    Args:
        config: settings of the run.
        total_steps: environment steps at its end.
        device_type: "cpu" or "cuda".
    """

    def __init__(self, config: Config, total_steps: int, device_type: str = "cpu") -> None:
        settings = f"{len(config.settings)} settings, " if len(config.settings) > 1 else ""
        self.heading = f"{config.task}, {settings}{seeds_text(config.seed_list)}"
        self.total_steps = total_steps
        self.num_members, self.on_cpu = config.num_members, device_type == "cpu"
        self.wall_s = 0.0
        self.evaluations: deque[Evaluation] = deque(maxlen=SHOWN_EVALUATIONS)
        self.counters: Callable[[], tuple[int, int]] | None = None  # the loop's env and gradient steps, as they are now
        # Gradient steps are those of the member with the fewest.
        self._utd_ratio = min(config.values_of("utd_ratio"))
        self._learning_starts = max(config.values_of("learning_starts"))
        are_random = all(member.num_random_steps >= member.learning_starts for member in config.members)
        self._first_steps = "random steps" if are_random else "steps before the first update"
        self._figures: dict[str, float] = {}
        self._pace = math.nan  # env steps per second, updates included

    def update(self, figures: Mapping[str, float], eval_returns: Sequence[float] | None = None) -> None:
        """Take new figures; see `Display.update`.  A success rate stays until another is known."""
        known = {name: value for name, value in figures.items() if name != "success_rate" or math.isfinite(value)}
        self._figures.update(known)
        self.wall_s = figures.get("wall_s", self.wall_s)
        if eval_returns is not None:
            more = (figures.get(name, math.nan) for name in ("eval_std", "eval_success_rate"))
            self.evaluations.append(Evaluation(self.env_steps, eval_returns, *more))
        pace = learning_pace(figures, self._utd_ratio)
        self._pace = self._pace if math.isnan(pace) else pace

    def __bool__(self) -> bool:
        return bool(self._figures)

    def __getitem__(self, name: str) -> float:
        return self._figures.get(name, math.nan)

    @property
    def env_steps(self) -> float:
        """Those of the loop where it can be asked, else the last that were told."""
        return self.counters()[0] if self.counters else self._figures.get("env_steps", 0.0)

    @property
    def eval_returns(self) -> Sequence[float]:
        """Of the last evaluation, one per member; none before it."""
        return self.evaluations[-1].returns if self.evaluations else ()

    @property
    def phase(self) -> str:
        """What goes on before there are updates; nothing afterwards."""
        env_steps, grad_steps = self.counters() if self.counters else (0, 1)
        if grad_steps > 0:
            return ""
        if env_steps >= self._learning_starts:
            return "first updates ..."
        return f"collecting {env_steps:,} of {self._learning_starts:,} {self._first_steps}"

    @property
    def share_done(self) -> float:
        """Of the run, from 0 to 1."""
        return min(self.env_steps / self.total_steps, 1.0)

    @property
    def seconds_left(self) -> float:
        """nan until updates are made: random actions are taken many times faster than the steps that follow."""
        return max(self.total_steps - self.env_steps, 0) / self._pace

    @property
    def time_shares(self) -> tuple[int, int, int] | None:
        """Percentages of environments, device and host in the last log interval, 100 in all; None if not known."""
        env, device, host = self["env_wait_s"], self["device_wait_s"], self["host_s"]
        total = env + device + host
        if not 0 < total < math.inf:
            return None
        env, device = round(100 * env / total), round(100 * device / total)
        return env, device, max(100 - env - device, 0)


def learning_pace(row: Mapping[str, float], utd_ratio: float) -> float:
    """Environment steps per second, of those that came with their updates; nan where next to none did."""
    pace = row.get("env_steps_per_s", math.nan)
    learned = row.get("grad_steps_per_s", math.nan) / utd_ratio
    return min(pace, learned) if learned > LEARNED_SHARE * pace else math.nan


def spread(returns: Sequence[float]) -> str:
    """` (iqm -150.2, -173.0 to -133.9)` of several members, or nothing."""
    if len(returns) < 2:
        return ""
    return f" (iqm {number(iqm_of_finite(returns))}, {number(min(returns))} to {number(max(returns))})"


def count(value: float) -> str:
    """`12,345`, or `-` where there is none."""
    return f"{value:,.0f}" if math.isfinite(value) else "-"


def rate(value: float) -> str:
    """Per second: `12,345`, `12.3`, or `-`."""
    return f"{value:.1f}" if value < 100 else count(value)


def percent(share: float) -> str:
    """`85%`, or `-`."""
    return f"{share:.0%}" if math.isfinite(share) else "-"


def number(value: float) -> str:
    """Four significant digits at most, in nine characters: `-153.2`, `0.0123`, `1.23e+07`, or `-`."""
    if not math.isfinite(value):
        return "-"
    size = abs(value)
    if size >= 1e6 or size < 0.1:
        return f"{value:.3g}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.1f}" if size >= 10 else f"{value:.3f}"


def duration(seconds: float) -> str:
    """`0:42`, `12:05`, `3:07:00`, `2 d 03:07`, or `-`."""
    if not math.isfinite(seconds):
        return "-"
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days} d {h:02d}:{m:02d}"
    return f"{h}:{m:02d}:{s:02d}" if h else f"{m}:{s:02d}"
