"""The parts of a page about one run, each with its heading."""

import base64
import math
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from fastsac.config.algorithms import OF_AUTO
from fastsac.config.command import Choice, every, given, of_preset, plain_text, repeat_command
from fastsac.config.history import Resumed, until
from fastsac.report.page import curves, results
from fastsac.report.page.chart import stacked
from fastsac.report.page.html import Content, Html, details, element, exact, join, table
from fastsac.report.page.story import Story
from fastsac.report.progress import count, duration, percent, rate
from fastsac.report.ranking import like, rank
from fastsac.report.runs import Run, make_groups, seeds_text
from fastsac.report.style import MINUS

MOST_FILM_BYTES = 16 << 20  # of a film within the page


@dataclass(frozen=True)
class Section:
    """A part of a page."""

    key: str  # of its anchor
    heading: str
    content: Html


def sections(story: Story) -> list[Section]:
    """All parts that there is something to say in, in order."""
    groups = make_groups([story.run])
    found = [
        Section("settings", "What was run", settings(story.run)),
        Section("returns", "Returns", curves.returns(groups)),
        *_film(story),
        *(Section("sweep", "Settings by final return", results.ranking(of)) for of in rank([story.run])),
        Section("evaluations", "Evaluations", results.evaluations(story, groups)),
    ]
    if story.run.config.num_members > 1:
        found.append(Section("members", "Members", results.members(story, groups)))
    if not story.card:
        folded = details("Show the curves", curves.figures(story, groups))
        found.append(Section("figures", "Losses, temperature, entropy", folded))
        found.append(Section("time", "Where the time went", time(story)))
    return [
        *found,
        Section("repeat", "Run it again", repeat(story)),
        Section("versions", "Versions and machine", versions(story)),
        *_error(story),
    ]


def head(story: Story) -> Html:
    """How the run ended, and its main figures."""
    groups = make_groups([story.run])
    state = element("b", story.state.word, class_="state" if story.state.is_good else "state bad")
    best = max(groups, key=lambda group: group.score)
    name = "final return" if story.is_over else "last return in training" if story.card else "return so far"
    name = name if len(groups) == 1 else f"best {name}, {best.label}"
    each = " of each member" if story.run.config.num_members > 1 else ""
    figures = [
        *_of_card(story),
        (name, results.final_text(best)),
        (f"environment steps{each}", count(story.env_steps)),
        (f"updates{each}", count(story.grad_steps)),
        ("time", duration(story.wall_s)),
    ]
    settings = f"{len(groups)} settings, " if len(groups) > 1 else ""
    about = f"{story.run.config.algo}, preset {story.run.config.preset}, {settings}{seeds_text(best)}"
    tiles = [element("div", element("dt", name), element("dd", value)) for name, value in figures]
    words = [element("p", state, " ", story.state.text), element("p", about, class_="note")]
    return join([*words, element("dl", *tiles, class_="tiles")])


def _of_card(story: Story) -> Iterator[tuple[str, Html]]:
    """The return that a policy alone was found to have."""
    if found := story.card.get("evaluation"):
        write = like(abs(found["return_mean"]), MINUS)
        text = exact(found["return_mean"], write(found["return_mean"]))
        spread = element("small", f" \N{PLUS-MINUS SIGN} {write(found['return_std'])}")
        yield f"return over {found['episodes']:,} episodes", join([text, spread])


# What was run ---------------------------------------------------------------------------------------------------------


def settings(run: Run) -> Html:
    """Settings that differ from preset and defaults, then those of the preset, then all, folded.

    Beside values stand earlier ones, which the run had until it was continued with others.
    """
    config = run.config
    env, whose = Choice("env", config.env, results.NOTHING), f"preset {config.preset} and the defaults"
    is_auto = config.algo in OF_AUTO.values()  # which a run resolves: nobody need have given it
    chosen = [each for each in given(config) if not (each.name == "algo" and is_auto)]
    named = {each.name for each in (*chosen, *of_preset(config))}
    chosen += [each for each in every(config) if each.name not in named and until(run.history, each.name)]
    parts = [_settings(f"Different from {whose}", "otherwise", [env, *chosen], run.history)]
    if values := of_preset(config):
        parts.append(_settings(f"Of the preset {config.preset}", "default", values, run.history))
    everything = every(config)
    folded = details(f"All {len(everything)} settings", _settings("All settings", "default", everything, run.history))
    steps = ", ".join(f"{each.env_steps:,}" for each in run.history)
    continued = [element("p", f"Continued after steps {steps}.", class_="note")] if steps else []
    return join([element("div", *parts, class_="beside"), *continued, folded])


