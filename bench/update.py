"""How many updates a second does the learner make, draw included, beside the peers on the same sizes?"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.lib import charts, children, harness, record, tables
from bench.peers.environments import NAMES
from fastsac.runtime.launch import Mode

figures, draw = partial(tables.rates, heading="Updates"), charts.rates
ROWS: dict[str, dict[str, dict[str, Any]]] = {
    "sbx": {"1 per call": {"per_call": 1}, "500 per call": {"per_call": 500}},
    "brax": {"scan of 500": {"per_call": 500}},
    "torchrl": {"compiled": {"compile": True}, "eager": {"compile": False}},
    "leanrl": {"compiled": {}},
}
"""The rows of a peer that has not just one, by what comes after its name: arguments of its adapter."""
PRODUCTS = "matrix products of an update, alone"


@dataclass(frozen=True, kw_only=True)
class Settings(children.Settings):
    """Settings of this measurement."""

    obs_dim: int = 17
    """Length of the observation."""
    action_dim: int = 6
    """Length of the action."""
    hidden_dims: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers of actor and critics."""
    batch_size: int = 256
    """Transitions per update."""
    transitions: int = 100_000
    """Transitions in the replay that batches are drawn from."""
    modes: tuple[Mode, ...] = ()
    """Ways to run this program's update; default compiled and eager, on cuda captured too."""


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device, reporter = record.start(Settings, "update", __doc__, argv)

    names = ("obs_dim", "action_dim", "hidden_dims", "batch_size", "transitions")
    sizes = {name: getattr(settings, name) for name in names} | {"device": str(device)}
    modes = settings.modes or (("captured", "compiled", "eager") if device.type == "cuda" else ("compiled", "eager"))
    asked: dict[str, Any] = {"what": "updates", "sizes": sizes}
    own = [settings.own(f", {mode}", **asked, options={"mode": mode}) for mode in modes]
    specs: list[children.Spec | harness.Absent] = [spec for of_mode in own for spec in of_mode]
    for peer in (peer for peer in settings.peers if peer in NAMES):
        for way, options in ROWS.get(peer, {"": {}}).items():
            specs.append(settings.spec(f"{NAMES[peer]}, {way}" if way else NAMES[peer], peer, **asked, options=options))
    once = {"once": 16} if device.type == "cuda" else {}
    specs.append(children.Spec(name=PRODUCTS, adapter="products", python=children.THIS, **asked, options=once))
    before = [(spec.name, other.name) for spec, *others in own for other in others]
    pairs = [*before, *((own[0][0].name, spec.name) for spec in specs[1:])]
    report = children.compare(settings, reporter, "updates/s", specs, pairs)
    return reporter.show(report, figures(report), draw(report))


if __name__ == "__main__":
    main()
