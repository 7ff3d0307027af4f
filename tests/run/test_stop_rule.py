"""Why a run ends: goals, signals and time, each decided in one place."""

import math

import pytest

from fastsac.run.stop_rule import StopRule
from fastsac.runtime.signals import Deadline, StopSignals
from tests.support.runs import BASE


class Rule:
    """A rule with a clock and signals that the test moves."""

    def __init__(self, is_alone=True, **changes):
        self.config, self.now = BASE.replace(total_steps=100, **changes), 0.0
        self.said: list[str] = []
        self.signals = StopSignals()
        deadline = Deadline(self.config.max_wall_time, clock=lambda: self.now)
        self.rule = StopRule(self.config, self.signals, deadline, self.said.append, is_alone)

    def update(self, env_steps, **returns):
        self.rule.update(env_steps, lambda: 0.0, 0.5, **returns)
        return self.rule.reason


def test_questions_change_nothing_and_an_update_without_news_neither():
    rule = Rule()
    rule.signals.received = "SIGTERM"
    assert (rule.rule.reason, rule.rule.is_interrupted, rule.rule.has_reached_goal) == (None, False, False)
    rule.signals.received = None
    assert rule.update([10]) is None


@pytest.mark.parametrize("kind", ["stop_at_return", "stop_at_episode_return"])
@pytest.mark.parametrize("when", ["all", "any"])
def test_members_reach_the_goal_at_some_time(kind, when):
    rule = Rule(seeds=2, stop_when=when, **{kind: 5.0})
    name = "eval_returns" if kind == "stop_at_return" else "episode_returns"
    assert rule.update([10, 12], **{name: [math.nan, 4.9]}) is None
    reason = rule.update([20, 21], **{name: [5.0, 1.0]})
    assert rule.rule.goal_at == [20, None]
    assert rule.said == ["member 0 (seed 1) reached 5 with 5.0 at 20 steps"]
    assert reason == ("goal" if when == "any" else None)
    rule.update([30, 31], **{name: [0.0, 9.0]})
    assert rule.rule.goal_at == [20, 31]
    assert rule.rule.reason == "goal"
    assert not rule.rule.is_interrupted


def test_several_processes_agree_and_each_says_the_goals_of_all_once():
    first, second = Rule(is_alone=False, stop_at_return=5.0), Rule(is_alone=False, stop_at_return=5.0)
    assert [rule.update([20], eval_returns=[7.0]) for rule in (first, second)] == [None, None]
    assert first.said == []
    second.rule.asked, first.signals.received = "enough", "SIGTERM"
    first.update([20])
    said = [rule.rule.hand_over() for rule in (first, second)]
    for rule in (first, second):
        rule.rule.agree(20, [20, None, 20], said)
        assert rule.said == ["member 0 (seed 1) reached 5 with 7.0 at 20 steps"] * 2  # each is the first of its process
        assert rule.rule.reason == "callback: enough"
    first.rule.agree(40, [20, None, 20], [rule.rule.hand_over() for rule in (first, second)])
    assert len(first.said) == 2


def test_one_agent_that_reaches_its_goal_is_not_said_to_be_a_member():
    for is_alone in (True, False):
        rule = Rule(is_alone=is_alone, stop_at_return=5.0)
        rule.update([20], eval_returns=[7.0])
        if not is_alone:
            rule.rule.agree(20, [20], [rule.rule.hand_over()] * 2)
        assert (rule.rule.reason, rule.said) == ("goal", [])


def test_the_other_kind_of_return_is_no_goal():
    rule = Rule(stop_at_return=5.0)
    assert rule.update([10], episode_returns=[9.0]) is None
    assert rule.rule.goal_at == [None]


def test_a_goal_with_the_last_step_does_not_end_the_run_early():
    rule = Rule(stop_at_return=5.0)
    assert rule.update([100], eval_returns=[6.0]) is None
    assert rule.rule.has_reached_goal


def test_an_interruption_comes_before_a_goal_and_the_first_one_stays():
    rule = Rule(stop_at_return=5.0, max_wall_time="10s")
    assert rule.update([10], eval_returns=[6.0]) == "goal"
    rule.signals.received = "SIGINT"
    assert rule.update([10]) == "SIGINT"
    rule.now = 11.0
    assert rule.update([10]) == "SIGINT"
    assert rule.rule.is_interrupted


def test_time_is_up_when_only_enough_for_a_checkpoint_is_left():
    rule = Rule(max_wall_time="10s")
    rule.now = 7.9  # a second to close, and twice the half second of a checkpoint
    assert rule.update([10]) is None
    rule.now = 8.1
    assert rule.update([10]) == "max_wall_time"
