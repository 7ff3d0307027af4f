"""What returns does training come to, over environment steps and over seconds, beside other algorithms and programs?"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from bench.lib import curve_charts, curves, harness, record

figures, draw = partial(curve_charts.figures, heading="Returns over steps and seconds"), curve_charts.draw


@dataclass(frozen=True, kw_only=True)
class Settings(curves.Settings):
    """Settings of this measurement."""

    to_the_end: bool = True
    """Train for max_steps whatever the return; otherwise a run is over at the last threshold."""


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, _, reporter = record.start(Settings, "curves", __doc__, argv)
    return curves.run(settings, reporter, "curves", "Returns over steps and seconds")


if __name__ == "__main__":
    main()
