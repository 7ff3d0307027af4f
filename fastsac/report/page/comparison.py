"""What a page says of several runs together: their figures, curves, and the settings that differ."""

from dataclasses import asdict

from fastsac.config.command import plain_text
from fastsac.config.history import until
from fastsac.config.settings import Config
from fastsac.report.page import curves, results
from fastsac.report.page.html import Content, Html, element, join, table
from fastsac.report.page.sections import Section
from fastsac.report.page.story import Story
from fastsac.report.progress import count, duration
from fastsac.report.ranking import rank
from fastsac.report.runs import Run, by_task, make_groups, names_of, seeds_text


def comparison(stories: list[Story], prefixes: list[str]) -> list[Section]:
    """The parts of a page that come before those of each run.

    Args:
        stories: of the runs.
        prefixes: of each run's anchors.
    """
    runs = [story.run for story in stories]
    tasks = by_task(make_groups(runs))
    charts = [join([element("h3", task), curves.returns(groups)]) for task, groups in tasks.items()]
    return [
        Section("runs", "Runs", _figures(stories, prefixes)),
        Section("all-returns", "Returns", join(charts if len(tasks) > 1 else [curves.returns(*tasks.values())])),
        *(
            Section(f"sweep{place}", f"Settings by final return: {of.task}", results.ranking(of))
            for place, of in enumerate(rank(runs), start=1)
        ),
        Section("differences", "Settings that differ", differences(stories)),
    ]


def _figures(stories: list[Story], prefixes: list[str]) -> Html:
    rows: list[list[Content]] = []
    for story, prefix in zip(stories, prefixes, strict=True):
        groups = make_groups([story.run])
        best = max(groups, key=lambda group: group.score)
        setting = f" ({best.label})" if len(groups) > 1 else ""
        rows.append([
            element("a", title(stories, story), href=f"#{prefix}top"), story.run.config.task, seeds_text(best),
            story.state.word, join([results.final_text(best), setting]),
            count(story.env_steps), duration(story.wall_s), str(story.origin.get("device") or ""),
            str(story.origin.get("git_commit") or "")[:7],
        ])  # fmt: skip
    head = ["run", "task", "seeds", "state", "last return", "environment steps", "time", "device", "commit"]
    return table("The runs and what they came to", head, rows, texts=5)


def differences(stories: list[Story]) -> Html:
    """A row for each setting that is not the same in all runs."""
    values = [_values(story.run) for story in stories]
    skipped = Config.names(affects="nothing", fixed=False)  # those that are fixed tell repeats apart
    names = [name for name in values[0] if name not in skipped and any(of[name] != values[0][name] for of in values)]
    if not names:
        return element("p", "All settings that affect the runs are the same.")
    rows = [[element("code", name), *(of[name] for of in values)] for name in names]
    return table(
        "Settings that differ", ["setting", *(title(stories, story) for story in stories)], rows, len(values) + 1
    )


def _values(run: Run) -> dict[str, str]:
    """All settings as text, with those that the run had earlier."""
    return {name: plain_text(value) + until(run.history, name) for name, value in asdict(run.config).items()}


def title(stories: list[Story], story: Story) -> str:
    """What a run is called among others."""
    return names_of([each.run for each in stories])[story.run.path] or story.name
