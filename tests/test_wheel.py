"""What people install: the built wheel works from another folder, without the checkout."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from fastsac import __version__

ROOT = Path(__file__).parents[1]

SMOKE = """
import fastsac, fastsac_envs, importlib.metadata as metadata, json, sys
points = metadata.entry_points(group="fastsac.envs")
scripts = metadata.entry_points(group="console_scripts", name="fastsac")
from fastsac.env import make_spec
print(json.dumps({
    "files": [fastsac.__file__, fastsac_envs.__file__],
    "envs": sorted(p.name for p in points),
    "scripts": [p.value for p in scripts],
    "version": [metadata.version("fastsac"), fastsac.__version__],
    "obs_dim": make_spec("Pendulum-v1").obs_dim,
}))
"""


def run(*command: str, cwd: Path, site: Path | None = None) -> str:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if site is not None:
        env["PYTHONPATH"] = str(site)  # before the editable install
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist, so that both are known to be complete."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), cwd=ROOT)
    return out


@pytest.fixture(scope="module")
def site(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, installed."""
    target = tmp_path_factory.mktemp("site")
    (wheel,) = dist.glob("*.whl")
    flags = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check", "--target", str(target))
    run(sys.executable, "-m", "pip", "install", *flags, str(wheel), cwd=target)
    return target


def test_wheel_holds_both_packages_and_nothing_else(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"fastsac", "fastsac_envs", f"fastsac-{__version__}.dist-info"}
    assert {"fastsac/py.typed", "fastsac/report/page/page.html"} <= set(names)
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "fastsac").rglob("*.py")}
    here |= {str(path.relative_to(ROOT)) for path in (ROOT / "fastsac/policies").glob("*/*") if path.suffix != ".pyc"}
    here |= {str(path.relative_to(ROOT / "envs")) for path in (ROOT / "envs").rglob("*.py")}
    assert len(here) > 100
    assert "fastsac/policies/halfcheetah/policy.npz" in here
    assert here <= set(names)


def test_sdist_can_be_set_up_tested_and_read(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    documents = {str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))}
    others = {"Makefile", "constraints.txt", "pyproject.toml", "bench/results/cpu2/update.json"}
    assert others | {"examples/onnx_gymnasium.py"} | documents <= names


def test_installed_wheel_is_used_and_works(site: Path, tmp_path: Path) -> None:
    found = json.loads(run(sys.executable, "-c", SMOKE, cwd=tmp_path, site=site))
    assert all(Path(file).is_relative_to(site) for file in found["files"])
    assert found["envs"] == ["envpool", "gymnasium", "python"]
    assert found["scripts"] == ["fastsac.cli.main:main"]
    assert found["version"][0] == found["version"][1]
    assert found["obs_dim"] == 3


def test_command_line(site: Path, tmp_path: Path) -> None:
    assert "fastsac train" in run(sys.executable, "-m", "fastsac", "--help", cwd=tmp_path, site=site)
    assert "halfcheetah" in run(sys.executable, "-m", "fastsac", "demo", cwd=tmp_path, site=site)
    assert f"fastsac {__version__}" in run(str(site / "bin" / "fastsac"), "--version", cwd=tmp_path, site=site)
