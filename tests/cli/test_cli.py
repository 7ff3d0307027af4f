"""The command line: one clear line for each wrong call, and nothing left behind; what each command prints."""

import dataclasses
import json
import signal
import subprocess
import sys

import pytest

from fastsac.cli.main import main
from fastsac.cli.train import next_commands, train_config
from fastsac.config.settings import Config
from fastsac.run.result import Result

TINY = [
    "train", "--env", "tests.support.scripted_env:5c", "--num-envs", "2", "--total-steps", "40",
    "--learning-starts", "16", "--batch-size", "8", "--buffer-size", "100", "--hidden-dims", "8", "--eval-every", "0",
    "--eval-episodes", "2", "--log-every", "20", "--device", "cpu", "--no-tensorboard",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def call(capsys, *args):
    status: str | int
    try:
        status = main(list(args))
    except SystemExit as stop:  # --help
        status = stop.code or 0
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["train", "--env", "HalfCheeta-v5"], "did you mean HalfCheetah-v5"),
        (["train", "--env", "mujuco:Ant-v5"], "unknown back end 'mujuco'; choose from envpool, gymnasium, or give"),
        (["eval"], "RUN_DIR must be given. `fastsac eval --help` lists the options."),
        (["extract", "--member", "1"], "RUN_DIR must be given."),
        (["train", "--env", "no.such.module:Task"], "cannot be imported"),
        (["train", "--env", "CartPole-v1", "--algo", "sac"], "algo sac cannot act in envpool:CartPole-v1, which has 2"),
        (["train", "--env", "Pendulum-v1", "--algo", "sac-discrete"], "has continuous actions of length 1"),
        (["train", "--env", "Pong-v5", "--env-kwargs", '{"img_height": 20}'], "too large for a vector and no image"),
        (["train", "--env", "LqrLqr21-v1"], "--action-limit"),
        (["train", "--env", "Pendulum-v1", "--num-envs", "0"], "num_envs must be at least 1, got 0"),
        (["train", "--env", "Pendulum-v1", "--total-steps", "-5"], "total_steps must be at least 1, got -5"),
        (["train", "--env", "Pendulum-v1", "--batch-size", "501"], "batch_size must be at most learning_starts (500)"),
        (
            ["train", "--env", "Pendulum-v1", "--total-steps", "400"],
            "learning_starts 500 must be below total_steps 400",
        ),
        (["train", "--env", "Pendulum-v1", "--buffer-size", "90000000000"], "Give --buffer-size"),
        (["train", "--env", "Pendulum-v1", "--device", "cuda"], "Give --device cpu"),
        (["train", "--env", "Pendulum-v1", "--device", "tpu"], "device must be auto, cpu, cuda"),
        (["train", "--env", "Pendulum-v1", "--device", "cpu", "--cuda-graphs", "on"], "cuda_graphs on needs a CUDA"),
        (["train", "--env", "Pendulum-v1", "--nun-envs", "3"], "did you mean --num-envs?"),
        (["train", "--env", "Pendulum-v1", "--num-envs", "few"], "--num-envs must be a whole number, got 'few'."),
        (["train", "--env", "Pendulum-v1", "--total-steps", "1.5"], "--total-steps must be a whole number, got 1.5."),
        (["train", "--env", "Pendulum-v1", "--total-steps", "inf"], "--total-steps must be a whole number, got inf."),
        (
            ["train", "--env", "Pendulum-v1", "--hidden-dims", "9", "2.5"],
            "--hidden-dims must be a list of whole numbers, got [9, 2.5].",
        ),
        (["train", "--env", "Pendulum-v1", "--gamma", "high"], "--gamma must be a number, got 'high'."),
        (
            ["train", "--env", "Pendulum-v1", "--updates-per-launch", "foo"],
            "--updates-per-launch must be auto or a whole number, got 'foo'.",
        ),
        (
            ["train", "--env", "Pendulum-v1", "--stop-at-return", "foo"],
            "--stop-at-return must be None or a number, got 'foo'.",
        ),
        (["train", "--env", "gymnasium:Nope-v1"], "unknown gymnasium id 'Nope-v1'. An id that"),
        (["eval", "nowhere", "--episodes", "2.5"], "--episodes must be a whole number, got 2.5."),
        (["train", "--env", "Pendulum-v1", "--preset", "fast"], "unknown preset 'fast'"),
        (["train", "--env", "Pendulum-v1", "--env-kwargs", "[1]"], "--env-kwargs must be a JSON object such as"),
        (["train", "--env", "Pendulum-v1", "--env-kwargs", '{"gravitee": 1}'], "gravitee"),
        (["train", "--env", "Pendulum-v1", "--resume", "nowhere"], "nowhere"),
        (["train", "--config", "nowhere.json"], "cannot read nowhere.json"),
        (["train"], "env must be given, for example"),
        (["trian"], "unknown command 'trian'; did you mean train?"),
        (["frobnicate"], "unknown command 'frobnicate'; choose from train, eval"),
        (["--env", "Pendulum-v1"], "a command comes before --env; choose from train"),
        (["eval", "nowhere"], "nowhere is not a run directory"),
        (["plot", "nowhere"], "nowhere"),
        (["envs", "NoSuchThing"], "no environment matches"),
    ],
)
def test_a_wrong_call_gets_one_line_and_status_2(capsys, tmp_path, monkeypatch, args, message):
    if "cuda" in args[-1]:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    status, out, err = call(capsys, *args)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert "---" not in err  # no frame
    assert err.endswith("\n")
    assert not out
    assert list(tmp_path.iterdir()) == []  # no half-made run directory


