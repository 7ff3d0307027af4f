"""How rates are measured: settings that all questions have, candidates that take turns, medians and ratios.

Knows nothing of what is measured.  A `Candidate` does a number of units of work when told to; the harness decides how
many, in which order, and what to make of the times.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fastsac.runtime.device import choose_device

Row = dict[str, Any]
Report = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every measurement can be told."""

    json: Path | None = None
    """File to write the report to."""
    repeats: int = 7
    """Timed rounds; each runs every candidate once.  At least 1."""
    seconds: float = 5.0
    """About how long one candidate runs in one round.  Above 0."""
    threads: int = 2
    """Threads of torch, for all candidates.  At least 1."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N, for all candidates."""

    def __post_init__(self) -> None:
        at_least_1(self, "repeats", "threads")
        if not self.seconds > 0:
            raise ValueError(f"seconds must be above 0, got {self.seconds}.")


def at_least_1(settings: object, *names: str) -> None:
    """See that these settings, or each of their values, are at least 1 where they are given.

    Raises:
        ValueError: one is not.
    """
    for name in names:
        value = getattr(settings, name)
        if any(v is not None and v < 1 for v in (value if isinstance(value, tuple) else (value,))):
            raise ValueError(f"{name} must be at least 1, got {value}.")


def among(name: str, values: Sequence[str], known: Sequence[str]) -> None:
    """See that all values are known ones.

    Raises:
        ValueError: one is not.
    """
    if unknown := [value for value in values if value not in known]:
        raise ValueError(f"{name} must be of {', '.join(known)}, got {', '.join(unknown)}.")


@contextmanager
def one_line(name: str) -> Iterator[None]:
    """Inside, a user's error ends the program with one line."""
    try:
        yield
    except (ValueError, RuntimeError) as error:  # the latter of the device
        raise SystemExit(f"bench.{name}: {' '.join(str(error).split())}") from None


def set_up_torch(settings: Settings) -> torch.device:
    """Give this process the threads and the matmul precision that all candidates get; returns the device."""
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # as in `fastsac train`, and for the peers too
    return device


# Candidates ---------------------------------------------------------------------------------------------------------


class Timed(NamedTuple):
    """Units done, by a candidate that takes its own time: one in another process."""

    done: int
    seconds: float


class Failed(RuntimeError):
    """A candidate did not do its work; the message is for its row."""


class Unable(Failed):
    """A candidate cannot do what it is asked for, by its nature."""


Run = Callable[[int], int | Timed]
Turn = Callable[[], float]


@dataclass(frozen=True)
class Candidate:
    """Something to be timed.

    Attributes:
        name: its row's name.
        run: does about the given number of units of work, waits for the device, returns the units done.
        notes: what else the row should say.
        about: what only the report says: hyper-parameters, versions, threads.
    """

    name: str
    run: Run
    notes: Row = field(default_factory=dict)
    about: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Absent:
    """A candidate that is not timed, and why.

    Attributes:
        name: its row's name.
        why: for its row.
        failed: it should run here; otherwise it cannot.
    """

    name: str
    why: str
    failed: bool = False

    def row(self) -> Row:
        """What the report says."""
        return {"name": self.name, "error" if self.failed else "skipped": self.why}


def interleave(candidates: Sequence[Candidate | Absent], repeats: int, seconds: float) -> list[Row]:
    """Time the candidates in turn, so that a drifting machine is unjust to none of them.

    Each candidate first warms up and finds the number of units that take about `seconds`; that is not counted.

    Returns:
        One row per candidate, in order, with units per second as `rounds` gives them.
    """
    found: dict[str, Row] = {}
    turns: dict[str, Turn] = {}
    for c in candidates:
        if isinstance(c, Absent):
            found[c.name] = c.row()
            continue
        try:
            units = calibrate(c.run, seconds)
        except Failed as error:
            found[c.name] = Absent(c.name, str(error), failed=True).row()
        else:
            found[c.name] = {"units_per_round": units, "notes": c.notes, **({"about": c.about} if c.about else {})}
            turns[c.name] = partial(rate, c.run, units)
    for row in rounds(turns, repeats):
        found[row["name"]] = row if "error" in row else row | found[row["name"]]
    return list(found.values())


def rounds(turns: Mapping[str, Turn], repeats: int) -> list[Row]:
    """Take figures in turn, A B C A B C ...; a row each with their `summary`.

    Where one raises `Failed`, its row has the error, and the others go on without it.
    """
    values: dict[str, list[float]] = {name: [] for name in turns}
    errors: dict[str, str] = {}
    for _ in range(repeats):
        for name in (name for name in turns if name not in errors):
            try:
                values[name].append(turns[name]())
            except Failed as error:
                errors[name] = str(error)
    return [{"name": name, **({"error": errors[name]} if name in errors else summary(values[name]))} for name in turns]


def rate(run: Run, units: int) -> float:
    """Units per second of one call."""
    done, elapsed_s = measure(run, units)
    return done / elapsed_s


def measure(run: Run, units: int) -> Timed:
    """Units done and seconds taken by one call; a candidate's own seconds where it tells them."""
    began = time.perf_counter()
    done = run(units)
    return done if isinstance(done, Timed) else Timed(done, time.perf_counter() - began)


def calibrate(run: Run, seconds: float) -> int:
    """Units of work that take about `seconds`, found by doubling; the runs also warm the candidate up."""
    units = 1
    while True:
        done, elapsed_s = measure(run, units)
        if elapsed_s >= seconds / 2:
            return max(1, round(done / elapsed_s * seconds))
        units *= 2


# Statistics ---------------------------------------------------------------------------------------------------------


def summary(values: Sequence[float]) -> Row:
    """Median, min and max, and the values themselves in the order of the rounds."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": list(values)}


def ratio(rows: Sequence[Row], of: str, to: str) -> Row | None:
    """How row `of` compares with row `to`: by medians, and round by round; None where one of them was not run."""
    found = {row["name"]: row for row in rows if "values" in row}
    if of not in found or to not in found:
        return None
    a, b = found[of], found[to]
    by_round = summary([x / y for x, y in zip(a["values"], b["values"], strict=True)])
    return {"of": of, "to": to, "of_medians": a["median"] / b["median"], "by_round": by_round}


def ratios(rows: Sequence[Row], pairs: Sequence[tuple[str, str]]) -> list[Row]:
    """The ratios of those pairs that were run, each once."""
    return [found for pair in dict.fromkeys(pairs) if (found := ratio(rows, *pair))]
