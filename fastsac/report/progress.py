"""The latest figures of a run and the time that is left: as numbers, as text, and as a panel for a terminal."""

import math
from collections.abc import Mapping, Sequence

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fastsac.config.seeds import seeds_text
from fastsac.config.settings import Config
from fastsac.report.statistics import iqm_of_finite

LEARNED_SHARE = 0.1  # of a row's env steps; with fewer that came with updates, its rate says nothing of later rows
PANEL_WIDTH = 78
COLUMN_WIDTH = 26  # of a name, its value and the gap behind it, at most


class Progress:
    """The figures of a run as of its last log point or evaluation; `progress[name]` is nan where there is none yet."""

    def __init__(self, config: Config, total_steps: int) -> None:
        settings = f"{len(config.settings)} settings, " if len(config.settings) > 1 else ""
        self.heading = f"{config.task}, {settings}{seeds_text(config.seed_list)}"
        self.total_steps = total_steps
        self.env_steps = self.wall_s = 0.0
        self.eval_returns: Sequence[float] = ()  # one per member
        self._utd_ratio = config.utd_ratio
        self._figures: dict[str, float] = {}
        self._pace = math.nan  # env steps per second, updates included

    def update(self, figures: Mapping[str, float], eval_returns: Sequence[float] | None = None) -> None:
        """Take new figures; see `Display.update`."""
        self._figures.update(figures)
        self.env_steps = figures.get("env_steps", self.env_steps)
        self.wall_s = figures.get("wall_s", self.wall_s)
        self.eval_returns = self.eval_returns if eval_returns is None else eval_returns
        pace = learning_pace(figures, self._utd_ratio)
        self._pace = self._pace if math.isnan(pace) else pace

    def __bool__(self) -> bool:
        return bool(self._figures)

    def __getitem__(self, name: str) -> float:
        return self._figures.get(name, math.nan)

    @property
    def share_done(self) -> float:
        """Of the run, from 0 to 1."""
        return min(self.env_steps / self.total_steps, 1.0)

    @property
    def seconds_left(self) -> float:
        """nan until updates are made: random actions are taken many times faster than the steps that follow."""
        return max(self.total_steps - self.env_steps, 0) / self._pace

    @property
    def time_shares(self) -> tuple[int, int, int] | None:
        """Percentages of environments, device and host in the last log interval, 100 in all; None if not known."""
        env, device, host = self["env_wait_s"], self["device_wait_s"], self["host_s"]
        total = env + device + host
        if not 0 < total < math.inf:
            return None
        env, device = round(100 * env / total), round(100 * device / total)
        return env, device, max(100 - env - device, 0)


def learning_pace(row: Mapping[str, float], utd_ratio: float) -> float:
    """Environment steps per second, of those that came with their updates; nan where next to none did."""
    pace = row.get("env_steps_per_s", math.nan)
    learned = row.get("grad_steps_per_s", math.nan) / utd_ratio
    return min(pace, learned) if learned > LEARNED_SHARE * pace else math.nan


def spread(returns: Sequence[float]) -> str:
    """` (iqm -150.2, -173.0 to -133.9)` of several members, or nothing."""
    if len(returns) < 2:
        return ""
    return f" (iqm {number(iqm_of_finite(returns))}, {number(min(returns))} to {number(max(returns))})"


def count(value: float) -> str:
    """`12,345`, or `-` where there is none."""
    return f"{value:,.0f}" if math.isfinite(value) else "-"


def rate(value: float) -> str:
    """Per second: `12,345`, `12.3`, or `-`."""
    return f"{value:.1f}" if value < 100 else count(value)


def number(value: float) -> str:
    """Four significant digits at most, in nine characters: `-153.2`, `0.0123`, `1.23e+07`, or `-`."""
    if not math.isfinite(value):
        return "-"
    size = abs(value)
    if size >= 1e6 or size < 0.1:
        return f"{value:.3g}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.1f}" if size >= 10 else f"{value:.3f}"


def duration(seconds: float) -> str:
    """`0:42`, `12:05`, `3:07:00`, `2 d 03:07`, or `-`."""
    if not math.isfinite(seconds):
        return "-"
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days} d {h:02d}:{m:02d}"
    return f"{h}:{m:02d}:{s:02d}" if h else f"{m}:{s:02d}"


def draw_panel(progress: Progress, elapsed_s: float, seconds_left: float, width: int) -> Group:
    """Heading, bar and figures, in `width` columns but PANEL_WIDTH at most; nan seconds are left out."""
    width = min(width, PANEL_WIDTH)
    title = Text(progress.heading, "bold")
    steps = Text(f"{count(progress.env_steps)} / {count(progress.total_steps)} env steps", "dim")
    gap = width - title.cell_len - steps.cell_len
    head = [Text.assemble(title, " " * gap, steps)] if gap >= 2 else [title, steps]
    bar = _bar(progress.share_done, seconds_left, width)
    return Group(Text(""), *head, bar, _figures(progress, elapsed_s, width), *_notes(progress, width))


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