def test_a_folder_in_use_is_refused_and_kept(capsys, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("years")
    status, _, err = call(capsys, *TINY, "--run-dir", "taken")
    assert status == 2
    assert "run_dir taken exists and is not empty. Give another one, or --resume taken" in err
    assert (tmp_path / "taken" / "thesis.txt").read_text() == "years"


def test_ctrl_c_before_anything_was_written_does_not_speak_of_files(capsys, tmp_path, monkeypatch):
    (tmp_path / "asks").mkdir()
    (tmp_path / "asks" / "to_stop.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert call(capsys, "train", "--env", "asks.to_stop:Task") == (130, "", "fastsac train: SIGINT: stopped at once.\n")
    assert not (tmp_path / "runs").exists()


def test_nan_gives_status_1_and_one_line(capsys):
    status, _, err = call(capsys, *TINY, "--run-dir", "run", "--env-kwargs", '{"nan_obs": [1, 5]}')
    assert status == 1
    assert err.splitlines()[-1].startswith("fastsac train: environment 1 of member 0 (seed 1) returned an observation")


def test_train_eval_plot_resume_repeat(capsys, tmp_path):
    status, out, _ = call(capsys, *TINY, "--run-dir", "run", "--seed", "3")
    assert status == 0
    for text in ("env steps", "updates", "wall seconds", "evaluation return", "curves.png"):
        assert text in out
    for command in ("fastsac eval run", "fastsac train --resume run --total-steps", "fastsac plot run OTHER_RUN_DIR"):
        assert command in out
    assert "tensorboard" not in out  # there are no event files

    status, out, err = call(capsys, "eval", "run", "--episodes", "3", "--json")
    assert status == 0
    report = json.loads(out)
    assert report["episodes"] == 3 == len(report["returns"])
    assert report["env_id"] == "tests.support.scripted_env:5c"
    assert report["length_mean"] == 5
    # The command line has not named it.
    assert err.startswith("fastsac eval: importing tests.support.scripted_env from ")
    assert err.endswith("scripted_env.py, as run/config.json says\n")
    status, again, _ = call(capsys, "eval", "run", "--episodes", "3", "--json")
    assert json.loads(again) == report

    status, out, _ = call(capsys, "plot", "run", "--out", "a.png", "--x", "steps")
    assert status == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")

    status, _, _ = call(capsys, "train", "--resume", "run", "--total-steps", "60")
    assert status == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["env_steps"] >= 60

    status, _, _ = call(capsys, "train", "--config", "run/config.json", "--run-dir", "again", "--total-steps", "40")
    assert status == 0
    columns = slice(0, 3)
    first, second = ((tmp_path / d / "eval.csv").read_text().splitlines() for d in ("run", "again"))
    assert first[1].split(",")[columns] == second[1].split(",")[columns]
    assert first[1].split(",")[4] == second[1].split(",")[4]


def test_closing_lines_say_what_may_be_done_with_a_run(tmp_path):
    folder = tmp_path / "my run"
    (folder / "tensorboard").mkdir(parents=True)
    result = Result(folder, 40, 20, 1.0, 0.0, 5.0, 0.0, False, "total_steps", [])
    names, commands = zip(*next_commands(result), strict=True)
    assert names == (
        "evaluate with", "watch it with", "all on a page with", "train longer with", "compare with", "look at it in",
    )  # fmt: skip
    assert [command.split()[1] for command in commands[:3]] == ["eval", "play", "report"]
    assert commands[3].endswith(f"fastsac train --resume '{folder}' --total-steps 80")
    assert commands[5].endswith(f"tensorboard --logdir '{folder}'")
    several = dict(next_commands(dataclasses.replace(result, members=[{}, {}])))
    assert all(several[name].endswith(" --member best") for name in ("evaluate with", "watch it with"))
    stopped = dict(next_commands(dataclasses.replace(result, interrupted=True)))
    assert list(stopped) == ["continue with", "look at it in"]


def test_the_command_line_and_python_mean_the_same():
    args = [
        "--env",
        "Pendulum-v1",
        "--seed",
        "7",
        "--hidden-dims",
        "32",
        "32",
        "--env-kwargs",
        '{"max_episode_steps": 50}',
    ]
    expected = Config(env="Pendulum-v1", seed=7, hidden_dims=(32, 32), env_kwargs={"max_episode_steps": 50})
    assert train_config(args) == expected
    assert train_config(["--env=Pendulum-v1", "--preset=none"]) == Config(env="Pendulum-v1", preset="none")


def test_the_preset_fastest_is_that_of_the_device_and_is_said(tmp_path, capsys):
    args = ["Pendulum-v1", "--preset", "FASTEST", "--device", "cpu"]
    assert train_config(args) == Config(env="Pendulum-v1", preset="pendulum", device="cpu")
    tiny = "--total-steps 70 --learning-starts 64 --batch-size 8 --compile off --eval-every 0 --eval-episodes 1"
    assert main(["train", *args, *tiny.split(), "--no-tensorboard", "--run-dir", str(tmp_path / "run")]) == 0
    assert "preset fastest is pendulum here: -180 in 10.1 s" in capsys.readouterr().out
    assert Config.load(tmp_path / "run").preset == "pendulum"


@pytest.mark.parametrize("text", ["20000", "20_000", "2e4", "2.0E+4"])
def test_whole_numbers_may_have_an_exponent(text):
    config = train_config(["--env", "Ant-v5", "--total-steps", text, "--hidden-dims", "64", "3.2e1"])
    assert (config.total_steps, config.hidden_dims) == (20_000, (64, 32))
    assert type(config.total_steps) is int


def test_words_beside_numbers():
    args = ["--env", "Ant-v5", "--updates-per-launch", "1e1", "--stop-at-return", "-1e3", "--action-limit", "None"]
    config = train_config(args)
    assert (config.updates_per_launch, config.stop_at_return, config.action_limit) == (10, -1000.0, None)
    assert train_config([*args, "--updates-per-launch", "auto"]).updates_per_launch == "auto"


@pytest.mark.parametrize(
    ("args", "absent"), [("--help", "numpy torch tyro"), ("train --help-all", "torch envpool matplotlib")]
)
def test_help_imports_nothing_that_is_slow(args, absent):
    code = f"""
import sys
from fastsac.cli.main import main
try:
    main({args.split()})
except SystemExit:
    pass
print("\\nimported:", *{{*sys.modules}} & {{*{absent.split()}}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.endswith("\nimported:\n")


def test_overview_and_version(capsys):
    assert "fastsac train --env HalfCheetah-v5" in call(capsys, "--help")[1]
    assert call(capsys, "--version")[1].startswith("fastsac 0.")
    assert call(capsys)[0] == 2


def test_the_reader_of_a_pipe_may_leave():
    code = "import sys; from fastsac.cli.main import main; sys.exit(main(['envs', '*']))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"environment ")
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(60) == 128 + signal.SIGPIPE


def test_quiet_prints_the_run_directory_alone(capsys):
    assert call(capsys, *TINY, "--run-dir", "run", "--quiet") == (0, "run\n", "")
    assert call(capsys, *TINY, "--run-dir", "run", "--resume", "auto", "--quiet") == (0, "run\n", "")


def test_quiet_prints_warnings_and_errors(capsys, tmp_path):
    call(capsys, *TINY, "--run-dir", "run", "--checkpoint-every", "20", "--quiet")
    newest = max((tmp_path / "run" / "checkpoints").glob("*_step_*"))
    (newest / "learner.pt").write_bytes(b"")
    status, out, err = call(capsys, "train", "--resume", "run", "--total-steps", "60", "--quiet")
    assert (status, out) == (0, "run\n")
    importing, damaged = err.splitlines()
    assert "importing tests.support.scripted_env" in importing
    assert "learner.pt has 0 bytes instead of" in damaged
    status, out, err = call(capsys, *TINY, "--run-dir", "bad", "--env-kwargs", '{"nan_obs": [1, 5]}', "--quiet")
    assert (status, out) == (1, "")
    assert err.startswith("fastsac train: environment 1 of member 0 (seed 1) returned an observation")


def test_a_list_of_seeds_is_trained_and_plotted(capsys, tmp_path):
    status, out, _ = call(capsys, *TINY, "--seeds", "7,2", "--run-dir", "run")
    assert status == 0
    assert "seeds 7, 2" in out
    rows = (tmp_path / "run" / "eval.csv").read_text().splitlines()
    column = rows[0].split(",").index("seed")
    assert [row.split(",")[column] for row in rows[1:]] == ["7", "2"]
    assert call(capsys, "plot", "run")[0] == 0
    assert "seed 2, now alone" in call(capsys, "extract", "run", "--member", "1")[1]
    assert Config.load(tmp_path / "run-member1").member_seeds == [2]
    assert call(capsys, "train", "--resume", "run", "--total-steps", "60")[0] == 0


def test_the_preset_goes_by_the_algorithm_too():
    assert train_config(["--env", "Pendulum-v1", "--algo", "sac-v1"]).init_alpha == 0.2
    assert train_config(["--env", "Pendulum-v1", "--algo=sac-v1", "--init-alpha", "0.5"]).init_alpha == 0.5
    assert train_config(["--env", "Pendulum-v1"]).init_alpha == 1.0
