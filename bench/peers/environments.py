"""The Python environments that the peers live in: `python -m bench.peers.environments [NAME ...]` makes them.

A peer that this interpreter has runs in it.  The others ask for versions that clash with this program's or with each
other's, and have environments beside the repository, `.peers/NAME` (another folder: `FASTSAC_PEERS`).  Standard library
only.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

TORCH = "torch>=2.11,<2.14"
GYMNASIUM = "gymnasium[mujoco]>=1.2,<2"

ENVIRONMENTS: dict[str, tuple[str, ...]] = {
    "sb3": ("stable-baselines3>=2.7,<3", "sb3-contrib>=2.7,<3", GYMNASIUM, TORCH),
    "sbx": ("sbx-rl>=0.24,<1", GYMNASIUM, TORCH),
    # Its training calls functions that JAX 0.10 no longer has, while SBX's newest libraries ask for that.
    "brax": ("brax>=0.14,<0.15", "jax>=0.5.3,<0.10", GYMNASIUM),
    "tianshou": ("tianshou>=2.0,<3", GYMNASIUM, TORCH),
    "skrl": ("skrl>=2.0,<3", GYMNASIUM, TORCH),
    "torchrl": ("torchrl>=0.14,<0.15", "tensordict>=0.14,<0.15", GYMNASIUM, TORCH),
    # For scripts of CleanRL and LeanRL: Gymnasium from 1.0 on has other names for what they read of an episode's end,
    # and newer versions of NumPy and TensorDict refuse what LeanRL asks of them.
    "scripts": (
        "gymnasium[mujoco]>=0.29.1,<1",
        "mujoco>=2.3.7,<3",
        "stable-baselines3>=2.3,<2.4",
        "tensorboard>=2.18",
        "numpy<2.3",
        "tensordict>=0.7,<0.8",
        "torchrl>=0.7,<0.8",
        "tqdm>=4.66",
        "tyro>=0.9",
        "wandb>=0.18",
        TORCH,
    ),
}
"""Name: what pip installs into it."""

PEERS = {name: "stable_baselines3" if name == "sb3" else name for name in ENVIRONMENTS if name != "scripts"}
"""Peer, and its environment's name: the module that tells whether it is installed."""

NAMES = {
    "sb3": "Stable-Baselines3",
    "sbx": "SBX",
    "brax": "Brax",
    "tianshou": "Tianshou",
    "skrl": "skrl",
    "torchrl": "torchrl",
    "cleanrl": "CleanRL",
    "leanrl": "LeanRL",
}
"""What each is called in tables and charts."""

SCRIPTS = ("cleanrl", "leanrl")
"""Peers that are scripts in a checkout; they always run in the environment `scripts`."""


def root() -> Path:
    """The folder of the environments."""
    told = os.environ.get("FASTSAC_PEERS")
    return Path(told) if told else Path(__file__).resolve().parents[2] / ".peers"


def python_in(name: str) -> Path:
    """The interpreter of an environment, whether it is there or not."""
    return root() / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def is_importable(module: str) -> bool:
    """Whether this interpreter has a module; does not import it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def is_in(name: str, module: str) -> bool:
    """Whether an environment has a top-level module."""
    folder = root() / name
    return any(folder.glob(f"lib/python*/site-packages/{module}")) or (folder / "Lib/site-packages" / module).exists()


def python_of(peer: str) -> Path | None:
    """The interpreter that has a peer: this one, that of the peer's environment, or None.

    Raises:
        ValueError: no such peer.
    """
    if peer in SCRIPTS:
        return python_in("scripts") if is_in("scripts", "gymnasium") else None
    if peer not in PEERS:
        raise ValueError(f"unknown peer {peer!r}; choose from {', '.join([*PEERS, *SCRIPTS])}.")
    if is_importable(PEERS[peer]):
        return Path(sys.executable)
    return python_in(peer) if python_in(peer).exists() and is_in(peer, PEERS[peer]) else None


def how_to_install(peer: str) -> str:
    """The command that makes a peer's environment."""
    return f"python -m bench.peers.environments {'scripts' if peer in SCRIPTS else peer}"


def make(name: str) -> None:
    """Make an environment, or bring one that is there up to date."""
    python = python_in(name)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(root() / name)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", *ENVIRONMENTS[name]], check=True)


def main(argv: Sequence[str] | None = None) -> int:
    """List the environments, or make those that are named."""
    names = list(sys.argv[1:] if argv is None else argv)
    unknown = [name for name in names if name not in ENVIRONMENTS]
    if unknown:
        print(f"unknown environment {unknown[0]!r}; choose from {', '.join(ENVIRONMENTS)}.", file=sys.stderr)
        return 2
    if not names:
        for name, requirements in ENVIRONMENTS.items():
            status = str(python_in(name)) if python_in(name).exists() else "not made"
            print(f"{name}: {status}\n    {', '.join(requirements)}")
        for peer in [*PEERS, *SCRIPTS]:
            print(f"{peer} runs in {python_of(peer) or f'nothing yet: {how_to_install(peer)}'}")
    for name in names:
        make(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
