"""Processes that are forked from one that has imported everything, so that each starts at once.

A start of Python and all imports takes seconds of processor time.  Where that start, what is read at import or the end
of the interpreter is the point, a test runs `sys.executable`.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fastsac.cli.main import main

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "fastsac.cli.train", "fastsac.report.curves", "fastsac.run.trainer", "fastsac.runtime.reduction",
        "fastsac_envs.envpool", "fastsac_envs.gymnasium", "tests.support.rank_runs", "tests.support.scripted_env",
    ]
)  # fmt: skip


class Forked:
    """A process that calls `function(*args)` of some module, with the interface of `subprocess.Popen`.

    It has this process's working directory and environment, and prints into files of its own.
    """

    def __init__(
        self,
        prefix: Path,
        function: Callable[..., object],
        *args: Any,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Start it.

        Args:
            prefix: of the files that it prints into, in a folder that is there.
            function: what it calls.
            args: what with.
            variables: further ones of the environment.
        """
        self._files = [Path(f"{prefix}.{name}") for name in ("out", "err")]
        self._process = CONTEXT.Process(target=_call, args=(self._files, {**os.environ, **variables}, function, args))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The status with which it ended, -9 where it was killed; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout or 0.0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        return self.printed()

    def printed(self) -> tuple[str, str]:
        """What it has printed so far, on stdout and on stderr."""
        out, err = (file.read_text() if file.exists() else "" for file in self._files)
        return out, err

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def command(prefix: Path, *args: str, variables: Mapping[str, str] = MappingProxyType({})) -> Forked:
    """`fastsac ARGS` in a process of its own."""
    return Forked(prefix, _command, args, variables=variables)


def _command(args: list[str]) -> None:
    sys.exit(main(args))


def _call(files: list[Path], variables: dict[str, str], function: Callable[..., object], args: tuple[Any, ...]) -> None:
    """In a process of its own."""
    os.environ.clear()
    os.environ.update(variables)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, path in zip((1, 2), files, strict=True):
        with path.open("w") as file:
            os.dup2(file.fileno(), number)
    function(*args)
