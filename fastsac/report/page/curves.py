"""Curves of groups of members as charts: returns over steps and seconds, and the other figures over steps."""

from dataclasses import replace

from fastsac.report.curves import evaluation_label, wall_label
from fastsac.report.page.chart import Coloured, chart, legend
from fastsac.report.page.html import Html, element, join
from fastsac.report.page.story import Story, read_columns
from fastsac.report.runs import OTHER, Group, read_curves
from fastsac.report.traces import ROOMY, most_seeds, shows_episodes, traces

FIGURES = {  # columns of metrics.csv
    "critic_loss": "loss of the critics", "actor_loss": "loss of the actor", "alpha_loss": "loss of the temperature",
    "alpha": "temperature alpha", "entropy": "entropy of the policy, in nats", "q_mean": "mean Q-value",
    "episode_length": "length of training episodes", "success_rate": "success rate of training episodes",
    "env_steps_per_s": "environment steps per second",
    "grad_steps_per_s": "gradient steps per second",
}  # fmt: skip


def returns(groups: list[Group]) -> Html:
    """Two charts of one environment, and what their colours and lines mean."""
    shown = coloured(groups)
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
    names = [(group.colour, group.label) for group in groups if group.colour != OTHER] if len(groups) > 1 else []
    if others := sum(group.colour == OTHER for group in groups):
        names.append((OTHER, f"{others} other settings"))
    thick = evaluation_label(groups)
    faint = any(shows_episodes(group, len(groups) <= ROOMY) for group in groups)
    lines = [f"Thick line: {thick}."] * bool(thick) + ["Thin line: training episodes."] * faint
    return [*([legend(names)] if names else []), element("p", " ".join(lines), class_="note")]


def figures(story: Story, groups: list[Group]) -> Html:
    """A chart for each figure of metrics.csv that the run has."""
    path, members = story.run.path / "metrics.csv", story.run.config.num_members
    there, charts = read_columns(path, [*FIGURES]), []
    most, each = story.last("env_steps"), ", of each member" if members > 1 else ""
    for name, title in FIGURES.items():
        if not (abs(there[name]) > 0).any():  # all missing, or a loss of something that is not learned
            continue
        curves = read_curves(path, members, name)
        mine = [
            replace(group, members=[replace(each, evals=curves[each.number]) for each in group.members])
            for group in groups
        ]
        lines = [each for each in coloured(mine) if each.trace.kind != "episodes"]
        if lines:
            whose = each if name.endswith("per_s") else ""
            charts.append(chart(title + whose, "environment steps", "env_steps", lines, most))
    return element("div", *charts, class_="charts") if charts else element("p", "No row has figures yet.")