def _settings(caption: str, other: str, rows: Iterable[Choice], history: Sequence[Resumed]) -> Html:
    cells = [
        [element("code", row.name), plain_text(row.value) + until(history, row.name), plain_text(row.otherwise)]
        for row in rows
    ]
    return table(caption, ["setting", "value", other], cells, texts=3)


# Film -----------------------------------------------------------------------------------------------------------------


def _film(story: Story) -> Iterator[Section]:
    """The newest film, within the page where it is not too large."""
    if not story.films:
        return
    path, size = story.films[0], story.films[0].stat().st_size
    words = f"videos/{path.name}, the newest of {len(story.films)}" if len(story.films) > 1 else f"videos/{path.name}"
    if size > MOST_FILM_BYTES:
        why = f"its {size / 2**20:,.0f} MiB are more than the {MOST_FILM_BYTES >> 20} MiB that a page takes in"
        yield Section("film", "Film", element("p", f"{words}, is left out: {why}."))
        return
    source = f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"
    film = element(
        "video", src=source, controls=True, loop=True, muted=True, playsinline=True, preload="metadata",
        aria_label=f"The policy in {story.run.config.task}",
    )  # fmt: skip
    yield Section("film", "Film", element("div", film, element("p", words, class_="note"), class_="film"))


# Time -----------------------------------------------------------------------------------------------------------------


def time(story: Story) -> Html:
    """A bar and a table of what the seconds went to, and steps and updates per second."""
    parts = [(name, seconds) for name, seconds in story.seconds if seconds > 0]
    if not parts:
        return element("p", "No row tells of times yet.")
    total = sum(seconds for _, seconds in parts)
    rows: list[list[Content]] = [
        [join([element("i", class_=f"swatch c{place}", aria_hidden="true"), name]), f"{seconds:,.1f}",
         percent(seconds / total)]
        for place, (name, seconds) in enumerate(parts)
    ]  # fmt: skip
    times = table("Seconds of the run", ["what", "seconds", "share"], rows)
    return join([stacked(parts), element("div", times, throughput(story), class_="beside")])


def throughput(story: Story) -> Html:
    """Steps and updates per second, of each member and of all together."""
    members = story.run.config.num_members
    kinds = [
        ("environment steps", story.env_steps, "env_steps_per_s"),
        ("updates", story.grad_steps, "grad_steps_per_s"),
    ]
    rows = []
    for name, done, column in kinds:
        rates = {
            "while stepping and learning": done / story.stepping_s if story.stepping_s else math.nan,
            "in the last row": story.last_rate(column),
            "of all seconds": done / story.wall_s if story.wall_s else math.nan,
        }
        for when, per_s in rates.items():
            all_members = [rate(members * per_s)] if members > 1 else []
            rows.append([f"{name}, {when}", rate(per_s), *all_members])
    head = ["per second", "each member", "all together"] if members > 1 else ["per second", "rate"]
    return table("Throughput", head, rows)


# The end --------------------------------------------------------------------------------------------------------------


def repeat(story: Story) -> Html:
    """The commands that repeat the run, and what they do not repeat."""
    config, path = story.run.config, story.run.path / "config.json"
    detours = "; ".join(story.run.detours)
    alone = [element("p", f"That alone is another run: this one went on with {detours}.")] if detours else []
    if config.env.startswith("python:"):
        why = "The environment is an object of a Python script"
        return join([element("p", f"{why}: repeat the run there, by fastsac.train with this object."), *alone])
    commands = repeat_command(config, between=" \\\n  "), f"fastsac train --config {shlex.quote(str(path))}"
    first, second = (element("pre", element("code", command), tabindex=0) for command in commands)
    return join([first, element("p", "or, with the file of its settings,"), second, *alone])


def versions(story: Story) -> Html:
    """What the run was made on and with."""
    rows = [[name, element("code", value)] for name, value in story.machine]
    if not rows:
        return element("p", "They stand in summary.json, which a run writes when it ends.")
    return table("Versions and machine", ["what", "which"], rows, texts=2)


def _error(story: Story) -> Iterator[Section]:
    if story.error:
        yield Section("error", "Error", details("Show error.txt", element("pre", story.error, tabindex=0)))


def show(found: list[Section], prefix: str, level: Literal[2, 3]) -> Html:
    """Sections with their headings and anchors."""
    return join(
        element(
            "section", element(f"h{level}", each.heading, id=f"{prefix}{each.key}-h"), each.content,
            id=f"{prefix}{each.key}", aria_labelledby=f"{prefix}{each.key}-h",
        )
        for each in found
    )  # fmt: skip
