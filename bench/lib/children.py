"""A candidate in a process of its own: the parent's side of `bench.peers.serve`.

Each system is a fresh process with the same thread settings.  All are started, built and warmed up one after the
other; then they wait for their turn, without using the processor, and `harness.interleave` tells them to run.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from bench.lib import harness
from bench.lib.processes import last_line, variables
from bench.lib.record import Reporter, commit_of
from bench.peers import environments

Peer = Literal["sb3", "sbx", "brax", "tianshou", "skrl", "torchrl", "cleanrl", "leanrl"]

Pairs = Sequence[tuple[str, str]]
THIS = Path(sys.executable)
LIMIT_S = 900.0  # building compiles, and none takes a tenth of this


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a child is to be.

    Attributes:
        name: its row's name.
        adapter: module in `bench.peers`.
        what: function of the adapter.
        sizes: fields of `common.Sizes` or `common.Task`.
        options: further arguments of the function.
        python: interpreter; None is that of the adapter's peer.
        checkout: of this program, whose package is taken instead of this one's.
        cache: folder of what compiling leaves; None is the user's.
    """

    name: str
    adapter: str
    what: Literal["updates", "env_steps"]
    sizes: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    python: Path | None = None
    checkout: Path | None = None
    cache: Path | None = None


class Child:
    """A process that answers JSON lines; checkout and cache are as in `Spec`."""

    def __init__(
        self, python: Path, module: str, threads: int, checkout: Path | None = None, cache: Path | None = None
    ) -> None:
        # Simulators and loggers leave files where they run.
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._log = Path(self._folder.name) / "stderr"
        if checkout is not None:  # python -m looks into the folder it runs in before all others
            for package in (checkout / "fastsac", checkout / "envs" / "fastsac_envs", checkout / "bench"):
                (Path(self._folder.name) / package.name).symlink_to(package)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(python), "-m", "bench.peers.serve", module],
                cwd=self._folder.name,
                env=variables(threads, cache) | {"PYTHONWARNINGS": "ignore"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, request: dict[str, Any], limit_s: float = LIMIT_S) -> dict[str, Any]:
        """Send a request of `bench.peers.serve`, and wait for its answer.

        Raises:
            harness.Failed: the child answered with an error, or ended, or gave no answer in time.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        began = time.monotonic()
        stuck = threading.Timer(limit_s, self._process.kill)
        stuck.start()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            stuck.cancel()
        if not line:
            status = self._process.wait()
            if time.monotonic() - began >= limit_s:
                raise harness.Failed(f"ended, for it had given no answer after {limit_s:,g} seconds")
            raise harness.Failed(f"ended with status {status}: {last_line(self._log.read_text(errors='replace'))}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise (harness.Unable if answer["unsupported"] else harness.Failed)(answer["error"])
        return answer

    def run(self, units: int) -> harness.Timed:
        """Do about so much work; the seconds are the child's own."""
        answer = self.ask({"run": units})
        return harness.Timed(answer["done"], answer["seconds"])

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._folder.cleanup()


@contextlib.contextmanager
def started(specs: Sequence[Spec | harness.Absent], threads: int) -> Iterator[list[harness.Candidate | harness.Absent]]:
    """The candidates of these processes, built one after the other; the processes end with the block.

    A peer that is not installed, cannot do what is asked for, or fails is an `Absent`.
    """
    with contextlib.ExitStack() as stack:
        yield [spec if isinstance(spec, harness.Absent) else _start(spec, threads, stack) for spec in specs]


def _start(spec: Spec, threads: int, stack: contextlib.ExitStack) -> harness.Candidate | harness.Absent:
    python = spec.python or environments.python_of(spec.adapter)
    if python is None:
        how = environments.how_to_install(spec.adapter)
        return harness.Absent(spec.name, f"not installed; {how} makes an environment for it")
    print(f"starting {spec.name} ...", file=sys.stderr)
    child = Child(python, f"bench.peers.{spec.adapter}", threads, spec.checkout, spec.cache)
    stack.callback(child.close)
    request = {"what": spec.what, "threads": threads, "sizes": spec.sizes, "options": spec.options}
    try:
        built = child.ask({"build": request})["built"]
    except harness.Failed as error:
        child.close()
        return harness.Absent(spec.name, str(error), failed=not isinstance(error, harness.Unable))
    return harness.Candidate(spec.name, child.run, built["notes"], built["about"])


def compare(
    settings: "Settings", reporter: Reporter, unit: str, specs: Sequence[Spec | harness.Absent], pairs: Pairs
) -> harness.Report:
    """Time these processes in turn; the report has their rates, and the ratios of the pairs."""
    with started(specs, settings.threads) as candidates:
        rows = harness.interleave(candidates, settings.repeats, settings.seconds)
    return reporter.finish(unit=unit, rows=rows, ratios=harness.ratios(rows, pairs))


# Which ones ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Settings(harness.Settings):
    """Which peers to measure, and where the scripts of two of them are."""

    peers: tuple[Peer | Literal["none"], ...] = get_args(Peer)
    """What to measure beside this program; none for nothing."""
    cleanrl: Path | None = None
    """Checkout of CleanRL, whose script is run as it is."""
    leanrl: Path | None = None
    """Checkout of LeanRL, whose script is run as it is."""
    before: Path | None = None
    """Checkout of another commit of this program, which its own adapter measures, too: before and after in one run."""

    def own(self, after: str, **asked: Any) -> list[Spec]:
        """This program's process, and that of the other checkout where there is one; `asked` are fields of `Spec`."""
        specs = [Spec(name=f"fastsac{after}", adapter="own", python=THIS, **asked)]
        if self.before is not None:
            if not (self.before / "fastsac" / "__init__.py").exists():
                raise SystemExit(f"bench: before must be a checkout of fastsac, got {self.before}.")
            name = f"fastsac of {commit_of(self.before)}{after}"
            specs.append(replace(specs[0], name=name, checkout=self.before.resolve()))
        return specs

    def spec(self, name: str, peer: str, **asked: Any) -> Spec | harness.Absent:
        """A peer's process; `asked` are fields of `Spec`."""
        if peer in environments.SCRIPTS:
            folder: Path | None = getattr(self, peer)
            if folder is None:
                return harness.Absent(name, f"no checkout given; --{peer} DIR names one")
            asked["options"] = {**asked.get("options", {}), "checkout": str(folder.resolve())}
        return Spec(name=name, adapter=peer, **asked)
