"""What do more processes of torchrun give: R processes of M members each, and one agent on R, beside one process?

Weak scaling: each process has as many members, environments and transitions of a batch as the single one, and an update
as often as it takes a step of its environments.  Every turn is a fresh run, all arrangements one after the other.
"""

import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from bench.lib import harness, processes, record, tables
from bench.lib.rank_model import CLUSTERS, Parts, forecast
from bench.lib.rank_worker import Task
from bench.lib.tables import Figures, extent, number, plural
from fastsac.cli.train import train_config
from fastsac.config.settings import Config
from fastsac.env import make_spec
from fastsac.runtime.gpus import View, choose_placement, visible_gpus

Kind = Literal["members", "data"]
HEADING = "Processes"
LEARNING_STARTS = 1_000  # environment steps with random actions, which are not timed


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Settings of this measurement."""

    repeats: int = 3
    """Timed rounds; each starts every arrangement once.  At least 1."""
    seconds: float = 3.0
    """About how long one arrangement trains in one round, after as long to warm up.  Above 0."""
    threads: int = 1
    """Threads of torch, and of the environments, in each process.  At least 1."""

    ranks: tuple[int, ...] = (1, 2)
    """Numbers of processes; on GPUs each has its own.  One process is always measured, too."""
    kinds: tuple[Kind, ...] = get_args(Kind)
    """What the processes share: members, or the data of one agent."""
    members: int = 2
    """Members of each process, where they share members.  At least 1."""
    env: str = "HalfCheetah-v5"
    """Environment, whose preset gives all other settings: those of each process."""
    args: str = ""
    """Options of `fastsac train` in their place, as one string: `--args="--compile off --num-envs 4"`."""
    model: bool = False
    """Measure nothing; print what GPUs of one and of several machines should come to, on paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        harness.at_least_1(self, "ranks", "members")

    def flags(self) -> list[str]:
        """What `fastsac train` is told of what is trained."""
        short = ["--learning-starts", str(LEARNING_STARTS), "--env-threads", str(self.threads)]
        return ["--env", self.env, *short, *shlex.split(self.args)]


@dataclass(frozen=True)
class Arrangement:
    """So many processes, and what they share."""

    kind: Kind
    ranks: int

    @property
    def name(self) -> str:
        """Its row's."""
        return f"{self.kind}, {self.ranks} process{'es' * (self.ranks > 1)}"

    def flags(self, each: Config, members: int) -> list[str]:
        """Options for `ranks` processes that have what `each` says."""
        if self.kind == "members":
            return ["--seeds", str(self.ranks * members), "--parallel", "members"]
        whole = {
            "num-envs": self.ranks * each.num_envs,
            "batch-size": self.ranks * each.batch_size,
            "utd-ratio": each.utd_ratio / self.ranks,
        }
        return ["--seeds", "1", "--parallel", "data", *(f"--{name}={value}" for name, value in whole.items())]


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, _, reporter = record.start(Settings, "scale", __doc__, argv)
    if settings.model:
        report = reporter.finish(rows=[], model=paper())
        return reporter.show(report, figures(report))
    with harness.one_line("scale"):
        gpus = visible_gpus(settings.device)
        views = [View("", rank, gpus) for rank in range(max(settings.ranks))]
        choose_placement(settings.device, views, 0)  # whether there are as many
        each, _ = train_config(settings.flags()), make_spec(settings.env)
    sizes = {name: getattr(each, name) for name in ("num_envs", "batch_size", "utd_ratio")}
    sizes |= {"hidden_dims": each.critic_dims, "members": settings.members}
    report = reporter.finish(sizes=sizes, rows=measure(settings, each))
    return reporter.show(report, figures(report))


# Measuring ----------------------------------------------------------------------------------------------------------


def measure(settings: Settings, each: Config) -> list[harness.Row]:
    """A row for each arrangement, whose own figures are its environment steps a second."""
    arrangements = [Arrangement(kind, ranks) for kind in settings.kinds for ranks in sorted({1, *settings.ranks})]
    seen: dict[str, list[dict[str, Any]]] = {arrangement.name: [] for arrangement in arrangements}
    turns = {a.name: partial(take_turn, settings, a, each, seen[a.name]) for a in arrangements}
    rows = harness.rounds(turns, settings.repeats)
    for row, arrangement in zip(rows, arrangements, strict=True):
        row |= asdict(arrangement)
        if "error" not in row:
            row |= details(seen[row["name"]])
            row["times_one"] = harness.ratio(rows, row["name"], Arrangement(arrangement.kind, 1).name)
    return rows


def take_turn(settings: Settings, arrangement: Arrangement, each: Config, seen: list[dict[str, Any]]) -> float:
    """Environment steps a second of one run; notes all that was measured.

    Raises:
        Failed: it ended with an error.
    """
    print(f"{arrangement.name} ...", file=sys.stderr)
    flags = [*settings.flags(), *arrangement.flags(each, settings.members)]
    task = Task(flags=flags, device=settings.device, threads=settings.threads, seconds=settings.seconds)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        command = [*torchrun, str(arrangement.ranks), "-m", "bench.lib.rank_worker", json.dumps(asdict(task)), str(out)]
        env = processes.variables(settings.threads)
        found = processes.run_process(lambda _: command, out, env, set(), processes.GRACE_S)
    if "error" in found:
        raise harness.Failed(found["error"])
    seen.append(found)
    rate: float = found["env_steps_per_s"]
    return rate


