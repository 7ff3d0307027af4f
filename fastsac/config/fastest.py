"""Which preset reached a return soonest in our own measurements, by environment and kind of device: data."""

import re
from dataclasses import dataclass
from typing import Literal

from fastsac.config.presets import find_preset

NAME = "fastest"  # the preset that stands for one of these


@dataclass(frozen=True)
class Measured:
    """A preset, none of those measured on this environment and kind of device having been sooner at the return."""

    pattern: str  # regular expression on the task's name
    device: Literal["cpu", "cuda"]
    preset: str
    threshold: float  # mean return of an evaluation
    seconds: float  # to it, from the start of the program or of the training, as the result says
    how: str  # on what, and with which flags beside the preset
    result: str  # file in bench/results


FASTEST = (
    Measured("Pendulum-v1", "cpu", "pendulum", -180, 10.1, "on two cores", "cpu2/solve-pendulum.json"),
    Measured(
        "InvertedDoublePendulum-v5", "cpu", "inverted-double-pendulum", 9_000, 19.1, "on two cores", "cpu2/solve.json"
    ),
    Measured(
        "HalfCheetah-v5", "cuda", "gym-mujoco", 10_000, 136, "on an H100, with --num-envs 256", "h100/halfcheetah.json"
    ),
)


def find_fastest(env: str, device: str) -> tuple[str, str]:
    """Name of the preset for an environment and a device, cpu, cuda or cuda:N, and by which figure; else that of auto.

    Raises:
        ValueError: the device is auto, which is for others to resolve.
    """
    if device == "auto":
        raise ValueError(f"preset {NAME} depends on the device. Give device cpu or cuda.")
    task, kind = env.rpartition(":")[2], device.partition(":")[0]
    for row in FASTEST:
        if row.device == kind and re.fullmatch(row.pattern, task):
            figure = f"{row.threshold:,} in {row.seconds:g} s {row.how} (bench/results/{row.result})"
            return row.preset, f"preset {NAME} is {row.preset} here: {figure}"
    name, _ = find_preset(env)
    return name, f"preset {NAME} is {name} here, as auto is: nothing was measured of {task} on {kind}"
