"""Curves of groups of members as charts: returns over steps and seconds, and the other figures over steps."""

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np

from fastsac.report.curves import evaluation_label, wall_label
from fastsac.report.page.chart import Coloured, chart, legend
from fastsac.report.page.html import Html, element, join
from fastsac.report.page.story import Story, read_columns
from fastsac.report.runs import OTHER, Curve, Group, Member, read_curves
from fastsac.report.traces import ROOMY, most_seeds, shows_episodes, traces

MOST_POINTS = 400
FIGURES = {  # columns of metrics.csv
    "critic_loss": "loss of the critics", "actor_loss": "loss of the actor", "alpha_loss": "loss of the temperature",
    "alpha": "temperature alpha", "entropy": "entropy of the policy, in nats", "q_mean": "mean Q-value",
    "episode_length": "length of training episodes", "success_rate": "success rate of training episodes",
    "env_steps_per_s": "environment steps per second", "grad_steps_per_s": "gradient steps per second",
}  # fmt: skip


def returns(groups: list[Group]) -> Html:
    """Two charts of one environment, and what their colours and lines mean."""
    shown = coloured(changed(groups, lambda m: replace(m, evals=thinned(m.evals), episodes=thinned(m.episodes))))
    if not shown:
        return element("p", "No episode has ended yet.")
    title = "return per episode"
    axes = {"env_steps": "environment steps", "wall_s": wall_label(groups)}
    charts = [chart(title, name, axis, shown) for axis, name in axes.items()]
    return join([element("div", *charts, class_="charts"), *meaning(groups)])


def coloured(groups: list[Group]) -> list[Coloured]:
    """The traces of groups, those that few look for first."""
    seeds, roomy = most_seeds(groups), len(groups) <= ROOMY
    found = [Coloured(trace, group.colour, group.label) for group in groups for trace in traces(group, roomy, seeds)]
    order = ("others", "band", "episodes", "tail", "evaluations")
    return sorted(found, key=lambda each: order.index(each.trace.kind))


def meaning(groups: list[Group]) -> list[Html]:
    """The legend: the colour of each group where there are several, and what lines and bands are."""
    names = [(group.colour, group.label) for group in groups if group.colour != OTHER and group.label]
    if others := sum(group.colour == OTHER for group in groups):
        names.append((OTHER, f"{others} other settings"))
    thick = evaluation_label(groups)
    faint = any(shows_episodes(group, len(groups) <= ROOMY) for group in groups)
    lines = [f"Thick line: {thick}."] * bool(thick) + ["Thin line: training episodes."] * faint
    return [*([legend(names)] if names else []), element("p", " ".join(lines), class_="note")]


def figures(story: Story, groups: list[Group]) -> Html:
    """A chart for each figure of metrics.csv that the run has."""
    there = read_columns(story.run.path / "metrics.csv", [*FIGURES])
    known = [name for name in FIGURES if (abs(there[name]) > 0).any()]  # not a loss of what is not learned: 0
    charts = [_figure(story, groups, name) for name in known]
    return element("div", *charts, class_="charts") if charts else element("p", "No row has figures yet.")


def _figure(story: Story, groups: list[Group], name: str) -> Html:
    members = story.run.config.num_members
    curves = read_curves(story.run.path / "metrics.csv", members, name)
    mine = changed(groups, lambda m: replace(m, evals=thinned(curves[m.number])))
    lines = [each for each in coloured(mine) if each.trace.kind != "episodes"]
    whose = ", of each member" if members > 1 and name.endswith("per_s") else ""
    return chart(FIGURES[name] + whose, "environment steps", "env_steps", lines, story.last("env_steps"))


def changed(groups: list[Group], change: Callable[[Member], Member]) -> list[Group]:
    """Groups with other members in place of theirs."""
    return [replace(group, members=[change(member) for member in group.members]) for group in groups]


def thinned(curve: Curve) -> Curve:
    """Rows at equal distances and the last, `MOST_POINTS` or so, which are more than a screen shows."""
    size = curve.row.size
    keep = np.unique(np.append(np.arange(0, size, -(-size // MOST_POINTS) or 1), np.arange(size)[-1:]))
    return Curve(**{of.name: getattr(curve, of.name)[keep] for of in fields(Curve)})
