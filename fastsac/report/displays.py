"""The progress of a run on the screen: a live panel on a terminal, plain lines anywhere else.

A display is told figures, and asks for nothing but counters on the host, so that looking at a run cannot slow it down
or change it.
"""

import math
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Timer
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from fastsac.config.settings import Config
from fastsac.report.panel import draw_panel
from fastsac.report.progress import Progress, count, duration, number, percent, rate, spread

PLAIN_EVERY_S = 2.0
PLAIN_ASIDE_AFTER_S = 10.0
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
        with self._going_on(name):
            yield
        self.info(f"{name}: {self._clock() - start:.1f} s")

    def _going_on(self, name: str) -> AbstractContextManager[None]:
        """What a stage shows meanwhile."""
        return self.aside(name)

    @contextmanager
    def aside(self, name: str) -> Iterator[None]:
        """Show that `name`, such as an evaluation, goes on while the steps stand still; leaves no line."""
        yield

    def follow(self, counters: Callable[[], tuple[int, int]]) -> None:
        """Show the env steps and gradient steps that `counters` gives, whenever something is drawn, in any thread."""
        self._progress.counters = counters

    def update(self, figures: Mapping[str, float], eval_returns: Sequence[float] | None = None) -> None:
        """Show new figures; others keep their last value.

        Args:
            figures: columns of metrics.csv, and of an evaluation eval_return, eval_std and eval_success_rate: means
                over members, nan where there is none yet.
            eval_returns: of an evaluation just made, one per member.
        """
        self._progress.update(figures, eval_returns)

    def close(self) -> None:
        """Give the terminal back.  May be called more than once; afterwards `info` and `table` print plainly."""
        self._closed = True


class PlainDisplay(Display):
    """One line at an update, at most one in two seconds, always the first and the last; no control characters.

    Every evaluation has a line of its own; no two others are of the same step.
    """

    def __init__(self, progress: Progress, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(progress, stream, clock)
        self._printed_at = self._printed_steps = -math.inf
        self._pending = False
        self.info(progress.heading)
        if progress.num_members > 1:
            self.info("evaluations: the mean over members, and in brackets their interquartile mean, lowest to highest")

    def info(self, text: str) -> None:
        """Print one line."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def _going_on(self, name: str) -> AbstractContextManager[None]:
        """Print a line at the beginning."""
        self._flush()
        self.info(f"{name} ...")
        return nullcontext()

    @contextmanager
    def aside(self, name: str) -> Iterator[None]:
        """Print a line if it takes long."""
        timer = Timer(PLAIN_ASIDE_AFTER_S, self.info, [f"{name} ..."])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def update(self, figures: Mapping[str, float], eval_returns: Sequence[float] | None = None) -> None:
        """Print an evaluation; other figures if the last line is old enough."""
        if eval_returns is not None:
            self._flush()  # the figures before it
        super().update(figures, eval_returns)
        if eval_returns is not None:
            self.info("  ".join(self._evaluation(self._progress)))
            return
        self._pending = True
        if self._clock() - self._printed_at >= PLAIN_EVERY_S and self._progress.share_done < 1:
            self._flush()

    def close(self) -> None:
        """Print the last update if its turn had not come."""
        self._flush()
        super().close()

    def _flush(self) -> None:
        """Print the last update, if it has not been, nor another one of the same step."""
        if not self._pending or self._progress.env_steps == self._printed_steps:
            return
        self._pending, self._printed_at, self._printed_steps = False, self._clock(), self._progress.env_steps
        self.info("  ".join(self._parts(self._progress)))

    def _parts(self, progress: Progress) -> Iterator[str]:
        """The figures of a line."""
        yield f"{count(progress.env_steps):>10} steps ({math.floor(100 * progress.share_done):3d}%)"
        yield f"{rate(progress['env_steps_per_s']):>7} env steps/s"
        yield progress.phase or f"{rate(progress['grad_steps_per_s']):>7} updates/s"
        yield f"return {number(progress['episode_return']):>9}"
        if math.isfinite(progress["success_rate"]):
            yield f"success {percent(progress['success_rate']):>4}"
        if not progress.phase:
            yield f"alpha {number(progress['alpha']):>7}"
            yield f"entropy {number(progress['entropy']):>7}"
        if shares := progress.time_shares:
            yield f"env {shares[0]:2d}% {'learning' if progress.on_cpu else 'GPU'} {shares[1]:2d}%"
        yield f"left {duration(progress.seconds_left)}"

    def _evaluation(self, progress: Progress) -> Iterator[str]:
        """The figures of the last evaluation."""
        last = progress.evaluations[-1]
        yield f"{count(last.env_steps):>10} steps: evaluated"
        yield f"return {number(progress['eval_return'])}{spread(last.returns) or f' +- {number(last.std)}'}"
        if math.isfinite(last.success_rate):
            yield f"success {percent(last.success_rate)}"


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
        around, self._aside = self._aside, (Spinner("dots", Text(name), style="cyan"), self._clock())
        self._start_live()
        try:
            yield
        finally:
            self._aside = around

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
        if self._progress or self._progress.env_steps or aside is None:
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


def make_display(config: Config, total_steps: int, device_type: str = "cpu", stream: TextIO | None = None) -> Display:
    """A live display on a terminal that understands control characters and is watched; plain lines elsewhere.

    `stream` is standard output by default; the rest is as of `Progress`.
    """
    stream = sys.stdout if stream is None else stream
    can_draw = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    is_watched = os.environ.get("CI", "").lower() in ("", "0", "false")
    progress = Progress(config, total_steps, device_type)
    return (LiveDisplay if can_draw and is_watched else PlainDisplay)(progress, stream)
