"""How many environment steps a second does training make, updates included, beside the peers on the same schedule?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from bench.lib import charts, children, harness, tables
from bench.lib.record import Reporter
from bench.lib.results import Result, extent, measured
from bench.peers.environments import NAMES
from fastsac.config.settings import Auto

QUESTION = __doc__ or ""
figures, draw = tables.rates, charts.rates


@dataclass(frozen=True, kw_only=True)
class Settings(children.Settings):
    """Settings of this measurement."""

    env: str = "HalfCheetah-v5"
    """Environment: envpool's for this program, Gymnasium's for the peers."""
    cases: tuple[tuple[int, int], ...] = ((1, 1), (64, 8))
    """Pairs: environments stepped together, and updates after each of those vector steps; one row each and system."""
    learning_starts: int = 1_000
    """Environment steps with random actions before the first update; they are not timed."""
    hidden_dims: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers of actor and critics."""
    buffer_size: int = 1_000_000
    """Replay capacity in transitions."""
    compile: Auto = "auto"
    """As in `fastsac train`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for num_envs, updates in self.cases:
            if num_envs < 1 or updates < 1:
                raise ValueError(f"cases must be pairs of whole numbers of at least 1, got {num_envs} {updates}.")


def describe(num_envs: int, updates: int) -> str:
    """A case in words: environments, and updates per environment step."""
    return f"{num_envs} env{'s' if num_envs > 1 else ''}, UTD {Fraction(updates, num_envs)}"


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device = harness.start(Settings, "train", QUESTION, argv)
    reporter = Reporter("train", QUESTION, settings, argv)

    specs: list[children.Spec | harness.Absent] = []
    pairs = []
    for num_envs, updates in settings.cases:
        case = describe(num_envs, updates)
        task: dict[str, Any] = {
            "env": settings.env,
            "num_envs": num_envs,
            "updates_per_vec_step": updates,
            "learning_starts": settings.learning_starts,
            "buffer_size": settings.buffer_size,
            "hidden_dims": settings.hidden_dims,
            "device": str(device),
        }
        options = {"utd_ratio": updates / num_envs, "compile": settings.compile}
        own = settings.own(f", {case}", what="env_steps", sizes=task, options=options)
        mine = own[0].name
        specs += own
        pairs += [(mine, other.name) for other in own[1:]]
        for peer in settings.peers:
            if peer in NAMES:
                theirs = f"{NAMES[peer]}, {case}"
                specs.append(settings.spec(theirs, peer, what="env_steps", sizes=task))
                pairs.append((mine, theirs))
    with children.started(specs, settings.threads) as candidates:
        rows = harness.interleave(candidates, settings.repeats, settings.seconds)

    report = reporter.finish(unit="environment steps/s", rows=rows, ratios=harness.ratios(rows, pairs))
    tables.show(figures(report))
    charts.save_beside(settings.json, draw(report), report)
    return report


def page(results: Sequence[Result]) -> Iterator[str]:
    """For every machine the systems beside each other, two columns for every case; the chart."""
    for result in (result for result in results if not result.report["settings"].get("before")):
        rows = {row["name"]: row for row in measured(result.report)}
        compared = {r["to"]: r for r in result.report["ratios"]}
        cases = [describe(*case) for case in result.report["settings"]["cases"]]
        lines = []
        for system in dict.fromkeys(name.partition(", ")[0] for name in rows):
            line = [system]
            for name in (f"{system}, {case}" for case in cases):
                line.append(tables.number(rows[name]["median"]) if name in rows else "")
                line.append(extent(compared[name]["by_round"], 2) if name in compared else "")
            lines.append(line)
        about = f"env steps/s on {result.machine}, {result.report['settings']['env']}"
        columns = [text for case in cases for text in (case, "times as fast")]
        yield tables.Figures("", [about, *columns], lines).markdown()
        yield result.picture("", f"Environment steps per second of training on {result.machine}")


PAGE = {"Training": page}

if __name__ == "__main__":
    main()
