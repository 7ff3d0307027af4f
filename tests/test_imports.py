"""Imports go one way, the core names no simulator, and back ends know only the environment contract."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A module may import from the layers above it, and from its own layer unless that is of variants.
VARIANTS = {"sac", "sac_v1", "sac_discrete", "sql", "sql_discrete"}
LAYERS = (
    {"kinds", "json_text", "files", "presets", "sweep", "duration", "stopping", "scarcity", "compile_cache", "modules"},
    {"config", "env", "device", "tables"},
    {
        "nets",
        "encoder",
        "gaussian",
        "losses",
        "optim",
        "random",
        "replay",
        "normalize",
        "metrics",
        "launch",
        "variants",
        "env_errors",
        "foreign",
        "progress",
        "plot",
        "plot_data",
        "plot_sweep",
        "ranking",
        "result",
        "stats",
        "threads",
        "versions",
    },
    VARIANTS,
    {"learner", "toolchain"},
    {"behaviour", "collect", "checkpoint", "checkpoint_writer", "evaluate", "best", "faults"},
    {"background", "run_dir"},
    {"plan", "policy", "extract"},
    {"training"},
    {"doctor"},
    {"cli"},
    {"__init__", "__main__"},
)
LEVEL = {name: level for level, layer in enumerate(LAYERS) for name in layer}
FOR_PEOPLE = {
    "progress": {"training", "cli"},
    "plot": {"plot_sweep", "cli"},
    "plot_sweep": {"cli"},
    "ranking": {"plot_sweep", "cli"},
    "doctor": {"cli"},
}
SIMULATORS = {
    "ale_py", "brax", "dm_control", "envpool", "fastsac_envs", "gym", "gymnasium", "isaaclab", "mujoco",
    "mujoco_playground", "procgen", "pybullet",
}  # fmt: skip

CORE = sorted((ROOT / "fastsac").glob("*.py"))
BACKENDS = sorted((ROOT / "envs" / "fastsac_envs").glob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Dotted names of all modules that a file imports, also inside functions; `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import; name the package"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def core_imports(path: Path) -> set[str]:
    """Modules of fastsac that a file imports."""
    parts = [name.split(".") for name in imports(path)]
    return {p[1] if len(p) > 1 and p[1] in LEVEL else "__init__" for p in parts if p[0] == "fastsac"}


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_imports_go_one_way(path: Path) -> None:
    name = path.stem
    assert name in LEVEL, f"{path.name} is new: give it a place in LAYERS"
    for other in core_imports(path) - {"__init__"}:
        assert LEVEL[other] <= LEVEL[name], f"{name} must not import {other}, which is above it"
        assert not {name, other} <= VARIANTS, f"{name} must not import {other}: variants compose the parts they keep"
        assert name in FOR_PEOPLE.get(other, {name}), f"{name} must not import {other}"


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_core_names_no_simulator(path: Path) -> None:
    assert {name.split(".")[0] for name in imports(path)}.isdisjoint(SIMULATORS)


@pytest.mark.parametrize("path", BACKENDS, ids=lambda path: path.stem)
def test_back_ends_know_only_the_contract(path: Path) -> None:
    assert core_imports(path) <= {"env"}


def test_the_checker_sees_what_it_should(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(
        "import envpool.core\ndef f():\n    from fastsac import sac, Config\n    from fastsac.nets import actor\n"
    )
    assert {name.split(".")[0] for name in imports(path)} == {"envpool", "fastsac"}
    assert core_imports(path) == {"sac", "nets", "__init__"}
