"""How many updates a second does the learner make, draw included, beside the peers on the same sizes?"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from bench import harness, in_turn, own
from fastsac.launch import Mode

Peer = Literal["sb3", "sbx", "brax", "tianshou", "skrl", "torchrl", "cleanrl", "leanrl"]

ROWS: dict[Peer, dict[str, dict[str, Any]]] = {
    "sb3": {"Stable-Baselines3": {}},
    "sbx": {"SBX, 1 per call": {"per_call": 1}, "SBX, 500 per call": {"per_call": 500}},
    "brax": {"Brax, scan of 500": {"per_call": 500}},
    "tianshou": {"Tianshou": {}},
    "skrl": {"skrl": {}},
    "torchrl": {"torchrl, compiled": {"compile": True}, "torchrl, eager": {"compile": False}},
    "cleanrl": {"CleanRL": {}},
    "leanrl": {"LeanRL, compiled": {}},
}
"""Rows of each peer, and the arguments of its adapter."""


@dataclass(frozen=True, kw_only=True)
class PeerSettings(harness.Settings):
    """Which peers to measure, and where the scripts of two of them are."""

    peers: tuple[Peer | Literal["none"], ...] = get_args(Peer)
    """What to measure beside this program; none for nothing."""
    cleanrl: Path | None = None
    """Checkout of CleanRL, whose script is run as it is."""
    leanrl: Path | None = None
    """Checkout of LeanRL, whose script is run as it is."""

    def checkout(self, peer: str) -> Path | None:
        """The folder that a peer's script is in, for one that comes as scripts."""
        return {"cleanrl": self.cleanrl, "leanrl": self.leanrl}.get(peer)

    def spec(self, name: str, peer: str, **asked: Any) -> in_turn.Spec | harness.Skipped:
        """A peer's process; `asked` are fields of `in_turn.Spec`."""
        if peer in ("cleanrl", "leanrl"):
            folder = self.checkout(peer)
            if folder is None:
                return harness.Skipped(name, f"no checkout given; --{peer} DIR names one")
            asked["options"] = {**asked.get("options", {}), "checkout": str(folder.resolve())}
        return in_turn.Spec(name=name, adapter=peer, **asked)


@dataclass(frozen=True, kw_only=True)
class Settings(PeerSettings, own.Sizes):
    """Settings of this measurement."""

    modes: tuple[Mode, ...] = ()
    """Ways to run this program's update; default compiled and eager, on cuda captured too."""


def main(argv: Sequence[str] | None = None) -> harness.Report:
    settings, device = harness.start(Settings, "update", __doc__, argv)
    reporter = harness.Reporter("update", __doc__, settings)

    sizes = {f.name: getattr(settings, f.name) for f in fields(own.Sizes)} | {"device": str(device)}
    modes = settings.modes or (("captured", "compiled", "eager") if device.type == "cuda" else ("compiled", "eager"))
    mine = [f"fastsac, {mode}" for mode in modes]
    specs: list[in_turn.Spec | harness.Skipped] = [
        in_turn.Spec(name=name, adapter="own", python=in_turn.THIS, what="updates", sizes=sizes, options={"mode": mode})
        for name, mode in zip(mine, modes, strict=True)
    ]
    theirs = []
    for peer in settings.peers:
        for name, options in ROWS.get(peer, {}).items():  # none has no rows
            theirs.append(name)
            specs.append(settings.spec(name, peer, what="updates", sizes=sizes, options=options))
    with in_turn.started(specs, settings.threads) as candidates:
        rows = harness.interleave(candidates, settings.repeats, settings.seconds)

    pairs = [(mine[0], name) for name in [*theirs, *mine[1:]]] + [(name, "Stable-Baselines3") for name in mine[1:]]
    ratios = [r for pair in pairs if (r := harness.ratio(rows, *pair))]
    report = reporter.finish(unit="updates/s", rows=rows, ratios=ratios)
    harness.show_rates(report)
    return report


if __name__ == "__main__":
    main()