def details(seen: Sequence[dict[str, Any]]) -> harness.Row:
    """What the rounds of an arrangement have measured beside environment steps; of reductions where there are any."""
    about = {name: seen[-1][name] for name in ("mode", "device", "reduced_bytes", "backend") if name in seen[-1]}
    measured = [name for name in ("updates_per_s", "reduction_s", "latency_s", "bytes_per_s") if name in seen[-1]]
    found: harness.Row = about | {name: harness.summary([each[name] for each in seen]) for name in measured}
    if "reduction_s" in found:
        found["reduction_share"] = harness.summary([each["reduction_s"] * each["updates_per_s"] for each in seen])
    return found


def paper() -> list[harness.Row]:
    """The model's rows, with what it assumes."""
    parts = Parts()
    return [asdict(parts) | asdict(cluster) | asdict(forecast(parts, cluster)) for cluster in CLUSTERS]


# Tables -------------------------------------------------------------------------------------------------------------


def figures(report: harness.Report) -> list[Figures]:
    """Members, one agent, its reductions; or the model."""
    if "model" in report:
        return [model_table(report["model"])]
    rows, found = report["rows"], []
    for kind in get_args(Kind):
        if lines := [cells(row) for row in rows if row["kind"] == kind]:
            columns = ["env steps/s", "times one process", "updates/s", "reductions in an update", "share of the time"]
            found.append(Figures(what(report, kind), [*columns, "notes"], lines, HEADING))
    if lines := [link(row) for row in rows if "latency_s" in row]:
        found.append(Figures("a reduction alone", ["one number, ms", "4 MB, GB/s", "an update's, ms"], lines, HEADING))
    return found


def cells(row: harness.Row) -> list[str]:
    """Of an arrangement."""
    times = row.get("times_one") or {}
    return [
        row["name"],
        extent(row),
        extent(times.get("by_round", {}), 2),
        extent(row.get("updates_per_s", {})),
        reduced(row),
        percent(row.get("reduction_share")),
        tables.problem(row),
    ]


def what(report: harness.Report, kind: Kind) -> str:
    """`HalfCheetah-v5: 2 members, 16 environments and batch 256 in each process`."""
    sizes, env = report["sizes"], report["settings"]["env"].rpartition(":")[2]
    members = f"{plural(sizes['members'], 'member')}, " if kind == "members" else "one agent, "
    modes = "/".join(sorted({row["mode"] for row in report["rows"] if "mode" in row}))
    each = f"{plural(sizes['num_envs'], 'environment')} and batch {sizes['batch_size']:,} in each process"
    return f"{env}: {members}{each}, {modes}"


def reduced(row: harness.Row) -> str:
    """`1 of 861 kB`; 0 says that the update has none."""
    sizes = row.get("reduced_bytes")
    if not sizes:
        return "" if sizes is None else "0"
    return f"{len(sizes)} of {number(sum(sizes) / 1e3)} kB"


def percent(share: harness.Row | None) -> str:
    """`12% (11 to 13)`."""
    if share is None:
        return ""
    median, low, high = (f"{100 * share[key]:.1f}" for key in ("median", "min", "max"))
    return f"{median}%" if low == high else f"{median}% ({low} to {high})"


def link(row: harness.Row) -> list[str]:
    """What one reduction takes, of a number, of a large vector, and of what an update has."""
    units = {"latency_s": 1e3, "bytes_per_s": 1e-9, "reduction_s": 1e3}
    cells = [extent({key: unit * row[name][key] for key in ("median", "min", "max")}) for name, unit in units.items()]
    return [f"{row['backend']}, {row['ranks']} processes", *cells]


def model_table(rows: Sequence[harness.Row]) -> Figures:
    """The paper model, whose title says what it is."""
    lines = [
        [
            row["name"],
            f"{1e6 * row['latency_s']:.0f} us, {row['bytes_per_s'] / 1e9:.0f} GB/s" if row["ranks"] > 1 else "",
            f"{row['ranks'] * row['batch_size']:,}",
            number(1e6 * row["reduction_s"], 0),
            f"{100 * row['share']:.0f}%",
            number(row["updates_per_s"]),
            number(row["transitions_per_s"] / 1e6, 1),
            number(row["env_steps_per_s"]),
            number(row["member_updates_per_s"]),
        ]
        for row in rows
    ]
    columns = ["assumed", "batch", "reduction, us", "its share", "updates/s", "million transitions/s", "env steps/s"]
    return Figures("A MODEL, NOT MEASURED: one agent", [*columns, "or an agent each: updates/s of all"], lines)


if __name__ == "__main__":
    main()
