"""The code that documents print runs: Python as it stands, commands by the real command line, with tiny trainings.

What a page does not say itself is tiny: networks, batches, steps; what it says stays, but for very long trainings.
"""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest

import fastsac
from fastsac.cli.main import main
from fastsac.cli.train import train_config
from fastsac.config.settings import Config
from fastsac.run.plan import make_plan
from fastsac.run.result import Result
from tests.support.documents import BLOCKS, COMMANDS, words_of

TINY: dict[str, Any] = {
    "total_steps": 120, "learning_starts": 64, "batch_size": 8, "buffer_size": 1_000, "hidden_dims": (8,),
    "num_envs": 2, "log_every": 40, "eval_every": 60, "eval_episodes": 1, "checkpoint_every": 0, "device": "cpu",
    "compile": "off", "tensorboard": False, "cpu_threads": 1,
}  # fmt: skip
LONGEST = 300  # environment steps of a training; of one that goes on, a third more
SMALL_TASKS = ("Pendulum-v1", "CartPole-v1")  # in which commands are run, not only understood
LONG = re.compile(r"fastsac (doctor|(demo|play) .*halfcheetah)")  # compiles; draws a thousand pictures of MuJoCo
PYTHON = [block for block in BLOCKS if block.page.startswith("docs/") and block.language == "python" and block.is_run]
RUNS = re.compile(r"\bruns/\w+")
train_as_it_is: Callable[..., Result] = fastsac.train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two members."""
    run_dir = tmp_path_factory.mktemp("trained") / "run"
    train_as_it_is("Pendulum-v1", **TINY, seeds=2, run_dir=run_dir)
    return run_dir


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files of the pages, which nobody has imported; trainings are tiny."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(fastsac, "train", tiny_train)
    monkeypatch.setattr(fastsac, "make_plan", lambda config: make_plan(config.replace(**TINY)))
    for block in BLOCKS:
        if block.file:
            Path(block.file).parent.mkdir(exist_ok=True)
            Path(block.file).write_text(block.code)
            monkeypatch.delitem(sys.modules, str(block.module), raising=False)
    return tmp_path


def tiny_train(*args: Any, **settings: Any) -> Result:
    """`fastsac.train`, with tiny settings in place of those that are not given."""
    goes_on = settings.get("resume") is not None
    settings = settings if goes_on else {**TINY, **settings}
    if "total_steps" in settings:
        settings["total_steps"] = min(settings["total_steps"], LONGEST * 4 // 3 if goes_on else LONGEST)
    return train_as_it_is(*args, **settings)


def provide(names: str, trained: Path) -> None:
    """Make the run directories that a text names."""
    for run_dir in set(RUNS.findall(names)):
        shutil.copytree(trained, run_dir)


@pytest.mark.parametrize("page", sorted({block.page for block in PYTHON}))
def test_python_runs(page: str, world: Path, trained: Path) -> None:
    blocks = [block for block in PYTHON if block.page == page]
    provide("".join(block.code for block in blocks), trained)
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block.code, page, "exec"), names)  # raises where a page is wrong
    assert len(names) > 1, f"{page} shows code that names nothing"


@pytest.mark.parametrize("command", [command for command in COMMANDS if words_of(command)[0] == "train"])
def test_training_commands_are_understood(command: str, world: Path, trained: Path, capsys: Any) -> None:
    provide(command, trained)
    _, args = words_of(command)
    if {"--help", "--help-all"} & {*args}:
        with pytest.raises(SystemExit, match=r"^0$"):
            main(["train", *args])
        return
    fresh = "--resume" in args and args[args.index("--resume") + 1] == "auto"
    config = train_config(args)
    own = config.env.partition(":")[0] in {block.module for block in BLOCKS}
    if config.resume and not fresh:
        assert fastsac.train(resume=config.resume, total_steps=160).env_steps >= 160
    elif own or config.env in SMALL_TASKS:
        if config.prefill:
            fastsac.collect("demo:pendulum", Path(config.prefill), steps=100)
        assert fastsac.train(config.replace(**tiny(config))).env_steps > 0


def tiny(config: Config) -> dict[str, Any]:
    """What a command's training has instead: tiny settings, but for what its sweep varies."""
    swept = {text.partition("=")[0] for text in config.sweep}
    return {name: value for name, value in TINY.items() if name not in swept} | {"run_dir": "run", "resume": None}


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if words_of(command)[0] != "train" and not LONG.match(command)]
)
def test_other_commands_run(command: str, world: Path, trained: Path, capsys: Any) -> None:
    provide(command, trained)
    command = re.sub(r"--episodes \S+", "--episodes 1", re.sub(r"--steps \S+", "--steps 50", command))
    name, args = words_of(command)
    assert main([name, *args]) == 0, capsys.readouterr().err


def test_environments_that_documents_name_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gymnasium.registry, "MyEnv-v0", gymnasium.spec("Pendulum-v1"))
    for command in COMMANDS:
        name, args = words_of(command)
        if name == "train" and "--env" in args:
            env = args[args.index("--env") + 1]
            if re.fullmatch(r"(gymnasium:)?\w+-v\d+", env):
                assert fastsac.env.make_spec(env).env_id.endswith(env)
