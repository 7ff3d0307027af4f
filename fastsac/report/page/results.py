"""What members came to, as tables: evaluations, members, and the settings of a sweep by final return."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fastsac.report.page.chart import Scale, colour_class, interval, swatch, value_scale
from fastsac.report.page.html import Content, Html, element, exact, join, table
from fastsac.report.page.story import Story, read_columns
from fastsac.report.progress import count, duration, percent
from fastsac.report.ranking import Ranking, Score, like, number_format
from fastsac.report.runs import Curve, Group, short
from fastsac.report.statistics import Array, iqm, iqm_interval
from fastsac.report.style import COLOURS, MINUS
from fastsac.report.sweep_charts import colour_range, ink_on, shape

MOST_COLUMNS = 8  # members that stand side by side
NOTHING = "\N{EN DASH}"
Write = Callable[[float], str]


def writer(groups: Sequence[Group]) -> Write:
    """How the returns of evaluations are written, all with as many decimals."""
    return _like([curve.mean for group in groups for curve in group.evals])


def writer_of_finals(groups: Sequence[Group]) -> Write:
    """As `writer`, of the last evaluations alone, which may be smaller than the first ones."""
    return _like([group.finals for group in groups if group.evals])


def _like(returns: Sequence[Array]) -> Write:
    return like(max((float(np.abs(values).max()) for values in returns), default=0.0), MINUS)


def final_text(group: Group) -> Html:
    """`2,034 (1,903 to 2,507)`: the interquartile mean of the last evaluations, and what is known of its spread."""
    if not group.evals:
        return Html(NOTHING)
    finals, write = group.finals, writer_of_finals([group])
    low, high = (float(end) for end in iqm_interval(finals))
    if len(finals) == 1:
        spread = f" \N{PLUS-MINUS SIGN} {write(float(group.evals[0].std[-1]))}"
    elif math.isnan(low):
        spread = f" ({write(finals.min())} to {write(finals.max())})"
    else:
        spread = f" ({write(low)} to {write(high)})"
    return join([exact(group.score, write(group.score)), element("small", spread)])


# Evaluations ----------------------------------------------------------------------------------------------------------


def evaluations(story: Story, groups: list[Group]) -> Html:
    """A row for each evaluation: of one member all figures, of several their returns side by side."""
    curves = [member.evals for member in story.run.members]
    if not any(curve.mean.size for curve in curves):
        return element("p", "No evaluation has been made.")
    write = writer(groups)
    if len(curves) == 1:
        return _of_one_member(story, curves[0], write)
    if len(curves) <= MOST_COLUMNS:
        names = [f"member {member.number}" for member in story.run.members]
        return _side_by_side(names, [[curve] for curve in curves], write, with_all=len(groups) == 1)
    best = [group for group in groups if group.evals][:MOST_COLUMNS]
    return _side_by_side([group.label or "all members" for group in best], [group.evals for group in best], write)


def _of_one_member(story: Story, curve: Curve, write: Write) -> Html:
    more = read_columns(story.run.path / "eval.csv", ("env_steps", "episodes", "episodes_cut", "success_rate"))
    of = {steps: place for place, steps in enumerate(more["env_steps"])}
    told = np.isfinite(more["success_rate"]).any()
    cut = (more["episodes_cut"] > 0).any()
    rows = []
    for steps, wall_s, mean, std in zip(curve.env_steps, curve.wall_s, curve.mean, curve.std, strict=True):
        at = of[steps]
        rows.append([
            count(steps), duration(wall_s), exact(mean, write(mean)), exact(std, write(std)),
            count(more["episodes"][at]), *([count(more["episodes_cut"][at])] if cut else []),
            *([percent(more["success_rate"][at])] if told else []),
        ])  # fmt: skip
    head = ["environment steps", "time", "return", "deviation", "episodes"]
    return table("Evaluations", [*head, *["cut off"] * bool(cut), *["succeeded"] * bool(told)], rows, texts=0)


def _side_by_side(names: list[str], columns: list[list[Curve]], write: Write, with_all: bool = False) -> Html:
    """A column for each of some curves, or the interquartile mean of several; and of all where these are repeats."""
    every = [curve for curves in columns for curve in curves]
    rows = []
    for row in sorted({int(row) for curve in every for row in curve.row}):
        found = [_in_row(curves, row) for curves in columns]
        cells: list[Content] = [count(min(at for curve in every for at in curve.clock[curve.row == row]))]
        cells.append(duration(max(at for curve in every for at in curve.wall_s[curve.row == row])))
        if with_all:
            cells += _together(np.concatenate(found), write)
        rows.append([*cells, *(_mean(values, write) for values in found)])
    head = ["environment steps", "time", *(["IQM", "95% interval"] if with_all else []), *names]
    return table("Returns of evaluations", head, rows, texts=0)


def _in_row(curves: Sequence[Curve], row: int) -> Array:
    return np.concatenate([curve.mean[curve.row == row] for curve in curves])


def _mean(values: Array, write: Write) -> Content:
    return exact(float(iqm(values)), write(float(iqm(values)))) if values.size else NOTHING


def _together(values: Array, write: Write) -> Iterator[Content]:
    low, high = (float(end) for end in iqm_interval(values))
    yield _mean(values, write)
    yield f"{write(low)} to {write(high)}" if math.isfinite(low) else NOTHING


# Members --------------------------------------------------------------------------------------------------------------


def members(story: Story, groups: list[Group]) -> Html:
    """A row for each member: its seed and settings, and what it came to."""
    config, write = story.run.config, writer_of_finals(groups)
    colours = {member.number: group.colour for group in groups for member in group.members}
    told = story.summary["members"] if story.is_over else []
    goals = [member.get("goal_at") for member in told] if config.has_goal and len(told) == config.num_members else []
    rows = []
    for member in story.run.members:
        number, evals = member.number, member.evals
        known = evals.mean.size > 0
        rows.append([
            element("span", *[swatch(colours[number])] * (len(groups) > 1), str(number), class_="n"),
            str(member.config.seed), *map(short, config.member_setting(number).values()),
            count(story.last("env_steps", number)), count(story.last("grad_steps", number)),
            exact(evals.mean[-1], write(evals.mean[-1])) if known else NOTHING,
            write(evals.std[-1]) if known else NOTHING,
            write(member.episodes.mean[-1]) if member.episodes.mean.size else NOTHING,
            *([NOTHING if goals[number] is None else count(goals[number])] if goals else []),
        ])  # fmt: skip
    head = ["member", "seed", *config.member_setting(0), "environment steps", "updates", "last return", "deviation"]
    return table("Members", [*head, "training episodes", *["goal at"] * bool(goals)], rows)


# Sweeps ---------------------------------------------------------------------------------------------------------------


def ranking(found: Ranking) -> Html:
    """The settings of one task, best first, and two that differ as a heat map."""
    write = number_format(found, MINUS)
    scale = value_scale([score.returns for score in found.scores])
    rows = [_ranked(place, score, write, scale) for place, score in enumerate(found.scores, start=1)]
    head = ["rank", *found.names, "IQM", "95% interval", "returns", "worst", "best", "seeds"]
    ranked = table(f"{found.task}: final return by setting", head, rows, texts=1)
    return join([heat_map(found, write), ranked] if shape(found) == "grid" else [ranked])


def _ranked(place: int, score: Score, write: Write, scale: Scale) -> list[Content]:
    colour = colour_class(COLOURS[1 if place == 1 else 0])
    known = math.isfinite(score.low)
    return [
        str(place), *map(short, score.setting.values()), exact(score.iqm, write(score.iqm)),
        f"{write(score.low)} to {write(score.high)}" if known else NOTHING,
        interval(score.low, score.iqm, score.high, score.returns.tolist(), scale, colour),
        write(score.returns.min()), write(score.returns.max()), str(score.seeds),
    ]  # fmt: skip


def heat_map(found: Ranking, write: Write) -> Html:
    """A table of two settings, each cell in the colour of its final return."""
    x_name, y_name = sorted(found.names, key=lambda name: -len(found.values(name)))
    norm, colours = colour_range([score.iqm for score in found.scores])
    scores = {(short(score.setting[x_name]), short(score.setting[y_name])): score for score in found.scores}
    columns, lines = ([short(value) for value in found.values(name)] for name in (x_name, y_name))
    best = found.scores[0]

    def cell(x: str, y: str) -> Html:
        score = scores.get((x, y))
        if score is None:
            return element("td", NOTHING)
        colour = colours(norm(score.iqm))
        parts = [exact(score.iqm, write(score.iqm))]
        if math.isfinite(score.low):
            parts.append(element("small", f"{write(score.low)} to {write(score.high)}"))
        red, green, blue = (round(255 * part) for part in colour[:3])
        style = f"background: rgb({red} {green} {blue}); color: {ink_on(colour)}"
        return element("td", *parts, style=style, class_="best" if score is best else None)

    head = element("tr", element("th", f"{y_name} \\ {x_name}", scope="col"), *(
        element("th", x, scope="col") for x in columns
    ))  # fmt: skip
    body = [element("tr", element("th", y, scope="row"), *(cell(x, y) for x in columns)) for y in lines]
    caption = element("caption", f"{found.task}: final return by {x_name} and {y_name}; the best is framed")
    whole = element("table", caption, element("thead", head), element("tbody", *body), class_="heat")
    return element("div", whole, class_="scroll", tabindex=0, role="region", aria_label="Heat map")
