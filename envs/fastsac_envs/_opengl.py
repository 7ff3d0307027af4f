"""OpenGL, with which MuJoCo draws, for machines without a display.  Without it MuJoCo may end the program."""

import ctypes
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

REMEDY = "Install one (Debian: {}), or in a container with an NVIDIA GPU set NVIDIA_DRIVER_CAPABILITIES=all"
NO_DRIVER = f"MuJoCo draws with OpenGL, for which there is no driver here that works. {REMEDY.format('libegl-mesa0')}"
TRY = "import mujoco; mujoco.GLContext(64, 64).make_current()"


def has_opengl() -> bool:
    """MuJoCo will find OpenGL, without which it ends the program: all libraries of the process can see it."""
    return any(hasattr(ctypes.CDLL(None), f"{platform}GetProcAddress") for platform in ("egl", "OSMesa"))


def load_opengl() -> None:
    """Let all libraries of the process see the EGL that envpool's wheel holds: of another one MuJoCo makes no use."""
    package = find_spec("envpool")
    folders = package.submodule_search_locations or () if package else ()
    for library in (path for folder in folders for path in Path(folder).parent.glob("envpool.libs/libEGL*")):
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)


def choose_mujoco_gl() -> None:
    """Choose how the package mujoco, if it is in use, draws without a display: as MUJOCO_GL says, by EGL, or by OSMesa.

    Each is tried in a process of its own: after a failure another one may end the program.

    Raises:
        ValueError: none of them works.
    """
    if "mujoco" not in sys.modules or "MUJOCO_GL" in os.environ or os.environ.get("DISPLAY"):
        return
    for name in ("egl", "osmesa"):
        environment = {**os.environ, "MUJOCO_GL": name}
        if subprocess.run([sys.executable, "-c", TRY], env=environment, capture_output=True).returncode == 0:
            os.environ["MUJOCO_GL"] = name
            return
    raise ValueError(
        "MuJoCo draws with OpenGL, and without a display neither EGL nor OSMesa works here. "
        f"{REMEDY.format('libegl1 and libegl-mesa0, or libosmesa6')}."
    )
