"""How many seconds does it take to solve a task, start-up included, beside Stable-Baselines3 and SBX as tuned?"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.lib import curve_charts, curves, harness, record

figures, draw = partial(curve_charts.figures, heading="Seconds to solve"), curve_charts.draw


@dataclass(frozen=True, kw_only=True)
class Settings(curves.Settings):
    """Settings of this measurement."""

    json: Path | None = Path("solve.json")
    """File to write the report to, with charts beside it."""


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, _, reporter = record.start(Settings, "solve", __doc__, argv)
    return curves.run(settings, reporter, "solve", "Seconds to solve")


if __name__ == "__main__":
    main()
