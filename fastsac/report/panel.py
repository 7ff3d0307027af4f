"""The panel at the foot of a terminal: heading, bar, figures, the last evaluations, where the time goes."""

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fastsac.report.progress import Evaluation, Progress, count, duration, number, percent, rate
from fastsac.report.statistics import iqm_of_finite, mean_of_finite

PANEL_WIDTH = 78
COLUMN_WIDTH = 26  # of a name, its value and the gap behind it, at most
ROOMY = 60  # from here on the interquartile mean has a column


def draw_panel(progress: Progress, elapsed_s: float, seconds_left: float, width: int) -> Group:
    """The panel in `width` columns but PANEL_WIDTH at most; nan seconds are left out."""
    width = min(width, PANEL_WIDTH)
    parts: list[RenderableType] = [Text(""), *_head(progress, width), _bar(progress.share_done, seconds_left, width)]
    if phase := progress.phase:
        parts.append(Text(phase, "cyan"))
    parts.append(_figures(progress, elapsed_s, width))
    if progress.evaluations:
        parts.append(_evaluations(progress, width))
    if text := shares_text(progress, width):
        parts.append(Text(text, "dim"))
    return Group(*parts)


def shares_text(progress: Progress, width: int) -> str:
    """Where the time of the last log interval went, in words that fit; empty where that is not known."""
    if not (shares := progress.time_shares):
        return ""
    texts = (
        ("time: environments {}%, acting and learning {}%, rest {}%", "time: env {}%, learning {}%, rest {}%")
        if progress.on_cpu
        else ("time: waiting for environments {}%, for the GPU {}%, rest {}%", "time: env {}%, GPU {}%, rest {}%")
    )
    return next((text for text in (template.format(*shares) for template in texts) if len(text) <= width), "")


def _head(progress: Progress, width: int) -> list[Text]:
    title = Text(progress.heading, "bold")
    steps = Text(f"{count(progress.env_steps)} / {count(progress.total_steps)} env steps", "dim")
    gap = width - title.cell_len - steps.cell_len
    return [Text.assemble(title, " " * gap, steps)] if gap >= 2 else [title, steps]


def _bar(share: float, seconds_left: float, width: int) -> Table:
    bar = Table.grid(expand=True, padding=(0, 2, 0, 0))
    bar.width = width
    bar.add_column(ratio=1)
    for _ in range(2):
        bar.add_column(justify="right", no_wrap=True)
    bar.add_row(
        ProgressBar(total=1.0, completed=share, complete_style="cyan", finished_style="green"),
        Text(f"{math.floor(100 * share)}%", "cyan"),
        Text(f"{duration(seconds_left)} left" if math.isfinite(seconds_left) else ""),
    )
    return bar


def _figures(progress: Progress, elapsed_s: float, width: int) -> Table:
    """Names and values one below the other, in as many columns as there is room for."""
    figures = [
        ("env steps/s", rate(progress["env_steps_per_s"])),
        ("updates/s", rate(progress["grad_steps_per_s"])),
        ("elapsed", duration(elapsed_s)),
        ("episode return", number(progress["episode_return"])),
        ("evaluation", number(progress["eval_return"])),
        ("mean Q", number(progress["q_mean"])),
        ("alpha", number(progress["alpha"])),
        ("entropy", number(progress["entropy"])),
        ("critic loss", number(progress["critic_loss"])),
    ]
    if math.isfinite(progress["success_rate"]):
        figures.append(("success rate", percent(progress["success_rate"])))
    columns = max(1, min(3, (width + 2) // COLUMN_WIDTH))
    height = math.ceil(len(figures) / columns)
    grid = Table.grid(padding=(0, 1, 0, 0))
    for i in range(columns):
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(justify="right", no_wrap=True, min_width=9)
        if i < columns - 1:
            grid.add_column(width=2)
    for y in range(height):
        cells = [cell for name, value in figures[y::height] for cell in (name, value, "")]
        grid.add_row(*cells[:-1])
    return grid


def _evaluations(progress: Progress, width: int) -> Table:
    """The last evaluations, a row each: how one member did over its episodes, or how several members did."""
    rows = [dict(_cells(evaluation, width)) for evaluation in progress.evaluations]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    for _ in range(len(rows[-1]) - 1):
        table.add_column(justify="right", no_wrap=True, min_width=7)
    table.add_row(*(Text(name, "dim") for name in rows[-1]))
    for row in rows:
        table.add_row(*(row.get(name, "-") for name in rows[-1]))
    return table


def _cells(evaluation: Evaluation, width: int) -> Sequence[tuple[str, str]]:
    """Names and values of a row."""
    returns = evaluation.returns
    cells = [("evaluated at", count(evaluation.env_steps))]
    if len(returns) == 1:
        cells += [("return", number(returns[0])), ("std", number(evaluation.std))]
    else:
        cells += [(f"mean of {len(returns)}", number(mean_of_finite(returns)))]
        cells += [("interquartile mean", number(iqm_of_finite(returns)))] * (width >= ROOMY)
        cells += [("lowest", number(min(returns))), ("highest", number(max(returns)))]
    if math.isfinite(evaluation.success_rate):
        cells.append(("success", percent(evaluation.success_rate)))
    return cells
