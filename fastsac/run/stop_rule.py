"""When and why a run ends before its steps are done: goals, signals, the limit on its time, and callbacks."""

from collections.abc import Callable, Sequence

from fastsac.config.settings import Config
from fastsac.runtime.signals import Deadline, StopSignals


class StopRule:
    """Decides whether a run goes on: in `update` alone."""

    def __init__(self, config: Config, signals: StopSignals, deadline: Deadline, say: Callable[[str], None]) -> None:
        self._config, self._signals, self._deadline, self._say = config, signals, deadline, say
        # Of the end: "goal", "max_wall_time", a signal's name or "callback: ..."; None: the run goes on.
        self.reason: str | None = None
        self.asked: str | None = None  # why a callback asked the run to stop
        self.goal_at: list[int | None] = [None] * config.num_members  # env steps at which each member reached its goal

    @property
    def has_reached_goal(self) -> bool:
        """Whether all members, or one if that is enough, have reached their goal at some time."""
        return (any if self._config.stop_when == "any" else all)(at is not None for at in self.goal_at)

    @property
    def is_interrupted(self) -> bool:
        """Whether a signal, the time or a callback ends it: what is left to do is done by the run that continues it."""
        return self.reason not in (None, "goal")

    def update(
        self,
        env_steps: Sequence[int],
        checkpoint_bytes: Callable[[], float],
        checkpoint_s: float,
        episode_returns: Sequence[float] = (),
        eval_returns: Sequence[float] = (),
    ) -> None:
        """Decide anew.

        Args:
            env_steps: of each member so far.
            checkpoint_bytes: gives the size of a checkpoint, which must be written in what is left of the time.
            checkpoint_s: the longest that one has taken so far.
            episode_returns: of the last training episodes, NaN where there were too few.
            eval_returns: of the evaluation just made.
        """
        self._note(env_steps, episode_returns, self._config.stop_at_episode_return)
        self._note(env_steps, eval_returns, self._config.stop_at_return)
        if self.reason is None and min(env_steps) < self._config.total_steps:
            if self.has_reached_goal:
                self.reason = "goal"
            elif self.asked is not None:
                self.reason = f"callback: {self.asked}"
        if not self.is_interrupted:
            if self._signals.received is not None:
                self.reason = self._signals.received
            elif self._deadline.is_near(checkpoint_bytes, checkpoint_s):
                self.reason = "max_wall_time"

    def _note(self, env_steps: Sequence[int], returns: Sequence[float], goal: float | None) -> None:
        """Keep, and say, which members reach the goal for the first time; they go on as the others do."""
        for member, value in enumerate(returns):
            if goal is not None and value >= goal and self.goal_at[member] is None:
                self.goal_at[member] = env_steps[member]
                if self._config.num_members > 1:
                    name = self._config.member_name(member)
                    self._say(f"{name} reached {goal:g} with {value:.1f} at {env_steps[member]:,} steps")
