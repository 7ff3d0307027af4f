"""Flags as people write them: understood where there is no doubt, or answered with the right form in one line."""

import re
from dataclasses import dataclass

import pytest

from fastsac.cli.eval import EvalArgs
from fastsac.cli.flags import flags_of
from fastsac.cli.parsing import parse
from fastsac.cli.spelling import as_usual, near_match
from fastsac.cli.train import TrainFlags, train_config
from fastsac.config.other_programs import ELSEWHERE, OTHER, SAME
from fastsac.config.settings import Config

OURS = {name for flag in flags_of(TrainFlags) for name in flag.names}
PENDULUM = train_config(["--env", "Pendulum-v1"])


@dataclass
class Widths:
    """Widths or none."""

    widths: tuple[int, ...] | None = (8,)


@pytest.mark.parametrize(
    ("args", "changes"),
    [
        (["--num_envs", "2"], {"num_envs": 2}),
        (["--num_envs=2"], {"num_envs": 2}),
        (["--learn-alpha", "false"], {"learn_alpha": False}),
        (["--learn_alpha=False"], {"learn_alpha": False}),
        (["--obs-norm=true"], {"obs_norm": True}),
        (["--obs-norm", "on", "--seed", "3"], {"obs_norm": True, "seed": 3}),
        (["--obs-norm", "--seed", "1"], {"obs_norm": True}),
        (["--no-tensorboard"], {"tensorboard": False}),
        (["--algo", "SAC"], {"algo": "sac"}),
        (["--algo=SAC"], {"algo": "sac"}),
        (["--compile", "Off"], {"compile": "off"}),
        (["--hidden-dims", "64,32"], {"hidden_dims": (64, 32)}),
        (["--hidden-dims", "64", "32"], {"hidden_dims": (64, 32)}),
        (["--seeds", "3"], {"seeds": 3}),
        (["--seeds", "7,0,3"], {"seeds": (7, 0, 3)}),
        (["--cpu-threads", "auto", "--env-threads", "auto"], {}),
        (["--cpu-threads", "2"], {"cpu_threads": 2}),
        (["--stop-at-return", "none"], {}),
        (["--stop-at-return=-150"], {"stop_at_return": -150.0}),
        (["--run-dir", "none"], {}),
        (["--run-dir", "My_Run"], {"run_dir": "My_Run"}),
        (["--sweep", "gamma=0.9,0.99", "tau=0.01,0.02"], {"sweep": ("gamma=0.9,0.99", "tau=0.01,0.02")}),
    ],
)
def test_what_is_certain_is_understood(args, changes):
    expected = PENDULUM.replace(**changes)
    assert train_config(["--env", "Pendulum-v1", *args]) == expected
    assert train_config(["Pendulum-v1", *args]) == expected


def test_algorithm_and_preset_in_other_letters():
    assert train_config(["Ant-v5", "--preset", "Pendulum"]) == train_config(["Ant-v5", "--preset", "pendulum"])
    assert train_config(["Pendulum-v1", "--algo", "SAC_V1"]) == train_config(["Pendulum-v1", "--algo", "sac-v1"])


def test_a_list_of_seeds_replaces_the_seed_of_a_file(tmp_path):
    (tmp_path / "config.json").write_text(PENDULUM.replace(seed=7).to_json())
    args = ["--config", str(tmp_path), "--seeds"]
    assert train_config([*args, "4,9"]).member_seeds == [4, 9]
    assert train_config([*args, "2"]).member_seeds == [7, 8]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--learning-rate", "1e-3"],
            "--learning-rate is three settings here: --actor-lr, --critic-lr and --alpha-lr.",
        ),
        (["--lr=1e-3"], "--lr is three settings here"),
        (["--total_timesteps", "9"], "--total-timesteps is --total-steps here."),
        (["--n-envs", "9"], "--n-envs is --num-envs here."),
        (
            ["--save-freq", "9"],
            "--save-freq is --checkpoint-every here, which counts the steps of all environments together;",
        ),
        (["--cuda"], "--cuda is --device here: --device cuda or --device cpu."),
        (["--nun-envs", "3"], "unknown option --nun-envs; did you mean --num-envs?"),
        (["--no-obsnorm"], "unknown option --no-obsnorm; did you mean --no-obs-norm?"),
        (["--colour", "red"], "unknown option --colour. `fastsac train --help-all` lists the options."),
        (["--seed", "3", "--seeds", "4,5"], "seed has no place beside a list of seeds, got seed 3 and seeds (4, 5)."),
        (["--seeds", "4,5,4"], "seeds must differ from each other, got (4, 5, 4)."),
        (["--seeds", "4,x"], "--seeds must be a list of whole numbers or a whole number, got [4, 'x']."),
        (["--num-envs", "4", "Ant-v5"], "there is no place for Ant-v5. `fastsac train --help-all` lists the options."),
        (["--seeds", "4,,5"], "--seeds must be a list of whole numbers or a whole number, got [4, '', 5]."),
        (["--seeds"], "--seeds must have a value. `fastsac train --help-all` lists the options."),
        (["--num-envs"], "--num-envs must have a value. `fastsac train --help-all` lists the options."),
        (["--algo", "PPO"], "algo must be one of auto, sac, sac-discrete, sac-v1, sql, sql-discrete, got 'PPO'."),
        (["--obs-norm", "maybe"], "there is no place for maybe."),
    ],
)
def test_what_is_not_gets_the_right_form(args, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        train_config(["--env", "Pendulum-v1", *args])
    assert "\n" not in str(caught.value)


def test_an_environment_is_named_once():
    with pytest.raises(ValueError, match=r"env is given twice, as Ant-v5 and by --env\. Leave one out\."):
        train_config(["Ant-v5", "--env", "Pendulum-v1"])


def test_other_programs_lead_to_flags_that_there_are():
    assert set(SAME) <= OURS
    for name, text in ELSEWHERE.items():
        assert name not in OURS
        assert set(re.findall(r"--[a-z][a-z0-9-]*", text)) <= OURS, text
        assert re.match(r"(is|has|counts) .*\.$", text), text
    names = [name for names in SAME.values() for name in names.split()] + [*OTHER]
    assert len(names) == len(set(names)) == len(ELSEWHERE)


@pytest.mark.parametrize("field", ["seed", "gamma", "obs_norm", "algo", "sweep", "preset"])
def test_every_flag_stays_as_it_is(field):
    flags = flags_of(Config)
    (flag,) = [flag for flag in flags if flag.field == field]
    assert as_usual([flag.name, "x_Y"], flags) == ([f"{flag.name}=x_Y"] if flag.words else [flag.name, "x_Y"])


def test_a_switch_without_a_counterpart_is_left_out_for_no():
    assert parse(EvalArgs, "fastsac eval", ["run", "--json", "false"]).json is False
    assert parse(EvalArgs, "fastsac eval", ["run", "--json=yes"]).json is True


@pytest.mark.parametrize(
    ("args", "widths"), [(["64"], (64,)), (["64", "32"], (64, 32)), (["64,32"], (64, 32)), (["none"], None)]
)
def test_a_list_may_be_none(args, widths):
    assert parse(Widths, "fastsac", ["--widths", *args]).widths == widths


def test_near_matches_are_near():
    assert near_match("TRIAN", ["train", "plot"]) == "; did you mean train?"
    assert near_match("learning-rate", ["learn-alpha", "log-every"]) == "."
