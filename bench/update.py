"""How many updates a second does the learner make, draw included, beside the peers on the same sizes?"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from bench import harness, in_turn, own
from bench.peers.environments import NAMES
from fastsac.runtime.launch import Mode

Peer = Literal["sb3", "sbx", "brax", "tianshou", "skrl", "torchrl", "cleanrl", "leanrl"]

ROWS: dict[Peer, dict[str, dict[str, Any]]] = {
    "sbx": {"1 per call": {"per_call": 1}, "500 per call": {"per_call": 500}},
    "brax": {"scan of 500": {"per_call": 500}},
    "torchrl": {"compiled": {"compile": True}, "eager": {"compile": False}},
    "leanrl": {"compiled": {}},
}
"""The rows of a peer that has not just one, by what comes after its name: arguments of its adapter."""
PRODUCTS = "matrix products of an update, alone"


def commit_of(checkout: Path) -> str:
    """The commit of a checkout, seven digits, or the folder's name."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short=7", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else checkout.name


@dataclass(frozen=True, kw_only=True)
class PeerSettings(harness.Settings):
    """Which peers to measure, and where the scripts of two of them are."""

    peers: tuple[Peer | Literal["none"], ...] = get_args(Peer)
    """What to measure beside this program; none for nothing."""
    cleanrl: Path | None = None
    """Checkout of CleanRL, whose script is run as it is."""
    leanrl: Path | None = None
    """Checkout of LeanRL, whose script is run as it is."""
    before: Path | None = None
    """Checkout of another commit of this program, which today's adapter measures, too: before and after in one run."""

    def own(self, after: str, **asked: Any) -> list[in_turn.Spec]:
        """This program's process, and that of the other checkout where there is one.

        Args:
            after: what follows the program's name.
            asked: fields of `in_turn.Spec`.
        """
        specs = [in_turn.Spec(name=f"fastsac{after}", adapter="own", python=in_turn.THIS, **asked)]
        if self.before is not None:
            if not (self.before / "fastsac" / "__init__.py").exists():
                raise SystemExit(f"bench: before must be a checkout of fastsac, got {self.before}.")
            name = f"fastsac of {commit_of(self.before)}{after}"
            specs.append(replace(specs[0], name=name, checkout=self.before.resolve()))
        return specs

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
    asked: dict[str, Any] = {"what": "updates", "sizes": sizes}
    own_specs = [settings.own(f", {mode}", **asked, options={"mode": mode}) for mode in modes]
    mine = [of_mode[0].name for of_mode in own_specs]
    specs: list[in_turn.Spec | harness.Skipped] = [spec for of_mode in own_specs for spec in of_mode]
    before = [(spec.name, other.name) for spec, *others in own_specs for other in others]
    theirs = []
    for peer in settings.peers:
        for way, options in ROWS.get(peer, {"": {}}).items() if peer in NAMES else ():
            name = f"{NAMES[peer]}, {way}" if way else NAMES[peer]
            theirs.append(name)
            specs.append(settings.spec(name, peer, **asked, options=options))
    specs.append(in_turn.Spec(name=PRODUCTS, adapter="products", python=in_turn.THIS, **asked))
    with in_turn.started(specs, settings.threads) as candidates:
        rows = harness.interleave(candidates, settings.repeats, settings.seconds)

    pairs = [(mine[0], name) for name in [*theirs, PRODUCTS, *mine[1:]]]
    pairs += [(name, NAMES["sb3"]) for name in mine[1:]] + before
    ratios = [r for pair in pairs if (r := harness.ratio(rows, *pair))]
    report = reporter.finish(unit="updates/s", rows=rows, ratios=ratios)
    harness.show_rates(report)
    return report


if __name__ == "__main__":
    main()
