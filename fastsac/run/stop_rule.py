"""When and why a run ends before its steps are done: goals, signals, the limit on its time, and callbacks."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from fastsac.config.settings import Config
from fastsac.runtime.signals import Deadline, StopSignals


class Said(NamedTuple):
    """What a process says to the others where all meet."""

    asked: str | None
    wanted: str | None
    reached: list[str]


class StopRule:
    """Decides whether a run goes on: in `update` alone."""

    def __init__(
        self,
        config: Config,
        signals: StopSignals,
        deadline: Deadline,
        say: Callable[[str], None],
        is_alone: bool = True,
    ) -> None:
        """`is_alone`: no other process must agree."""
        self._config, self._signals, self._deadline, self._say = config, signals, deadline, say
        self._is_alone = is_alone
        self._goals: list[int | None] = []  # as goal_at, of all processes when they last met
        self._reached: list[str] = []  # in words, which members have reached their goal since it was last said
        self.wanted: str | None = None  # why this process wants the run to be interrupted
        # Of the end: "goal", "max_wall_time", a signal's name or "callback: ..."; None: the run goes on.
        self.reason: str | None = None
        self.asked: str | None = None  # why a callback asked the run to stop
        self.goal_at: list[int | None] = [None] * config.num_members  # env steps at which each member reached its goal

    @property
    def has_reached_goal(self) -> bool:
        """Whether all members, or one if that is enough, have reached their goal at some time."""
        goals = self.goal_at if self._is_alone else self._goals
        return (any if self._config.stop_when == "any" else all)(at is not None for at in goals or [None])

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
        """Decide anew; several processes only note here what they want, and `agree`.

        Args:
            env_steps: of each member so far.
            checkpoint_bytes: gives the size of a checkpoint, which must be written in what is left of the time.
            checkpoint_s: the longest that one has taken so far.
            episode_returns: of the last training episodes, NaN where there were too few.
            eval_returns: of the evaluation just made.
        """
        self._note(env_steps, episode_returns, self._config.stop_at_episode_return)
        self._note(env_steps, eval_returns, self._config.stop_at_return)
        if self.wanted is None:
            if self._signals.received is not None:
                self.wanted = self._signals.received
            elif self._deadline.is_near(checkpoint_bytes, checkpoint_s):
                self.wanted = "max_wall_time"
        if self._is_alone:
            self._tell(self.hand_over().reached, self._config.num_members)
            self._decide(min(env_steps), self.asked, self.wanted)

    def hand_over(self) -> Said:
        """What to say to the others, each goal that was reached once."""
        reached, self._reached = self._reached, []
        return Said(self.asked, self.wanted, reached)

    def agree(self, env_steps: int, goal_at: Sequence[int | None], said: Sequence[Said]) -> None:
        """Decide as all processes do, which have met.

        Args:
            env_steps: of the member that has made the fewest.
            goal_at: of all members.
            said: what each process has handed over.
        """
        self._goals = list(goal_at)
        self._tell([text for each in said for text in each.reached], len(goal_at))
        asked = next((each.asked for each in said if each.asked is not None), None)
        wanted = next((each.wanted for each in said if each.wanted is not None), None)
        self._decide(env_steps, asked, wanted)

    def _decide(self, env_steps: int, asked: str | None, wanted: str | None) -> None:
        if self.reason is None and env_steps < self._config.total_steps:
            if self.has_reached_goal:
                self.reason = "goal"
            elif asked is not None:
                self.reason = f"callback: {asked}"
        if not self.is_interrupted and wanted is not None:
            self.reason = wanted

    def _note(self, env_steps: Sequence[int], returns: Sequence[float], goal: float | None) -> None:
        """Keep which members reach the goal for the first time; they go on as the others do."""
        for member, value in enumerate(returns):
            if goal is not None and value >= goal and self.goal_at[member] is None:
                self.goal_at[member] = env_steps[member]
                name = self._config.member_name(member)
                self._reached.append(f"{name} reached {goal:g} with {value:.1f} at {env_steps[member]:,} steps")

    def _tell(self, reached: Sequence[str], num_members: int) -> None:
        """Say which of several members have reached their goal; with one the run ends, and says so itself."""
        for text in reached if num_members > 1 else ():
            self._say(text)
