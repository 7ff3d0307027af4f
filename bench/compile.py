"""After how many updates has compiling paid for itself?  Backs COMPILE_PAYS_AFTER in fastsac/run/plan.py."""

import math
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import torch

from bench import chart, harness, own, rate_chart
from fastsac.run.plan import COMPILE_PAYS_AFTER
from fastsac.runtime.launch import Mode

T = TypeVar("T")

CACHE_DIR = "TORCHINDUCTOR_CACHE_DIR"

SIZES = {
    "pendulum": own.Sizes(obs_dim=3, action_dim=1, hidden_dims=(64, 64)),
    "halfcheetah": own.Sizes(obs_dim=17, action_dim=6, hidden_dims=(256, 256)),
    "lunarlander": own.Sizes(obs_dim=8, action_dim=2, hidden_dims=(400, 300)),
}


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    sizes: tuple[str, ...] = tuple(SIZES)
    """Sizes to measure, by the name of a task that has them."""
    compiles: int = 3
    """Fresh processes that compile with an empty cache, and as many with the cache they left.  At least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compiles < 1:
            raise ValueError(f"compiles must be at least 1, got {self.compiles}.")
        if unknown := set(self.sizes) - set(SIZES):
            raise ValueError(f"sizes must be of {', '.join(SIZES)}, got {', '.join(sorted(unknown))}.")


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, _ = harness.start(Settings, "compile", __doc__, argv)
    reporter = harness.Reporter("compile", __doc__, settings)
    rows = [measure(name, settings) for name in settings.sizes]
    report = reporter.finish(
        unit="seconds",
        rows=rows,
        pays_after=max((row["pays_after_cold"] for row in rows if row["pays_after_cold"]), default=None),
        constant_in_plan=COMPILE_PAYS_AFTER,
    )
    for table in figures(report):
        table.show()
    chart.save_beside(settings.json, rate_chart.draw(report, panels(report)), report)
    return report


def measure(name: str, settings: Settings) -> harness.Row:
    """Compile seconds with an empty and with a filled cache, seconds per update, and when compiling has paid."""
    sizes = SIZES[name]
    cold, warm = [], []
    for _ in range(settings.compiles):
        with cache_dir():
            cold.append(in_new_process(compile_once, sizes, settings))
            warm.append(in_new_process(compile_once, sizes, settings))
    compiled, eager = in_new_process(rates, sizes, settings)
    row = {
        "name": name,
        **asdict(sizes),
        "compile_cold_s": harness.summary(cold),
        "compile_warm_s": harness.summary(warm),
        "compiled_updates_per_s": compiled,
        "eager_updates_per_s": eager,
    }
    saved_s = 1 / eager["median"] - 1 / compiled["median"]
    row["pays_after_cold"] = pays_after(row["compile_cold_s"]["median"], saved_s)
    row["pays_after_warm"] = pays_after(row["compile_warm_s"]["median"], saved_s)
    return row


def pays_after(compile_s: float, saved_s: float) -> int | None:
    """Updates until what each saves adds up to the compile time; None where none is saved."""
    return math.ceil(compile_s / saved_s) if saved_s > 0 else None


def caches(folder: Path) -> dict[str, str]:
    """Variables by which a process has in `folder` all that compiling leaves: code, and precompiled headers.

    The latter torch keeps among the temporary files, whatever it is told of its cache, and fastsac with the code.
    """
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return {CACHE_DIR: str(folder / "inductor"), "TMPDIR": str(temporary)}


@contextmanager
def cache_dir() -> Iterator[None]:
    """Empty caches for the compiler, for all processes started inside."""
    with tempfile.TemporaryDirectory() as folder:
        variables = caches(Path(folder))
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name)
                else:
                    os.environ[name] = value


def in_new_process(function: Callable[[own.Sizes, Settings], T], sizes: own.Sizes, settings: Settings) -> T:
    """`function(sizes, settings)` in a process that has compiled nothing yet."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, sizes, settings).result()


def compile_once(sizes: own.Sizes, settings: Settings) -> float:
    """Seconds that compiling takes in this process; imports of the compiler included."""
    device = harness.set_up_torch(settings)
    return own.compile_seconds(own.make_filled(sizes, compiled_mode(device), device).learner)


def rates(sizes: own.Sizes, settings: Settings) -> list[harness.Row]:
    """Updates per second, compiled and eager."""
    device = harness.set_up_torch(settings)
    modes: dict[str, Mode] = {"compiled": compiled_mode(device), "eager": "eager"}
    candidates = [own.updates(name, sizes, mode, device) for name, mode in modes.items()]
    return harness.interleave(candidates, settings.repeats, settings.seconds)


def compiled_mode(device: torch.device) -> Mode:
    """What `auto` chooses for a long run on this device."""
    return "captured" if device.type == "cuda" else "compiled"


def panels(report: harness.Report) -> list[rate_chart.Panel]:
    """Seconds of compiling and updates per second, for the chart."""
    kinds = {"compile_cold_s": "empty cache", "compile_warm_s": "filled cache"}
    modes = {"eager_updates_per_s": "eager", "compiled_updates_per_s": "compiled"}
    return [
        rate_chart.Panel(
            unit,
            [{**row[key], "name": f"{row['name']}, {name}"} for row in report["rows"] for key, name in names.items()],
        )
        for unit, names in (("seconds of compiling", kinds), ("updates/s", modes))
    ]


def figures(report: harness.Report) -> list[harness.Figures]:
    """One line per size."""
    columns = ["", "cold compile s", "warm compile s", "eager ms", "compiled ms", "pays after", "with warm cache"]
    rows = [
        [
            row["name"],
            *(f"{row[k]['median']:.1f}" for k in ("compile_cold_s", "compile_warm_s")),
            *(f"{1000 / row[k]['median']:.2f}" for k in ("eager_updates_per_s", "compiled_updates_per_s")),
            *(f"{row[k]:,}" if row[k] else "never" for k in ("pays_after_cold", "pays_after_warm")),
        ]
        for row in report["rows"]
    ]
    title = f"updates after which compiling has paid (fastsac/run/plan.py has {report['constant_in_plan']:,})"
    return [harness.Figures(title, columns, rows)]


if __name__ == "__main__":
    main()
