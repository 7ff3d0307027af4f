"""What a person sees while a run goes on: a live panel on a terminal, plain lines anywhere else.

Owns the screen and nothing but the screen: it is told numbers and never asks for them, so that looking at a run cannot
slow it down or change it.  Writes no file and touches no tensor.
"""

import math
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TextIO

from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from fastsac.config.settings import Config
from fastsac.report.sinks import interquartile_mean

PLAIN_EVERY_S = 2.0
REFRESH_PER_S = 4
PANEL_WIDTH = 78
LEARNED_SHARE = 0.1  # of a row's steps; with fewer that came with updates, the row tells nothing about what is to come


@dataclass
class Stage:
    """A piece of work with a name; `seconds` is set when it is done."""

    name: str
    seconds: float = 0.0


class Display(ABC):
    """What training tells about itself.  Made by `make_display`; `close` it whatever happens.

    Args:
        config: for the heading.
        total_steps: environment steps at the end of the run.
        stream: where to write.
        clock: seconds that only grow.
    """

    def __init__(
        self, config: Config, total_steps: int, stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._heading = heading(config)
        self._config = config
        self._total_steps = total_steps
        self._stream = stream
        self._clock = clock
        self._row: dict[str, Any] = {}
        self._pace = math.nan  # env steps per second, updates included
        self._closed = False

    @abstractmethod
    def info(self, text: str) -> None:
        """Print one line that stays, such as what `auto` chose."""

    @abstractmethod
    def _begin_stage(self, stage: Stage) -> None: ...

    @abstractmethod
    def _end_stage(self, stage: Stage) -> None: ...

    @abstractmethod
    def _show_row(self) -> None: ...

    @abstractmethod
    def table(self, rows: Mapping[str, str]) -> None:
        """Print names and values as a table of two columns, the closing figures, and close."""

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Show that `name` is going on, then a line with its seconds, which the caller finds in the stage.

        A stage that ends in an exception leaves no line: the error says what happened.
        """
        stage = Stage(name)
        start = self._clock()
        self._begin_stage(stage)
        try:
            yield stage
        finally:
            stage.seconds = self._clock() - start
            self._end_stage(stage)
        self.info(f"{name}: {stage.seconds:.1f} s")

    @contextmanager
    def aside(self, name: str) -> Iterator[None]:
        """Show that `name`, such as an evaluation, is going on while the steps stand still; leaves no line."""
        yield

    def update(self, row: Mapping[str, Any]) -> None:
        """Show new figures.

        Args:
            row: any of env_steps, grad_steps, wall_s, env_steps_per_s, grad_steps_per_s, episode_return,
                eval_return, alpha, entropy, critic_loss, q_mean, env_wait_s, device_wait_s and host_s, means over
                members, nan where there is no figure yet, and eval_returns, one per member; what is left out keeps its
                last value.
        """
        self._row.update(row)
        pace = learning_pace(row, self._config.utd_ratio)
        self._pace = self._pace if math.isnan(pace) else pace
        self._show_row()

    def close(self) -> None:
        """Give the terminal back.  May be called more than once; afterwards `info` and `table` print plainly."""
        self._closed = True

    def _steps(self) -> float:
        """Environment steps to show: those of the last update."""
        return float(self._row.get("env_steps", 0))

    def _seconds_left(self) -> float:
        """nan until updates are made: random actions are taken many times faster than the steps that follow."""
        return max(self._total_steps - self._steps(), 0) / self._pace

    def _share_done(self) -> float:
        return min(self._steps() / self._total_steps, 1.0)


class PlainDisplay(Display):
    """One line at an update, at most one in two seconds, always the first and the last; no control characters."""

    def __init__(
        self, config: Config, total_steps: int, stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(config, total_steps, stream, clock)
        self._printed_at = -math.inf
        self._pending = False
        self.info(self._heading)

    def info(self, text: str) -> None:
        """Print one line that stays."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def table(self, rows: Mapping[str, str]) -> None:
        """Print names and values in two columns, and close."""
        self.close()
        width = max(map(len, rows), default=0)
        for name, value in rows.items():
            self.info(f"{name:{width}}  {value}")

    def close(self) -> None:
        """Print the last update if its turn had not come."""
        if not self._closed:
            self._flush()
        super().close()

    def _begin_stage(self, stage: Stage) -> None:
        self._flush()
        self.info(f"{stage.name} ...")

    def _end_stage(self, stage: Stage) -> None:
        pass

    def _show_row(self) -> None:
        self._pending = True
        if self._clock() - self._printed_at >= PLAIN_EVERY_S:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._pending = False
            self._printed_at = self._clock()
            self.info(self._line())

    def _line(self) -> str:
        row = self._row
        shares = time_shares(row)
        parts = (
            f"{count(row.get('env_steps')):>10} steps ({math.floor(100 * self._share_done()):3d}%)",
            f"{rate(row.get('env_steps_per_s')):>7} env steps/s",
            f"{rate(row.get('grad_steps_per_s')):>7} updates/s",
            f"return {number(row.get('episode_return')):>9}",
            f"eval {number(row.get('eval_return')):>9}{spread(row.get('eval_returns', ()))}",
            f"alpha {number(row.get('alpha')):>7}",
            f"entropy {number(row.get('entropy')):>7}",
            *([f"env {shares[0]:2d}% dev {shares[1]:2d}%"] if shares else []),
            f"left {duration(self._seconds_left())}",
        )
        return "  ".join(parts)


class Mark(NamedTuple):
    """What steps between updates are counted from; one object, since another thread draws."""

    steps: float
    at: float  # seconds on the display's clock
    idle_s: float = 0.0  # spent since then in stages that are over


class LiveDisplay(Display):
    """A panel at the foot of a terminal that is redrawn in place; what `info` prints scrolls above it.

    Between updates the steps go on at the last rate as far as the next log point, so that they are never ahead of the
    truth when that comes; they stand still in a stage.
    """

    def __init__(
        self, config: Config, total_steps: int, stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(config, total_steps, stream, clock)
        self._console = Console(file=stream, force_terminal=True, highlight=False)
        self._wall_at = self._clock()
        self._mark = Mark(0.0, self._wall_at)
        self._shown_steps = 0.0
        self._stage: tuple[Spinner, float] | None = None
        self._live: Live | None = None

    def info(self, text: str) -> None:
        """Print one line that stays, above the panel."""
        self._start_live()
        self._console.print(Text(text))

    def table(self, rows: Mapping[str, str]) -> None:
        """Close, and print names and values as a table below the last state of the panel."""
        self.close()
        table = Table("", "", box=SIMPLE, show_header=False)
        for name, value in rows.items():
            table.add_row(Text(name, "bold"), Text(value))
        self._console.print(table)

    def update(self, row: Mapping[str, Any]) -> None:
        """Show new figures."""
        if "wall_s" in row:
            self._wall_at = self._clock()
        super().update(row)

    @contextmanager
    def aside(self, name: str) -> Iterator[None]:
        """Show that `name` is going on, with its seconds; leaves no line."""
        stage = Stage(name)
        self._begin_stage(stage)
        try:
            yield
        finally:
            self._end_stage(stage)

    def close(self) -> None:
        """Leave the panel as it is, with the figures of the last update, and restore the cursor."""
        super().close()
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _begin_stage(self, stage: Stage) -> None:
        self._stage = (Spinner("dots", Text(stage.name), style="cyan"), self._clock())
        self._start_live()

    def _end_stage(self, stage: Stage) -> None:
        self._mark, self._stage = self._mark._replace(idle_s=self._idle_s(self._mark)), None

    def _show_row(self) -> None:
        self._mark = Mark(super()._steps(), self._clock())
        self._start_live()
        if self._live is not None:
            self._live.transient = False

    def _idle_s(self, mark: Mark) -> float:
        """Seconds since `mark` that were spent in stages."""
        stage = self._stage
        return mark.idle_s + (self._clock() - max(stage[1], mark.at) if stage else 0.0)

    def _steps(self) -> float:
        """Environment steps by now; they never shrink while the run goes on."""
        mark, pace, every = self._mark, self._pace, self._config.log_every
        if self._closed:
            return mark.steps
        limit = min((mark.steps // every + 1) * every, self._total_steps)
        if math.isnan(pace):  # still the random actions, whose pace holds until updates begin
            pace, limit = self._row.get("env_steps_per_s", math.nan), min(limit, self._config.learning_starts)
        guess = mark.steps + pace * (self._clock() - mark.at - self._idle_s(mark))
        self._shown_steps = max(self._shown_steps, mark.steps, min(limit, guess) if math.isfinite(guess) else 0.0)
        return self._shown_steps

    def _start_live(self) -> None:
        if self._live is not None or self._closed:
            return
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=REFRESH_PER_S,
            transient=True,  # until there are figures worth keeping on the screen
            # What goes to a file must not be drawn on the terminal instead.
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=sys.stderr.isatty(),
        )
        self._live.start(refresh=True)

    def _render(self) -> RenderableType:
        width, stage = min(self._console.width, PANEL_WIDTH), self._stage
        lines: list[RenderableType] = []
        if self._row or stage is None:
            lines += [Text(""), *self._head(width), self._bar(width), self._figures(width)]
            lines += [*self._members(width), *self._time(width)]
        if stage is not None:
            spinner, start = stage
            line = Table.grid(padding=(0, 1))
            line.add_row(spinner, Text(f"{self._clock() - start:.0f} s", "dim"))
            lines.append(line)
        return Group(*lines)

    def _head(self, width: int) -> list[RenderableType]:
        """Heading and steps, on two lines where one is too short."""
        title = Text(self._heading, "bold")
        steps = Text(f"{count(self._steps())} / {count(self._total_steps)} env steps", "dim")
        gap = width - title.cell_len - steps.cell_len
        return [Text.assemble(title, " " * gap, steps)] if gap >= 2 else [title, steps]

    def _bar(self, width: int) -> RenderableType:
        left = math.nan if self._closed else self._seconds_left()
        bar = Table.grid(expand=True, padding=(0, 2, 0, 0))
        bar.add_column(ratio=1)
        bar.add_column(justify="right", no_wrap=True)
        bar.add_column(justify="right", no_wrap=True)
        bar.width = width
        share = self._share_done()
        bar.add_row(
            ProgressBar(total=1.0, completed=share, complete_style="cyan", finished_style="green"),
            Text(f"{math.floor(100 * share)}%", "cyan"),
            Text(f"{duration(left)} left" if math.isfinite(left) else ""),
        )
        return bar

    def _figures(self, width: int) -> RenderableType:
        """Names and values, in as many columns as there is room for."""
        row = self._row
        since = self._clock() - self._wall_at
        figures = (
            ("env steps/s", rate(row.get("env_steps_per_s"))),
            ("updates/s", rate(row.get("grad_steps_per_s"))),
            ("elapsed", duration(row.get("wall_s", 0.0) + since)),
            ("episode return", number(row.get("episode_return"))),
            ("evaluation", number(row.get("eval_return"))),
            ("mean Q", number(row.get("q_mean"))),
            ("alpha", number(row.get("alpha"))),
            ("entropy", number(row.get("entropy"))),
            ("critic loss", number(row.get("critic_loss"))),
        )
        grids = (in_columns(figures, columns) for columns in (3, 2))
        unlimited = self._console.options.update(width=10 * PANEL_WIDTH)
        fitting = (grid for grid in grids if self._console.measure(grid, options=unlimited).maximum <= width)
        return next(fitting, in_columns(figures, 1))

    def _members(self, width: int) -> list[RenderableType]:
        """How the evaluations of several members are spread."""
        text = spread(self._row.get("eval_returns", ()))
        return [Text(f"evaluation of {len(self._row['eval_returns'])} members:{text}"[:width], "dim")] if text else []

    def _time(self, width: int) -> list[RenderableType]:
        """Where the time of the last log interval went; nothing while that is not known."""
        shares = time_shares(self._row)
        if shares is None:
            return []
        env, device, host = shares
        rest = f"{env}%, device {device}%, host {host}%"
        text = f"time: environments {rest}"
        return [Text(text if len(text) <= width else f"time: env {rest}", "dim")]


def make_display(config: Config, total_steps: int, stream: TextIO | None = None) -> Display:
    """A live display on a terminal that can draw one, plain lines elsewhere.

    Args:
        config: the run's settings.
        total_steps: environment steps at the end of the run.
        stream: where to write; default standard output.
    """
    stream = sys.stdout if stream is None else stream
    return (LiveDisplay if can_draw(stream, os.environ) else PlainDisplay)(config, total_steps, stream)


def can_draw(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` is a terminal that understands control characters and has somebody in front of it."""
    if environ.get("TERM", "") in ("", "dumb", "unknown"):
        return False
    if environ.get("CI", "").lower() not in ("", "0", "false"):
        return False
    return stream.isatty()


def heading(config: Config) -> str:
    """`Pendulum-v1, seed 1`, `Pendulum-v1, 6 settings, seeds 1 to 4`."""
    first, last, settings = config.seed, config.seed + config.seeds - 1, len(config.settings)
    swept = f", {settings} settings" if settings > 1 else ""
    return f"{config.task}{swept}, seed {first}" if first == last else f"{config.task}{swept}, seeds {first} to {last}"


def spread(returns: Sequence[float]) -> str:
    """` (iqm -150.2, -173.0 to -133.9)` of several members, or nothing."""
    if len(returns) < 2:
        return ""
    return f" (iqm {number(interquartile_mean(returns))}, {number(min(returns))} to {number(max(returns))})"


def learning_pace(row: Mapping[str, float], utd_ratio: float) -> float:
    """Environment steps per second that came with their updates; nan where next to none were made.

    In the row in which updates begin, only the steps that were learned from count: the others took hardly any time.
    """
    pace = row.get("env_steps_per_s", math.nan)
    learned = row.get("grad_steps_per_s", math.nan) / utd_ratio
    return min(pace, learned) if learned > LEARNED_SHARE * pace else math.nan


def time_shares(row: Mapping[str, float]) -> tuple[int, int, int] | None:
    """Percentages of environments, device and host, which make 100; None where they are not known."""
    env, device, host = (row.get(key, math.nan) for key in ("env_wait_s", "device_wait_s", "host_s"))
    total = env + device + host
    if not 0 < total < math.inf:
        return None
    env, device = round(100 * env / total), round(100 * device / total)
    return env, device, max(100 - env - device, 0)


def in_columns(figures: Sequence[tuple[str, str]], columns: int) -> Table:
    """Names and values one below the other, in so many columns."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    for i in range(columns):
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(justify="right", no_wrap=True, min_width=9)
        if i < columns - 1:
            grid.add_column(width=2)
    height = math.ceil(len(figures) / columns)
    for y in range(height):
        line = figures[y::height]
        cells = [cell for name, value in line for cell in (name, value, "")]
        grid.add_row(*cells[:-1])
    return grid


def count(value: float | None) -> str:
    """`12,345`, or `-` where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """Per second: `12,345`, `12.3`, or `-`."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def number(value: float | None) -> str:
    """Four significant digits at most, in nine characters: `-153.2`, `0.01234`, `1.235e+07`, or `-`."""
    if value is None or not math.isfinite(value):
        return "-"
    size = abs(value)
    if size >= 1e6 or 0 < size < 1e-4:
        return f"{value:.3g}"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.3f}" if size >= 0.1 else f"{value:.3g}"


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
