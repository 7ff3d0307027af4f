"""The panel at the foot of a terminal: the progress of a run, drawn with rich."""

import math

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fastsac.report.progress import Progress, count, duration, number, rate, spread

PANEL_WIDTH = 78
COLUMN_WIDTH = 26  # of a name, its value and the gap behind it, at most


def draw_panel(progress: Progress, elapsed_s: float, seconds_left: float, width: int) -> Group:
    """Heading, bar and figures, in `width` columns but PANEL_WIDTH at most; nan seconds are left out."""
    width = min(width, PANEL_WIDTH)
    bar = _bar(progress.share_done, seconds_left, width)
    return Group(Text(""), *_head(progress, width), bar, _figures(progress, elapsed_s, width), *_notes(progress, width))


def _head(progress: Progress, width: int) -> list[Text]:
    """Heading and steps, on two lines where one is too short."""
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
    figures = (
        ("env steps/s", rate(progress["env_steps_per_s"])),
        ("updates/s", rate(progress["grad_steps_per_s"])),
        ("elapsed", duration(elapsed_s)),
        ("episode return", number(progress["episode_return"])),
        ("evaluation", number(progress["eval_return"])),
        ("mean Q", number(progress["q_mean"])),
        ("alpha", number(progress["alpha"])),
        ("entropy", number(progress["entropy"])),
        ("critic loss", number(progress["critic_loss"])),
    )
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


def _notes(progress: Progress, width: int) -> list[Text]:
    """How evaluations of several members are spread, and where the time of the last log interval went."""
    notes = []
    if text := spread(progress.eval_returns):
        notes.append(f"evaluation of {len(progress.eval_returns)} members:{text}"[:width])
    if shares := progress.time_shares:
        rest = "{}%, device {}%, host {}%".format(*shares)
        text = f"time: environments {rest}"
        notes.append(text if len(text) <= width else f"time: env {rest}")
    return [Text(note, "dim") for note in notes]
