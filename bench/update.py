"""How many updates a second does the learner make, draw included, beside Stable-Baselines3 on the same sizes?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench import harness, own
from bench.peers import sb3 as peers
from fastsac.launch import Mode

SB3 = "Stable-Baselines3"


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings, own.Sizes):
    """Settings of this measurement."""

    modes: tuple[Mode, ...] = ()
    """Ways to run this program's update; default compiled and eager, on cuda captured too."""
    peers: Literal["sb3", "none"] = "sb3"
    """What to measure beside it."""


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device = harness.start(Settings, "update", __doc__, argv)
    reporter = harness.Reporter("update", __doc__, settings)

    modes = settings.modes or (("captured", "compiled", "eager") if device.type == "cuda" else ("compiled", "eager"))
    candidates: list[harness.Candidate | harness.Skipped] = [
        own.updates(f"fastsac, {mode}", settings, mode, device) for mode in modes
    ]
    if settings.peers == "sb3":
        candidates.append(peers.or_skipped(peers.updates, SB3, settings, device))
    rows = harness.interleave(candidates, settings.repeats, settings.seconds)

    mine = [f"fastsac, {mode}" for mode in modes]
    pairs = [(name, SB3) for name in mine] + [(mine[0], name) for name in mine[1:]]
    ratios = [r for pair in pairs if (r := harness.ratio(rows, *pair))]
    report = reporter.finish(unit="updates/s", rows=rows, ratios=ratios)
    harness.show_rates(report)
    return report


if __name__ == "__main__":
    main()
