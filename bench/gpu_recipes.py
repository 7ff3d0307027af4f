"""What do recipes come to on a GPU?  Runs, each with its own limit of time, whose outputs go into a folder.

A run that fails, or for which the time is too short, does not stop the next.  A run's folder has the log, and its
eval.csv and summary.json as far as they came, or the report of bench.solve.
"""

import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import tyro

from bench.lib import harness
from fastsac.cli.parsing import parse

KEPT = ("run/eval.csv", "run/summary.json", "solve*")  # of what a command leaves in its folder
NO_PUSHES = '{"push_enable": false, "push_magnitude_min": 0.0, "push_magnitude_max": 0.0}'


class Job(NamedTuple):
    """A command, after `python -m`, and the seconds that it may take; FOLDER is that of its outputs."""

    command: str
    limit_s: float


def training(flags: str, limit_s: float) -> Job:
    """A training on a GPU."""
    return Job(
        f"fastsac train {flags} --device cuda --checkpoint-every 0 --no-tensorboard --run-dir FOLDER/run", limit_s
    )


def flashsac(env: str, steps: int, limit_s: float) -> Job:
    """FlashSAC for simulators on a CPU, three seeds as members."""
    flags = f"--env {env} --preset flashsac-cpu-sim --seeds 3 --total-steps {steps} --eval-every {steps // 10}"
    return training(flags, limit_s)


JOBS = {
    "halfcheetah": flashsac("HalfCheetah-v5", 100_000, 300),  # at least 9,500, in 45 s if it can be
    "humanoid-100k": flashsac("Humanoid-v5", 100_000, 400),
    "humanoid-300k": flashsac("Humanoid-v5", 300_000, 1_000),
    "ant-100k": flashsac("Ant-v5", 100_000, 400),
    "ant-300k": flashsac("Ant-v5", 300_000, 1_000),
    "g1": training(  # at least 36
        f"--env G1JoystickFlatTerrain-v1 --preset flashsac --total-steps 30000000 --env-kwargs '{NO_PUSHES}'",
        3_600,
    ),
    "grid": Job(  # plain SAC: seconds to two returns, by settings
        "bench.solve --envs HalfCheetah-v5 --thresholds 5000 10000 --seeds 1 --eval-every 50000 --max-wall-s 150 "
        "--device cuda --grid num_envs=64,256 utd_ratio=0.0625,0.25 batch_size=256,1024 critic_lr=1e-3,2e-3 "
        "--json FOLDER/solve.json",
        3_600,
    ),
}
"""The runs by name, in order."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to run, and where the outputs go."""

    folder: tyro.conf.Positional[Path]
    """Folder for the outputs, with a new folder for each run."""
    runs: tuple[str, ...] = tuple(JOBS)
    """Names of the runs."""
    args: str = ""
    """More flags for each command, as one string: `--args="--device cpu"`."""

    def __post_init__(self) -> None:
        harness.among("runs", self.runs, tuple(JOBS))
        if taken := [name for name in self.runs if (self.folder / name).exists()]:
            raise ValueError(f"folder {self.folder} has outputs of {', '.join(taken)}. Give another one.")


def main(argv: Sequence[str] | None = None) -> int:
    with harness.one_line("gpu_recipes"):
        words = list(sys.argv[1:] if argv is None else argv)
        settings = parse(Settings, "python -m bench.gpu_recipes", words, about=__doc__)
    ended_well = [run(name, JOBS[name], settings) for name in settings.runs]
    return 0 if all(ended_well) else 1


def run(name: str, job: Job, settings: Settings) -> bool:
    """One run; says how it ended, and returns whether it ended well."""
    outputs = settings.folder / name
    outputs.mkdir(parents=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, (outputs / "log.txt").open("w") as log:
        words = command_of(job, Path(scratch), settings.args)
        log.write(f"{shlex.join(['python', '-m', *words])}\n\n")
        log.flush()
        try:
            done = subprocess.run(
                [sys.executable, "-m", *words], stdout=log, stderr=subprocess.STDOUT, timeout=job.limit_s
            )
            status = f"status {done.returncode}"
        except subprocess.TimeoutExpired:
            status = f"no end in {job.limit_s:,.0f} s"
        for path in [path for pattern in KEPT for path in Path(scratch).glob(pattern)]:
            shutil.copy(path, outputs)
    print(f"{name}: {status} after {time.monotonic() - began:,.0f} s, in {outputs}", flush=True)
    return status == "status 0"


def command_of(job: Job, folder: Path, args: str = "") -> list[str]:
    """The words of a command, whose outputs go to a folder."""
    return [word.replace("FOLDER", str(folder)) for word in shlex.split(f"{job.command} {args}")]


if __name__ == "__main__":
    sys.exit(main())
