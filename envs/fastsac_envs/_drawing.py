"""What drawing envpool's tasks needs: OpenGL, which MuJoCo looks for, and the natural speed of episodes."""

import ctypes
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

USUAL = 1 / 30
# Seconds of a frame, by family and the beginning of a task's name, the first that fits; a step has frame_skip frames.
# Of simulators those of their models, of the others those that Gymnasium's versions are shown at.
SECONDS: dict[str, dict[str, float]] = {
    "atari": {"": 1 / 60},
    "box2d": {"": 1 / 50},
    "classic_control": {"CartPole": 1 / 50, "Acrobot": 1 / 15, "": USUAL},
    "dmc": {
        "Acrobot": 0.01, "BallInCup": 0.02, "Cartpole": 0.01, "Cheetah": 0.01, "Dog": 0.015, "Finger": 0.02,
        "Fish": 0.04, "Hopper": 0.02, "HumanoidCMU": 0.02, "Humanoid": 0.025, "Lqr": 0.03, "Manipulator": 0.01,
        "Pendulum": 0.02, "PointMass": 0.02, "Quadruped": 0.02, "Reacher": 0.02, "Stacker": 0.01, "Swimmer": 0.03,
        "Walker": 0.025,
    },
    "gym": {"Hopper": 0.002, "Walker2d": 0.002, "Humanoid": 0.003, "InvertedPendulum": 0.02, "": 0.01},
    "jumanji": {"": 1 / 5},
    "metaworld": {"": 0.0025},
    "minigrid": {"": 1 / 10},
    "myosuite": {"": 0.02},
    "pgx": {"": 1 / 2},
    "robotics": {"PointMaze": 0.01, "AntMaze": 0.01, "": 0.002},
    "vizdoom": {"": 1 / 35},
}  # fmt: skip


def has_opengl() -> bool:
    """MuJoCo will find OpenGL, without which it ends the program: all libraries of the process can see it."""
    return any(hasattr(ctypes.CDLL(None), f"{platform}GetProcAddress") for platform in ("egl", "OSMesa"))


def load_opengl() -> None:
    """Let all libraries of the process see the EGL that envpool's wheel holds: of another one MuJoCo makes no use.

    It needs a driver, which says so itself where it is missing.
    """
    package = find_spec("envpool")
    folders = package.submodule_search_locations or () if package else ()
    for library in (path for folder in folders for path in Path(folder).parent.glob("envpool.libs/libEGL*")):
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)


def steps_per_s(task: str, family: str, config: Mapping[str, Any]) -> float:
    """Steps in a second of a task's own time, by its envpool settings."""
    if "ctrl_dt" in config:
        return float(1 / config["ctrl_dt"])
    if "policy_frequency" in config:
        return float(config["policy_frequency"])
    name = task.rpartition("/")[2]
    of_family = SECONDS.get(family, {}).items()
    seconds = next((seconds for start, seconds in of_family if name.startswith(start)), USUAL)
    return 1 / (seconds * config.get("frame_skip", 1))
