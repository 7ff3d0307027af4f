"""The natural speed of envpool's tasks, which envpool does not tell."""

from collections.abc import Mapping
from typing import Any

USUAL = 1 / 30
# Seconds of a frame, by family and the beginning of a task's name, the first that fits; a step has frame_skip frames.
# Of simulators those of their models, of the others those that Gymnasium's versions are shown at.
SECONDS: dict[str, dict[str, float]] = {
    "atari": {"": 1 / 60},
    "box2d": {"": 1 / 50},
    "classic_control": {"CartPole": 1 / 50, "Acrobot": 1 / 15, "": USUAL},
    "dmc": {
        "Acrobot": 0.01, "Cartpole": 0.01, "Cheetah": 0.01, "Dog": 0.005, "Finger": 0.01, "Fish": 0.004,
        "Hopper": 0.005, "HumanoidCMU": 0.002, "Humanoid": 0.005, "Lqr": 0.03, "Manipulator": 0.001, "Pendulum": 0.02,
        "PointMass": 0.02, "Quadruped": 0.005, "Reacher": 0.02, "Stacker": 0.001, "Walker": 0.0025, "": 0.002,
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


def steps_per_s(task: str, family: str, config: Mapping[str, Any]) -> float:
    """Steps in a second of a task's own time, by its envpool settings."""
    if "ctrl_dt" in config:
        return float(1 / config["ctrl_dt"])
    if "policy_frequency" in config:
        return float(config["policy_frequency"])
    name = task.rpartition("/")[2]
    of_family = SECONDS.get(family, {}).items()
    seconds = next((seconds for start, seconds in of_family if name.startswith(start)), USUAL)
    return 1 / (seconds * int(config.get("frame_skip", 1)))
