"""Modules are found without being run, and the working directory is the last place to look, if one at all."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fastsac.cli.main import main
from fastsac.env import resolve
from fastsac.env.modules import import_module, places
from fastsac.runtime.versions import is_installed

ROOT = Path(__file__).parents[2]
MARK = "open({marker!r}, 'w').close()\n"


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    """As it was before; modules stay imported, so that each test has names of its own."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def write(tmp_path):
    """Writes modules that leave a file behind when they are run."""
    marker = tmp_path / "marker"

    def write(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(MARK.format(marker=str(marker)))
        return marker

    return write


def on_path(*folders):
    for folder in folders:
        sys.path.append(str(folder))


def test_places_are_told_without_running_anything(tmp_path, write):
    marker = write("a/pkg_a/__init__.py", "a/pkg_a/sub/mod.py", "a/mod_a.py", "a/space_a/sub/mod.py")
    on_path(tmp_path / "a")
    a = tmp_path / "a"
    assert places("mod_a") == [str(a / "mod_a.py")]
    assert places("pkg_a.sub.mod") == list(
        map(str, [a / "pkg_a", a / "pkg_a" / "__init__.py", a / "pkg_a" / "sub", a / "pkg_a" / "sub" / "mod.py"])
    )
    assert places("space_a.sub.mod")[-1] == str(a / "space_a" / "sub" / "mod.py")
    assert not marker.exists()


@pytest.mark.parametrize("name", ["no_such_module_here", "", ".", ".os", "os..path", "a-b", "sys", "__main__x:y"])
def test_what_is_no_file_has_no_place(name):
    assert places(name) == []


def test_a_namespace_is_everywhere_unless_one_of_its_folders_is_a_package(tmp_path, write, monkeypatch):
    write("a/space_b/x.py", "b/space_b/y.py", "c/space_b/__init__.py", "c/space_b/z.py")
    a, b, c = (tmp_path / name for name in "abc")
    on_path(a, b)
    assert places("space_b.y") == [str(a / "space_b"), str(b / "space_b"), str(b / "space_b" / "y.py")]
    monkeypatch.chdir(c)
    assert places("space_b.z")[-1] == str(c / "space_b" / "z.py")
    assert import_module("space_b.z").__file__ == str(c / "space_b" / "z.py")


def test_modules_in_archives_are_found(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("zipped_c.py", "")
    on_path(tmp_path / "x.zip")
    assert places("zipped_c") == [str(tmp_path / "x.zip" / "zipped_c.py")]


@pytest.mark.parametrize(("file", "name"), [("mod_d.py", "mod_d"), ("pkg_d/mod.py", "pkg_d.mod")])
def test_a_module_that_is_nowhere_else_comes_from_the_working_directory(tmp_path, write, monkeypatch, file, name):
    marker = write(file)
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert places(name)[-1] == str(tmp_path / file)
    assert sys.path == before
    import_module(name)
    assert marker.exists()
    assert sys.path == [*before, str(tmp_path)]
    import_module(name)
    assert sys.path == [*before, str(tmp_path)]


@pytest.mark.parametrize("name", ["json", "json.decoder", "gymnasium.envs", "no_such_module_here"])
def test_else_the_working_directory_stays_off_the_path(tmp_path, write, monkeypatch, name):
    marker = write("json.py", "gymnasium.py", "pynvml.py")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    try:
        import_module(name)
    except ImportError:
        assert name == "no_such_module_here"
    assert sys.path == before
    assert not marker.exists()


def test_the_working_directory_may_be_gone(tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path / "x")
    (tmp_path / "x").rmdir()
    assert places("no_such_module_here") == []


@pytest.mark.parametrize("env", [".os:Task", "os..path:Task", "my-package.module:Task"])
def test_what_is_no_name_of_a_module_is_said_to_be_none(env):
    with pytest.raises(ValueError, match=r"is not the name of a module\.$"):
        resolve(env)


def test_a_module_for_gymnasium_may_lie_in_the_working_directory(tmp_path, monkeypatch, capsys):
    (tmp_path / "gym_e.py").write_text(
        "import gymnasium\ngymnasium.register(id='Mine-v0', entry_point='gymnasium.envs.classic_control:PendulumEnv')\n"
    )
    monkeypatch.chdir(tmp_path)
    flags = [
        "--compile",
        "off",
        "--device",
        "cpu",
        "--total-steps",
        "20",
        "--learning-starts",
        "8",
        "--batch-size",
        "4",
    ]
    assert main(["train", "--env", "gymnasium:gym_e:Mine-v0", "--run-dir", "run", "--eval-episodes", "1", *flags]) == 0


def test_a_folder_is_no_package(tmp_path, monkeypatch, capsys):
    (tmp_path / "wandb_f").mkdir()
    on_path(tmp_path)
    assert not is_installed("wandb_f")
    assert not is_installed("no_such_module_here")
    assert is_installed("numpy")


@pytest.mark.skipif(is_installed("wandb"), reason="wandb is installed")
def test_the_folder_that_wandb_writes_to_is_not_wandb(tmp_path, monkeypatch, capsys):
    (tmp_path / "wandb").mkdir()
    monkeypatch.chdir(tmp_path)
    on_path(tmp_path)
    flags = ["--env", "tests.support.scripted_env:5c", "--compile", "off", "--device", "cpu"]
    assert main(["train", *flags, "--wandb"]) == 2
    assert "wandb is not installed" in capsys.readouterr().err


# What a working directory must not be able to do to the program: these names are imported by it, or by packages that
# are there, or by packages if they are there.
HOSTILE = ("secrets.py", "random.py", "typing.py", "pynvml.py", "torch.py", "sitecustomize.py", "tyro/__init__.py")


@pytest.mark.parametrize(
    "command",
    [["-m", "fastsac"], ["-c", "import sys; sys.path.pop(0); import fastsac.cli.main as c; sys.exit(c.main())"]],
)
def test_files_in_the_working_directory_are_not_run(tmp_path, write, command):
    marker = write(*HOSTILE)
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "envs")])}
    args = [sys.executable, *command, "envs", "Pendulum"]
    process = subprocess.run(args, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert "envpool:Pendulum-v1" in process.stdout
    assert not marker.exists()


def test_a_checkout_that_is_nowhere_installed_runs_from_its_root(tmp_path, write):
    marker = write("secrets.py", "typing.py", "pynvml.py")
    (tmp_path / "fastsac").symlink_to(ROOT / "fastsac")
    (tmp_path / "fastsac_envs").symlink_to(ROOT / "envs" / "fastsac_envs")
    variables = os.environ | {"PYTHONPATH": str(Path(pytest.__file__).parents[1])}  # the packages, without us (-S)
    command = [sys.executable, "-S", "-m", "fastsac", "envs", "Pendulum"]
    process = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert "envpool:Pendulum-v1" in process.stdout, process.stderr
    assert not marker.exists()
