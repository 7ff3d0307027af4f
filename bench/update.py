"""How many updates a second does the learner make, draw included, beside the peers on the same sizes?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from bench.lib import charts, children, harness, program, tables
from bench.lib.record import Reporter
from bench.lib.results import Result, extent, measured
from bench.peers.environments import NAMES
from fastsac.runtime.launch import Mode

QUESTION = __doc__ or ""
figures, draw = tables.rates, charts.rates
ROWS: dict[str, dict[str, dict[str, Any]]] = {
    "sbx": {"1 per call": {"per_call": 1}, "500 per call": {"per_call": 500}},
    "brax": {"scan of 500": {"per_call": 500}},
    "torchrl": {"compiled": {"compile": True}, "eager": {"compile": False}},
    "leanrl": {"compiled": {}},
}
"""The rows of a peer that has not just one, by what comes after its name: arguments of its adapter."""
PRODUCTS = "matrix products of an update, alone"


@dataclass(frozen=True, kw_only=True)
class Settings(children.Settings, program.Sizes):
    """Settings of this measurement."""

    modes: tuple[Mode, ...] = ()
    """Ways to run this program's update; default compiled and eager, on cuda captured too."""


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device = harness.start(Settings, "update", QUESTION, argv)
    reporter = Reporter("update", QUESTION, settings, argv)

    sizes = {f.name: getattr(settings, f.name) for f in fields(program.Sizes)} | {"device": str(device)}
    modes = settings.modes or (("captured", "compiled", "eager") if device.type == "cuda" else ("compiled", "eager"))
    asked: dict[str, Any] = {"what": "updates", "sizes": sizes}
    own = [settings.own(f", {mode}", **asked, options={"mode": mode}) for mode in modes]
    specs: list[children.Spec | harness.Absent] = [spec for of_mode in own for spec in of_mode]
    for peer in (peer for peer in settings.peers if peer in NAMES):
        for way, options in ROWS.get(peer, {"": {}}).items():
            specs.append(settings.spec(f"{NAMES[peer]}, {way}" if way else NAMES[peer], peer, **asked, options=options))
    once = {"once": 16} if device.type == "cuda" else {}
    specs.append(children.Spec(name=PRODUCTS, adapter="products", python=children.THIS, **asked, options=once))
    with children.started(specs, settings.threads) as candidates:
        rows = harness.interleave(candidates, settings.repeats, settings.seconds)

    first, others = own[0][0].name, [of_mode[0].name for of_mode in own[1:]]
    pairs = [(first, spec.name) for spec in specs if not tables.is_ours(spec.name)]
    pairs += [(first, name) for name in others] + [(name, NAMES["sb3"]) for name in others]
    pairs += [(spec.name, before.name) for spec, *rest in own for before in rest]
    report = reporter.finish(unit="updates/s", rows=rows, ratios=harness.ratios(rows, pairs))
    tables.show(figures(report))
    charts.save_beside(settings.json, draw(report), report)
    return report


def page(results: Sequence[Result]) -> Iterator[str]:
    """All systems beside each other, two columns for every machine; the chart of each."""
    shown = [result for result in results if not result.report["settings"].get("before")]
    names = dict.fromkeys(row["name"] for result in shown for row in measured(result.report))
    columns = [text for result in shown for text in (f"{result.machine}, updates/s", "times as fast")]
    lines = [[name, *(text for result in shown for text in cells(result.report, name))] for name in names]
    yield tables.Figures("", ["", *columns], lines).markdown()
    yield (
        "The second of each pair is how many times as fast the first row of fastsac there is, as the median of the "
        f"rounds and their range. *{PRODUCTS}* is what no update in float32 with this library can be faster than."
    )
    for result in (r for r in shown if len(measured(r.report)) > 3):
        yield result.picture("", f"Updates per second on {result.machine}")


def cells(report: harness.Report, name: str) -> list[str]:
    """A system's rate, and how it compares."""
    row = next((row for row in measured(report) if row["name"] == name), None)
    if row is None or (report["machine"]["gpu"] and name == PRODUCTS and "captured" not in row["notes"]):
        return ["", ""]  # products that the host launched one by one bound nothing
    found = next((r for r in report["ratios"] if r["to"] == name), None)
    return [tables.number(row["median"]), extent(found["by_round"], 2) if found else ""]


PAGE = {"Updates": page}

if __name__ == "__main__":
    main()
