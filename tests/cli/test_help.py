"""Help: the flags in groups, in lines that fit, with the words that flags take; nothing of the parser shows."""

import dataclasses
import re
import subprocess
import sys

import pytest

from fastsac.cli.flags import flags_of
from fastsac.cli.main import COMMANDS, main
from fastsac.cli.train import TrainFlags
from fastsac.config.algorithms import ALGORITHMS
from fastsac.config.fields import GROUPS
from fastsac.config.presets import PRESETS
from fastsac.config.settings import Config

EVERY_HELP = [*([command, "--help"] for command in COMMANDS), ["train", "--help-all"]]


def help_of(capsys, *args):
    with pytest.raises(SystemExit) as stop:
        main(list(args))
    assert not stop.value.code
    return capsys.readouterr().out


def words(text):
    return " ".join(text.split())


@pytest.mark.parametrize("args", EVERY_HELP, ids=" ".join)
@pytest.mark.parametrize("columns", [40, 80, 100, 300])
def test_lines_fit_and_say_nothing_of_the_parser(capsys, monkeypatch, args, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = help_of(capsys, *args)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= max(80, min(columns, 110))
    assert text.startswith(f"usage: fastsac {args[0]} ")
    for leak in ("None", "True", "False", "STR", "INT", "{", "(default: )", "\x1b"):
        assert leak not in text.replace('{"ctrl_cost_weight": 0.2}', ""), leak


def test_common_flags_come_first_and_all_on_request(capsys):
    short, full = help_of(capsys, "train", "--help"), help_of(capsys, "train", "--help-all")
    flags = flags_of(TrainFlags)
    common = [flag for flag in flags if flag.traits.get("common")]
    assert 12 <= len(common) <= 15
    for flag in flags:
        assert (f"\n  {flag.usage}" in short) == (flag in common), flag.name
        assert f"\n  {flag.usage}" in full
    assert short.endswith(f"`fastsac train --help-all` shows the other {len(flags) - len(common)} options too.\n")
    assert re.findall(r"^(\w+):$", full, re.M) == ["Examples", "Algorithms", "Presets", *GROUPS]


def test_every_setting_is_a_flag_with_a_group_and_a_text():
    flags = {flag.field: flag for flag in flags_of(TrainFlags)}
    assert {field.name for field in dataclasses.fields(Config)} < set(flags)
    for flag in flags.values():
        assert flag.traits["group"] in GROUPS
        assert flag.text.endswith(".")


@pytest.mark.parametrize(
    "line",
    [
        "--num-envs N Number of environments that are stepped together, for each member. (default: 16)",
        "--seeds N | N,N,... Number of seeds",
        "--stop-at-return X | none Stop early once the mean return of an evaluation reaches this value. (not set)",
        "--target-entropy X | none Target entropy",
        "--target-entropy-share sets it. (default: minus the number of action dimensions)",
        "--gamma X Discount factor per environment step. (in [0, 1]; default: 0.99)",
        "--obs-norm / --no-obs-norm Normalise observations",
        "--tensorboard / --no-tensorboard Write TensorBoard event files. (default: on)",
        "--hidden-dims N ... Widths of the hidden layers of actor and critics. (default: 256 256)",
        "--buffer-size N Transitions that the replay holds, from all environments of a member; at least "
        "--learning-starts. (default: 1_000_000)",
        "--cpu-threads auto | N PyTorch threads",
        "(default: runs/TASK-sSEED-TIME)",
        "--compile auto | on | off Compile",
        "such as critic_lr=3e-4,1e-3 tau=0.005,0.01",
    ],
)
def test_values_and_defaults_in_words(capsys, line):
    assert line in words(help_of(capsys, "train", "--help-all"))


def test_algorithms_and_presets_are_listed(capsys):
    text = words(help_of(capsys, "train", "--help-all"))
    for name, about in ALGORITHMS.items():
        assert f"{name}: {about}" in text
    assert f"Presets: {', '.join(PRESETS)}" in text


@pytest.mark.parametrize("args", [["--env", "Pendulum-v1"], ["Pendulum-v1"], ["--env=Pendulum-v1"]])
def test_help_shows_the_values_of_the_preset(capsys, args):
    text = words(help_of(capsys, "train", *args, "--help"))
    assert "Defaults marked `here` are those of preset pendulum for Pendulum-v1." in text
    assert "for each member. (here: 4)" in text
    assert "if there are any. (here: pendulum)" in text
    assert "(here: Pendulum-v1)" in text
    full = words(help_of(capsys, "train", *args, "--algo", "sac-v1", "--help-all"))
    assert "without --learn-alpha. (here: 0.2)" in full
    assert "Discount factor per environment step. (in [0, 1]; default: 0.99)" in full


def test_help_shows_the_values_of_a_config(capsys, tmp_path):
    (tmp_path / "config.json").write_text(Config(env="Ant-v5", preset="none", gamma=0.9).to_json())
    text = words(help_of(capsys, "train", "--config", str(tmp_path), "--help-all"))
    assert f"those of {tmp_path}." in text
    assert "(in [0, 1]; here: 0.9)" in text


def test_positionals_are_in_the_usage(capsys):
    assert help_of(capsys, "plot", "--help").startswith("usage: fastsac plot RUN_DIR ... [OPTIONS]\n")
    assert help_of(capsys, "envs", "--help").startswith("usage: fastsac envs [PATTERN] [OPTIONS]\n")
    text = words(help_of(capsys, "extract", "--help"))
    assert "--out FOLDER Folder to write, new or empty. (default: RUN_DIR-memberN, or RUN_DIR-policyN)" in text


def test_help_is_printed_where_text_is_not_utf_8():
    command = [sys.executable, "-m", "fastsac", "train", "--help-all"]
    env = {"PYTHONIOENCODING": "ascii", "NO_COLOR": "1", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, capture_output=True, check=True, timeout=60, env=env)
    assert b"--num-envs N" in done.stdout
    assert not done.stderr
