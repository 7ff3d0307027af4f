"""How many environment steps a second does training make, updates included, beside the peers on the same schedule?"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from matplotlib.figure import Figure

from bench.lib import charts, children, harness, record, tables
from bench.peers.environments import NAMES
from fastsac.config.defaults import Auto

figures = partial(tables.rates, heading="Training")


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
    return f"{tables.plural(num_envs, 'env')}, UTD {Fraction(updates, num_envs)}"


def draw(report: harness.Report) -> dict[str, Figure]:
    """A chart of the first case; the table has all."""
    num_envs, updates = report["settings"]["cases"][0]
    case = describe(num_envs, updates)
    rows = [row for row in report["rows"] if row["name"].endswith(case)]
    named = [row | {"name": row["name"].removesuffix(f", {case}")} for row in rows]
    unit = f"{report['settings']['env']}, {case}: {report['unit']}"
    return charts.rates(report | {"rows": named, "unit": unit})


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device, reporter = record.start(Settings, "train", __doc__, argv)

    specs: list[children.Spec | harness.Absent] = []
    pairs = []
    for num_envs, updates in settings.cases:
        case = describe(num_envs, updates)
        equal = {name: getattr(settings, name) for name in ("env", "learning_starts", "buffer_size", "hidden_dims")}
        task = equal | {"num_envs": num_envs, "updates_per_vec_step": updates, "device": str(device)}
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
    report = children.compare(settings, reporter, "environment steps/s", specs, pairs)
    return reporter.show(report, figures(report), draw(report))


if __name__ == "__main__":
    main()
