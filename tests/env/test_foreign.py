"""Nothing that came along with somebody else's run is run: modules beside its config.json are refused, others named."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from fastsac.cli.main import main

ROOT = Path(__file__).parents[2]
TINY = [
    "--num-envs", "2", "--total-steps", "40", "--learning-starts", "16", "--batch-size", "8", "--buffer-size", "100",
    "--hidden-dims", "8", "--eval-every", "0", "--eval-episodes", "2", "--device", "cpu", "--compile", "off",
    "--no-tensorboard",
]  # fmt: skip
BACK_END = "open({marker!r}, 'w').close()\nfrom tests.support.scripted_env import *\n"
REGISTERING = """
open({marker!r}, 'w').close()
import gymnasium
gymnasium.register(id='Foreign-v0', entry_point='gymnasium.envs.classic_control:PendulumEnv', max_episode_steps=9)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main(["train", "--env", "tests.support.scripted_env:5c", "--run-dir", str(folder), *TINY]) == 0
    return folder


@pytest.fixture
def run_dir(trained, tmp_path, monkeypatch):
    """A run that somebody else has sent; the working directory is within it, and the path is restored."""
    shutil.copytree(trained, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path / "run"


@pytest.fixture
def plant(run_dir, tmp_path):
    """Makes the run name an environment, and a module leave a file behind when it is run; returns that file."""
    marker = tmp_path / "marker"

    def plant(env, file, text=BACK_END):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.format(marker=str(marker)))
        name(run_dir, env)
        return marker

    return plant


def name(run_dir, env):
    config = json.loads((run_dir / "config.json").read_text())
    (run_dir / "config.json").write_text(json.dumps({**config, "env": env}))


def call(capsys, *args):
    status = main(list(args))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


COMMANDS = (
    ["eval", "."],
    ["train", "--resume", ".", "--total-steps", "60"],
    ["train", "--config", ".", "--run-dir", "../new"],
    ["train", "--config", "config.json", "--run-dir", "../new"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_a_module_beside_the_settings_is_refused(capsys, tmp_path, run_dir, plant, command):
    marker = plant("beside_it.mod:5c", run_dir / "beside_it" / "mod.py")
    status, out, err = call(capsys, *command)
    assert status == 2
    assert "env must not name a module that lies beside" in err
    assert "got 'beside_it.mod:5c'" in err
    assert "Give --trust-env, or the environment's name in Python, if" in err
    assert err.count("\n") == 1
    assert not out
    assert not marker.exists()
    assert not (tmp_path / "new").exists()


def in_a_subfolder(run_dir, tmp_path):
    sys.path.append(str(run_dir / "a" / "b"))
    return "below_it.mod:5c", run_dir / "a" / "b" / "below_it" / "mod.py"


def a_package(run_dir, tmp_path):
    (run_dir / "whole_package").mkdir()
    (run_dir / "whole_package" / "__init__.py").touch()
    return "whole_package.mod:5c", run_dir / "whole_package" / "mod.py"


def on_the_path(run_dir, tmp_path):
    sys.path.insert(0, str(run_dir))  # what PYTHONPATH=. does
    return "on_the_path.mod:5c", run_dir / "on_the_path" / "mod.py"


def through_a_link_to_it(run_dir, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "linked_to").symlink_to(run_dir / "code")
    sys.path.append(str(tmp_path / "elsewhere"))
    return "linked_to.mod:5c", run_dir / "code" / "mod.py"


def through_a_link_in_it(run_dir, tmp_path):
    (run_dir / "linked_in").symlink_to(tmp_path / "code")
    return "linked_in.mod:5c", tmp_path / "code" / "mod.py"


def half_of_a_namespace(run_dir, tmp_path):
    (tmp_path / "elsewhere" / "space_here").mkdir(parents=True)
    sys.path += [str(tmp_path / "elsewhere"), str(run_dir)]
    return "space_here.mod:5c", run_dir / "space_here" / "mod.py"


def behind_a_package_elsewhere(run_dir, tmp_path):
    package = tmp_path / "elsewhere" / "harmless"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "sub").symlink_to(run_dir / "code")
    sys.path.append(str(tmp_path / "elsewhere"))
    return "harmless.sub.mod:5c", run_dir / "code" / "mod.py"


def under_a_registered_name(run_dir, tmp_path):
    info = run_dir / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fastsac.envs]\ntheirs = their_back_end\n")
    sys.path.append(str(run_dir))
    return "theirs:5c", run_dir / "their_back_end.py"


