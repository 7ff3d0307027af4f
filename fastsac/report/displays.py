"""The progress of a run on the screen: a live panel on a terminal, plain lines anywhere else.

A display is told numbers and never asks for them, so that looking at a run cannot slow it down or change it.
"""

import math
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from fastsac.config.settings import Config
from fastsac.report.progress import Progress, count, draw_panel, duration, number, rate, spread

PLAIN_EVERY_S = 2.0
REFRESH_PER_S = 4


class Display(ABC):
    """Shows the progress of a run.  Made by `make_display`; `close` it whatever happens."""

    def __init__(self, progress: Progress, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress, self._stream, self._clock = progress, stream, clock
        self._closed = False

    @abstractmethod
    def info(self, text: str) -> None:
        """Print one line that stays."""

    def warn(self, text: str) -> None:
        """Print one line that stays, of something that is not as it should be."""
        self.info(text)

    def table(self, rows: Mapping[str, str]) -> None:
        """Close, and print names and values in two columns."""
        self.close()
        width = max(map(len, rows), default=0)
        for name, value in rows.items():
            self.info(f"{name:{width}}  {value}")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Show that `name` goes on, then a line with its seconds; none after an error."""
        start = self._clock()
        with self.aside(name):
            yield
        self.info(f"{name}: {self._clock() - start:.1f} s")

    @contextmanager
    def aside(self, name: str) -> Iterator[None]:
        """Show that `name`, such as an evaluation, goes on while the steps stand still; leaves no line."""
        yield

    def update(self, figures: Mapping[str, float], eval_returns: Sequence[float] | None = None) -> None:
        """Show new figures, which are columns of metrics.csv and eval_return; others keep their last value.

        Figures are means over members, nan where there is none yet; `eval_returns` has one per member.
        """
        self._progress.update(figures, eval_returns)

    def close(self) -> None:
        """Give the terminal back.  May be called more than once; afterwards `info` and `table` print plainly."""
        self._closed = True


class PlainDisplay(Display):
    """One line at an update, at most one in two seconds, always the first and the last; no control characters."""

    def __init__(self, progress: Progress, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(progress, stream, clock)
        self._printed_at = -math.inf
        self._pending = False
        self.info(progress.heading)

    def info(self, text: str) -> None:
        """Print one line."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Print a line at the beginning and one at the end."""
        self._flush()
        self.info(f"{name} ...")
        with super().stage(name):
            yield

    def update(self, figures: Mapping[str, float], eval_returns: Sequence[float] | None = None) -> None:
        """Print a line if the last one is old enough."""
        super().update(figures, eval_returns)
        self._pending = True
        if self._clock() - self._printed_at >= PLAIN_EVERY_S:
            self._flush()

    def close(self) -> None:
        """Print the last update if its turn had not come."""
        self._flush()
        super().close()

    def _flush(self) -> None:
        """Print the last update, if it has not been."""
        if not self._pending:
            return
        self._pending, self._printed_at = False, self._clock()
        progress, shares = self._progress, self._progress.time_shares
        parts = (
            f"{count(progress.env_steps):>10} steps ({math.floor(100 * progress.share_done):3d}%)",
            f"{rate(progress['env_steps_per_s']):>7} env steps/s",
            f"{rate(progress['grad_steps_per_s']):>7} updates/s",
            f"return {number(progress['episode_return']):>9}",
            f"eval {number(progress['eval_return']):>9}{spread(progress.eval_returns)}",
            f"alpha {number(progress['alpha']):>7}",
            f"entropy {number(progress['entropy']):>7}",
            *([f"env {shares[0]:2d}% dev {shares[1]:2d}%"] if shares else []),
            f"left {duration(progress.seconds_left)}",
        )
        self.info("  ".join(parts))


class LiveDisplay(Display):
    """A panel at the foot of a terminal that is redrawn in place; lines of `info` scroll above it."""

    def __init__(self, progress: Progress, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(progress, stream, clock)
        self._console = Console(file=stream, force_terminal=True, highlight=False)
        self._wall_at = self._clock()  # when wall_s was told last
        self._aside: tuple[Spinner, float] | None = None  # and when it began; replaced whole: another thread draws
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=REFRESH_PER_S,
            transient=True,  # until there are figures worth keeping on the screen
            # What goes to a file must not be drawn on the terminal instead.
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=sys.stderr.isatty(),
        )

    def info(self, text: str) -> None:
        """Print one line that stays, above the panel."""
        self._start_live()
        self._console.print(Text(text))

    @contextmanager
    def aside(self, name: str) -> Iterator[None]:
        """Show that `name` goes on, with its seconds; leaves no line."""
        self._aside = (Spinner("dots", Text(name), style="cyan"), self._clock())
        self._start_live()
        try:
            yield
        finally:
            self._aside = None

    def update(self, figures: Mapping[str, float], eval_returns: Sequence[float] | None = None) -> None:
        """Show new figures in the panel."""
        if "wall_s" in figures:
            self._wall_at = self._clock()
        super().update(figures, eval_returns)
        self._start_live()
        self._live.transient = False

    def close(self) -> None:
        """Leave the panel as it is and restore the cursor."""
        super().close()
        self._live.stop()

    def _start_live(self) -> None:
        if not self._closed:
            self._live.start(refresh=True)  # does nothing where it has started

    def _render(self) -> RenderableType:
        """The panel, and below it the work aside; that alone before there are figures."""
        now, aside = self._clock(), self._aside
        parts: list[RenderableType] = []
        if self._progress or aside is None:
            elapsed_s = self._progress.wall_s + now - self._wall_at
            seconds_left = math.nan if self._closed else self._progress.seconds_left
            parts.append(draw_panel(self._progress, elapsed_s, seconds_left, self._console.width))
        if aside is not None:
            spinner, start = aside
            line = Table.grid(padding=(0, 1))
            line.add_row(spinner, Text(f"{now - start:.0f} s", "dim"))
            parts.append(line)
        return Group(*parts)


class QuietDisplay(Display):
    """Warnings alone, on standard error."""

    def __init__(self, config: Config) -> None:
        super().__init__(Progress(config, config.total_steps), sys.stderr)

    def info(self, text: str) -> None:
        """Print nothing."""

    def warn(self, text: str) -> None:
        """Print one line."""
        print(text, file=self._stream, flush=True)


def make_display(config: Config, total_steps: int, stream: TextIO | None = None) -> Display:
    """A live display on a terminal that understands control characters and is watched; plain lines elsewhere.

    `stream` is standard output by default; `total_steps` are environment steps at the end of the run.
    """
    stream = sys.stdout if stream is None else stream
    can_draw = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    is_watched = os.environ.get("CI", "").lower() in ("", "0", "false")
    return (LiveDisplay if can_draw and is_watched else PlainDisplay)(Progress(config, total_steps), stream)
