"""How many environment steps a second does training make, one update per step, beside Stable-Baselines3?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench import harness, own
from bench.peers import sb3 as peers
from fastsac.config import Auto, Config
from fastsac.plan import choose_mode


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    env: str = "HalfCheetah-v5"
    """Environment: envpool's for this program, Gymnasium's for the peer."""
    num_envs: tuple[int, ...] = (1, 16)
    """Environments stepped together; one row each and side."""
    learning_starts: int = 1_000
    """Environment steps with random actions before the first update; they are not timed."""
    compile: Auto = "auto"
    """As in `fastsac train`."""
    peers: Literal["sb3", "none"] = "sb3"
    """What to measure beside it."""


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device = harness.start(Settings, "train", __doc__, argv)
    reporter = harness.Reporter("train", __doc__, settings)

    candidates: list[harness.Candidate | harness.Skipped] = []
    pairs = []
    for n in settings.num_envs:
        envs = "1 env" if n == 1 else f"{n} envs"
        mine, theirs = f"fastsac, {envs}", f"Stable-Baselines3, {envs}"
        config = Config.for_env(
            settings.env, num_envs=n, learning_starts=settings.learning_starts, utd_ratio=1.0, compile=settings.compile
        )
        mode = choose_mode(config, device)[0]
        endless = config.replace(total_steps=2**31)  # the update budget must not end during the measurement
        candidates.append(own.env_steps(mine, endless, mode, device))
        if settings.peers == "sb3":
            args = (settings.env, n, settings.learning_starts, device)
            candidates.append(peers.or_skipped(peers.env_steps, theirs, *args))
        pairs.append((mine, theirs))
    rows = harness.interleave(candidates, settings.repeats, settings.seconds)

    ratios = [r for pair in pairs if (r := harness.ratio(rows, *pair))]
    report = reporter.finish(unit="environment steps/s", rows=rows, ratios=ratios)
    harness.show_rates(report)
    return report


if __name__ == "__main__":
    main()