PLACES = [
    in_a_subfolder, a_package, on_the_path, through_a_link_to_it, through_a_link_in_it, half_of_a_namespace,
    behind_a_package_elsewhere, under_a_registered_name,
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_however_it_is_reached(capsys, tmp_path, run_dir, plant, place):
    marker = plant(*place(run_dir, tmp_path))
    status, out, err = call(capsys, "eval", ".", "--json")
    assert status == 2
    assert "env must not name a module that lies beside" in err
    assert err.count("\n") == 1
    assert not out
    assert not marker.exists()
    assert call(capsys, "eval", ".", "--json", "--trust-env")[0] == 0
    assert marker.exists()


def test_registered_names_are_not_looked_for_in_the_working_directory(capsys, tmp_path, run_dir, plant):
    marker = plant(*under_a_registered_name(run_dir, tmp_path))
    sys.path.remove(str(run_dir))
    assert "unknown back end 'theirs'" in call(capsys, "eval", ".", "--trust-env")[2]
    assert not marker.exists()


def test_modules_that_gymnasium_would_import_are_refused(capsys, tmp_path, run_dir, plant):
    marker = plant("gymnasium:beside_gym:Foreign-v0", run_dir / "beside_gym.py", REGISTERING)
    command = ["train", "--config", ".", "--run-dir", "../new", *TINY]
    status, _, err = call(capsys, *command)
    assert status == 2
    assert "got 'gymnasium:beside_gym:Foreign-v0'" in err
    assert not marker.exists()
    status, _, err = call(capsys, *command, "--trust-env")
    assert status == 0
    assert marker.exists()


def test_a_linked_config_stands_for_both_folders(capsys, tmp_path, run_dir, plant, monkeypatch):
    marker = plant("behind_link.mod:5c", run_dir / "behind_link" / "mod.py")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine.json").symlink_to(run_dir / "config.json")
    sys.path.append(str(run_dir))
    monkeypatch.chdir(tmp_path / "work")
    status, _, err = call(capsys, "train", "--config", "mine.json", "--run-dir", "new")
    assert status == 2
    assert "lies beside mine.json" in err
    assert not marker.exists()


def test_files_with_the_names_of_other_modules_are_not_run(tmp_path, run_dir, plant):
    """In a process as a user starts it: nothing of Python or of a package is imported here yet."""
    for file in ("secrets.py", "pynvml.py", "sitecustomize.py", "usercustomize.py", "typing.py"):
        marker = plant("Pendulum-v1", run_dir / file)
    plant("Pendulum-v1", run_dir / "wandb" / "__init__.py")
    (run_dir / "extra-1.0.dist-info").mkdir()
    (run_dir / "extra-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    (run_dir / "extra-1.0.dist-info" / "entry_points.txt").write_text("[gymnasium.envs]\n__root__ = wandb:none\n")
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "envs")])}
    command = [sys.executable, "-m", "fastsac", "train", "--config", ".", "--run-dir", "../new", *TINY]
    process = subprocess.run([*command, "--env", "gymnasium:Pendulum-v1"], env=variables, capture_output=True)
    assert process.returncode == 0, process.stderr
    assert not marker.exists()


