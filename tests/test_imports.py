"""Imports go one way from room to room, the core names no simulator, back ends know only the contract."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastsac.config.algorithms import ALGORITHMS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fastsac"

# What each folder of fastsac/ may import; modules at the top are in AT_THE_TOP and PUBLIC.
MAY_IMPORT: dict[str, set[str]] = {
    "disk": set(),
    "film": set(),
    "config": {"disk"},
    "env": set(),
    "nn": set(),
    "policies": set(),
    "runtime": {"config"},
    "checkpoint": {"config", "disk"},
    "report": {"config", "disk", "film"},
    "algorithms": {"config", "env", "nn"},
    "learning": {"config", "env", "nn", "runtime", "algorithms"},
    "acting": {"config", "env", "film", "nn", "runtime", "algorithms", "learning"},
    "run": {
        "disk",
        "config",
        "env",
        "film",
        "nn",
        "runtime",
        "checkpoint",
        "report",
        "algorithms",
        "learning",
        "acting",
    },
    "deploy": {"disk", "config", "env", "nn", "runtime", "algorithms", "acting", "run"},
    "cli": {
        "disk",
        "config",
        "env",
        "film",
        "nn",
        "policies",
        "runtime",
        "report",
        "algorithms",
        "acting",
        "run",
        "deploy",
    },
}
AT_THE_TOP = {
    "policy.py": {"config", "env", "nn", "policies", "algorithms", "run"},
    "environments.py": {"config", "env", "nn", "acting", "policy"},
    "api.py": {"config", "env", "algorithms", "acting", "run", "deploy", "policy", "environments"},
}
# What rooms may take from the top.
PUBLIC = {"deploy": {"policy"}, "cli": {"__version__", "api", "environments", "policy"}}
SIMULATORS = {
    "ale_py", "brax", "dm_control", "envpool", "fastsac_envs", "gym", "gymnasium", "isaaclab", "mujoco",
    "mujoco_playground", "procgen", "pybullet",
}  # fmt: skip

CORE = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BACKENDS = sorted((ROOT / "envs" / "fastsac_envs").glob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def imports(path: Path) -> Iterator[str]:
    """Dotted names of all modules that a file imports, also inside functions; `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import; name the package"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_of(path: Path) -> set[str]:
    """Folders of fastsac, or names at its top, that a file imports from."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("fastsac.")}


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    room, *rest = path.relative_to(PACKAGE).parts
    if not rest:
        assert room in ("__init__.py", "__main__.py") or rooms_of(path) <= AT_THE_TOP[room], name_of(path)
        return
    assert room in MAY_IMPORT, f"{room}/ is new: say in MAY_IMPORT what it may import"
    wrong = rooms_of(path) - {room} - MAY_IMPORT[room] - PUBLIC.get(room, set())
    assert not wrong, f"{name_of(path)} must not import from {', '.join(sorted(wrong))}"


def test_no_folder_imports_one_that_imports_it() -> None:
    order: list[str] = []
    while len(order) < len(MAY_IMPORT):
        ready = [room for room, others in MAY_IMPORT.items() if room not in order and others <= set(order)]
        assert ready, f"a circle among {set(MAY_IMPORT) - set(order)}"
        order += ready


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_algorithms_know_nothing_of_each_other(path: Path) -> None:
    algorithms = {name.replace("-", "_") for name in ALGORITHMS}
    if path.parent.name == "algorithms" and path.stem in algorithms:
        named = {name.split(".")[2] for name in imports(path) if name.startswith("fastsac.algorithms.")}
        assert named.isdisjoint(algorithms - {path.stem})


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_core_names_no_simulator(path: Path) -> None:
    assert {name.split(".")[0] for name in imports(path)}.isdisjoint(SIMULATORS)


@pytest.mark.parametrize("path", BACKENDS, ids=name_of)
def test_back_ends_know_only_the_contract(path: Path) -> None:
    assert rooms_of(path) <= {"env"}


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_tests_share_only_their_support(path: Path) -> None:
    taken = {name.split(".")[1] for name in imports(path) if name.startswith("tests.")}
    assert taken <= {"support"}, f"{name_of(path)}: what two tests use belongs into tests/support"


def test_every_room_says_what_it_owns() -> None:
    for room in MAY_IMPORT:
        assert ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())), room


def test_the_checker_sees_what_it_should(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(
        "import envpool.core\ndef f():\n    from fastsac import Config\n    from fastsac.nn.network import Net\n"
    )
    assert {name.split(".")[0] for name in imports(path)} == {"envpool", "fastsac"}
    assert rooms_of(path) == {"Config", "nn"}
