"""Two commits side by side: do the same commands give the same numbers, bit for bit, on this machine?

Usage: python tests/golden/compare.py BASE [CASE ...]  (make golden BASE=COMMIT).  BASE is a commit, or a folder with a
checkout.  Each case is a command line of `fastsac train` that both run, in processes of their own.  Compared are
metrics.csv and eval.csv without their time columns, and the tensors of the newest checkpoint's learner, whose names may
differ.
"""

import csv
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

HERE = Path(__file__).resolve().parents[2]
TIME_COLUMNS = {"wall_s", "env_steps_per_s", "grad_steps_per_s", "env_wait_s", "device_wait_s", "host_s"}

COMMON = (
    "--preset", "none", "--num-envs", "4", "--total-steps", "240", "--learning-starts", "32", "--batch-size", "16",
    "--buffer-size", "400", "--hidden-dims", "32", "32", "--log-every", "40", "--eval-every", "80",
    "--eval-episodes", "2", "--checkpoint-every", "100", "--device", "cpu", "--cpu-threads", "1", "--no-tensorboard",
)  # fmt: skip
PENDULUM, CARTPOLE = ("--env", "Pendulum-v1"), ("--env", "CartPole-v1")
SCRIPTED = ("--env", "tests.support.scripted_env:3t,5c,2b,9c")
IMAGES = ("--env", "tests.support.image_env:Side")
EAGER: dict[str, tuple[str, ...]] = {
    "sac": (*PENDULUM, "--algo", "sac"),
    "sac-v1": (*PENDULUM, "--algo", "sac-v1", "--init-alpha", "0.2"),
    "sac-discrete": (*CARTPOLE, "--algo", "sac-discrete"),
    "sql": (*PENDULUM, "--algo", "sql", "--init-alpha", "0.3"),
    "sql-discrete": (*CARTPOLE, "--algo", "sql-discrete", "--init-alpha", "0.5"),
    "members": (*SCRIPTED, "--seeds", "3", "--actor-delay", "2"),
    "sweep": (*PENDULUM, "--sweep", "critic_lr=1e-4,1e-3", "gamma=0.9,0.99"),
    "n-step": (*SCRIPTED, "--n-step", "3", "--obs-norm"),
    "n-step without entropy": (*SCRIPTED, "--n-step", "3", "--no-n-step-entropy", "--reward-clip", "5"),
    "n-step discrete": (*CARTPOLE, "--n-step", "3"),
    "images": (*IMAGES, "--eval-every", "0", "--total-steps", "60", "--conv-channels", "4"),
    "delayed actor": (*PENDULUM, "--actor-delay", "3", "--max-grad-norm", "1", "--critic-layer-norm"),
    "five critics": (*PENDULUM, "--num-critics", "5", "--utd-ratio", "2", "--no-backup-entropy"),
    "fixed temperature": (*PENDULUM, "--no-learn-alpha", "--init-alpha", "0.1", "--reward-scale", "0.1"),
    "gymnasium": ("--env", "gymnasium:Pendulum-v1", "--num-envs", "2"),
}
COMPILED = ("sac", "sac-v1", "sac-discrete", "sql", "sql-discrete", "members", "n-step", "images", "delayed actor")
CASES = {
    **{f"{name}, eager": (*args, "--compile", "off") for name, args in EAGER.items()},
    **{f"{name}, compiled": (*EAGER[name], "--compile", "on") for name in COMPILED},
}
RESUMED = ("sac, eager", "members, eager", "n-step, eager", "sac, compiled")  # stopped and gone on with, too


def record(tree: Path, case: str, folder: Path) -> dict[str, Any]:
    """What a case comes to in a checkout: rows of the tables, and a hash of the learner's tensors."""
    run_dir = folder / "run"
    train(tree, [*COMMON, *CASES[case], "--run-dir", str(run_dir)])
    if case in RESUMED:
        train(tree, ["--resume", str(run_dir), "--total-steps", "360"])
    tables = {name: rows(run_dir / name) for name in ("metrics.csv", "eval.csv")}
    newest = max((run_dir / "checkpoints").glob("*step_*"))
    return {**tables, "learner": tensors_hash(newest / "learner.pt")}


def train(tree: Path, args: list[str]) -> None:
    # The environments of these tests are taken from here where the checkout has none of their names.
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tree, tree / "envs", HERE)))}
    command = [sys.executable, "-m", "fastsac", "train", *args]
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{tree}: fastsac train {' '.join(args)} ended with {done.returncode}: {done.stderr[-2000:]}")


def rows(table: Path) -> list[dict[str, str]]:
    """Rows of a table without what time it took."""
    with table.open(newline="") as f:
        return [{k: v for k, v in row.items() if k not in TIME_COLUMNS} for row in csv.DictReader(f)]


def tensors_hash(path: Path) -> str:
    """Of all tensors of the learner's state, whatever their names."""
    leaves = pytree.tree_leaves(torch.load(path, weights_only=True)["state"])
    each = sorted(
        hashlib.sha256(f"{tuple(t.shape)} {t.dtype}".encode() + t.numpy().tobytes()).hexdigest() for t in leaves
    )
    return hashlib.sha256("".join(each).encode()).hexdigest()[:16]


def difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str | None:
    """The first thing that differs, in words."""
    for name in ("metrics.csv", "eval.csv"):
        for i, (a, b) in enumerate(zip(ours[name], theirs[name], strict=False)):
            common = [key for key in a if key in b and not same(a[key], b[key])]
            if common:
                return f"{name}, row {i + 1}: {common[0]} {a[common[0]]}, was {b[common[0]]}"
        if len(ours[name]) != len(theirs[name]):
            return f"{name}: {len(ours[name])} rows, were {len(theirs[name])}"
    return None if ours["learner"] == theirs["learner"] else "the learner's tensors"


def same(ours: str, theirs: str) -> bool:
    """Whether cells are equal; an older version may have written a float32 with the digits of a float64."""
    return ours == theirs or ("" not in (ours, theirs) and float(ours) == float(str(np.float32(theirs))))


@contextmanager
def checkout(base: str) -> Iterator[Path]:
    """A folder with the commit."""
    if Path(base).is_dir():
        yield Path(base).resolve()
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "base"
        command = ["git", "worktree", "add", "--detach", str(tree), base]
        subprocess.run(command, cwd=HERE, check=True, capture_output=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=HERE, check=True)


def main(base: str, names: list[str]) -> int:
    """Compare; how many cases differ."""
    chosen = [case for case in CASES if not names or any(name in case for name in names)]
    differing = 0
    with checkout(base) as tree, tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        for case in chosen:
            places = [Path(folder) / case / side for side in ("ours", "theirs")]
            ours, theirs = pool.map(record, (HERE, tree), (case, case), places)
            found = difference(ours, theirs)
            differing += found is not None
            print(f"{'differs' if found else 'equal':8} {case}{f': {found}' if found else ''}", flush=True)
    print(f"{len(chosen) - differing} of {len(chosen)} cases equal, bit for bit")
    return differing


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1], sys.argv[2:])))