def test_a_module_elsewhere_is_named_and_used(capsys, tmp_path, run_dir, plant, monkeypatch):
    marker = plant("elsewhere.it:5c", tmp_path / "elsewhere" / "it.py")
    monkeypatch.chdir(tmp_path)
    status, out, err = call(capsys, "eval", "run", "--json")
    assert status == 0
    assert err == f"fastsac eval: importing elsewhere.it from {tmp_path}/elsewhere/it.py, as run/config.json says\n"
    assert json.loads(out)["episodes"] == 10
    assert marker.exists()
    command = ["train", "--config", "run", "--total-steps", "40"]
    err = call(capsys, *command, "--run-dir", "first")[2]
    assert err.count("importing elsewhere.it") == 1
    err = call(capsys, *command, "--run-dir", "second", "--env", "elsewhere.it:5c")[2]
    assert "importing" not in err


def test_a_module_in_the_run_is_refused_by_its_longer_name_too(capsys, tmp_path, run_dir, plant, monkeypatch):
    marker = plant("run.inner:5c", run_dir / "inner.py")
    monkeypatch.chdir(tmp_path)
    assert "lies beside run/config.json" in call(capsys, "eval", "run")[2]
    assert not marker.exists()


def test_what_is_installed_below_the_settings_did_not_come_with_them(tmp_path, run_dir, plant):
    """A project with its `.venv` and a config.json; and a checkout of fastsac in it."""
    project = tmp_path / "project"
    venv.create(project / ".venv", with_pip=False, symlinks=True)
    (site_packages,) = (project / ".venv" / "lib").glob("python*/site-packages")
    marker = plant("installed.mod:5c", site_packages / "installed" / "mod.py")
    (project / "checkout").mkdir()
    for source in ("fastsac", "envs/fastsac_envs", "tests"):
        (project / "checkout" / Path(source).name).symlink_to(ROOT / source)
    packages = str(Path(pytest.__file__).parents[1])
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(project / "checkout"), packages])}

    def train(env):
        name(run_dir, env)
        shutil.copy(run_dir / "config.json", project)
        command = [project / ".venv" / "bin" / "python", "-m", "fastsac", "train", "--config", "config.json", *TINY]
        return subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True)

    process = train("installed.mod:5c")
    assert process.returncode == 0, process.stderr
    assert "importing installed.mod from " in process.stderr
    assert marker.exists()
    process = train("gymnasium:Pendulum-v1")
    assert process.returncode == 0, process.stderr
    assert "importing" not in process.stderr


def test_what_is_typed_is_trusted(capsys, tmp_path, run_dir, plant):
    marker = plant("typed.mod:5c", run_dir / "typed" / "mod.py")
    status, _, err = call(capsys, "train", "--config", ".", "--env", "typed.mod:5c", "--run-dir", "../new")
    assert status == 0
    assert "importing" not in err
    assert marker.exists()


def test_a_back_end_that_is_installed_is_not_worth_a_line(capsys, run_dir):
    name(run_dir, "envpool:Pendulum-v1")
    err = call(capsys, "train", "--config", ".", "--run-dir", "../new", *TINY)[2]
    assert "importing" not in err


def test_settings_cannot_trust_themselves(capsys, run_dir, plant):
    marker = plant("trusting.mod:5c", run_dir / "trusting" / "mod.py")
    config = json.loads((run_dir / "config.json").read_text())
    (run_dir / "config.json").write_text(json.dumps({**config, "trust_env": True}))
    assert "does not know: 'trust_env'" in call(capsys, "eval", ".")[2]
    assert "does not know: 'trust_env'" in call(capsys, "train", "--config", ".", "--run-dir", "../new")[2]
    assert not marker.exists()


@pytest.mark.parametrize("command", [["train"], ["train", "--env", "Pendulum-v1"], ["eval"]])
def test_help_has_the_flags(capsys, command):
    with pytest.raises(SystemExit):
        main([*command, "--help-all" if command[0] == "train" else "--help"])
    out = capsys.readouterr().out
    assert "--trust-env" in out
    assert command[0] == "eval" or "--config" in out
