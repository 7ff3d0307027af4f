"""Short whole runs on scripted environments, and what is read from what they leave."""

import csv
import resource
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastsac import checkpoint
from fastsac.config.settings import Config
from fastsac.run.plan import make_plan
from fastsac.run.result import Result
from fastsac.run.trainer import Run, train
from tests.support.forked import Forked

TIME_COLUMNS = {"wall_s", "env_steps_per_s", "grad_steps_per_s", "env_wait_s", "device_wait_s", "host_s"}
BASE = Config(
    env="tests.support.scripted_env:3t,5c,2b,9c", num_envs=4, total_steps=60, learning_starts=16, batch_size=8,
    buffer_size=400, hidden_dims=(8,), log_every=20, eval_every=0, eval_episodes=3, checkpoint_every=0, device="cpu",
    compile="off", tensorboard=False,
)  # fmt: skip
Hook = Callable[[Run], object]


def run(tmp_path: Path, name: str = "run", **changes: Any) -> Result:
    return train(BASE.replace(run_dir=str(tmp_path / name), **changes))


def rows(path: Path, without: Collection[str] = ()) -> list[dict[str, str]]:
    with path.open() as f:
        return [{k: v for k, v in row.items() if k not in without} for row in csv.DictReader(f)]


def parameters(result: Result) -> dict[str, Tensor]:
    params: dict[str, Tensor] = checkpoint.load(result.run_dir)[0]["state"]["params"]
    return params


def complaints(err: str) -> str:
    """What stands on stderr but for the line that names a module which a run's settings ask for."""
    return "".join(line for line in err.splitlines(keepends=True) if ": importing tests." not in line)


TINY = [
    "--preset", "none", "--num-envs", "4", "--total-steps", "100000000", "--learning-starts", "16", "--batch-size", "8",
    "--hidden-dims", "8", "--compile", "off", "--log-every", "50", "--buffer-size", "1000", "--no-tensorboard",
    "--eval-every", "0", "--device", "cpu", "--utd-ratio", "0.25",
]  # fmt: skip


@contextmanager
def file_size_limit(num_bytes: int) -> Iterator[None]:
    """Writes beyond it fail with EFBIG, as those to a full disk fail with ENOSPC."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def run_with(tmp_path: Path, hook: Hook, **changes: Any) -> Result:
    """A run in which `hook(training)` is called after every vector step."""
    with Run(make_plan(BASE.replace(run_dir=str(tmp_path / "run"), **changes))) as training:
        go_wrong(training, hook)
        return training.train()


def go_wrong(training: Run, hook: Hook) -> None:
    """Call `hook(training)` after every vector step."""
    recv = training.collector.recv

    def recv_then_hook() -> None:
        recv()
        hook(training)

    training.collector.recv = recv_then_hook  # type: ignore[method-assign]  # of this run's collector alone


def wait_for(process: subprocess.Popen[str] | Forked, condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def num_rows(path: Path) -> int:
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def contents(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    """All that is there, with the times at which it was changed."""
    paths = [folder, *sorted(folder.rglob("*"))]
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else None) for p in paths}


def dumps(folder: Path) -> list[Any]:
    """What a run wrote of losses and parameters that are not finite, in order."""
    return [torch.load(path, weights_only=True) for path in sorted(folder.glob("nan-*/member*.pt"))]
