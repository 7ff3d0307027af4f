"""The trained policies of the package: small, whole, as good as their cards say, and made by the commands on them."""

import shlex

import numpy as np
import pytest

import fastsac
from fastsac import policies
from fastsac.cli.train import train_config
from fastsac.config.settings import Config
from fastsac.policy import Policy
from fastsac.run.policy_dir import read_about

NAMES = policies.names()
EPISODES = {"pendulum": 20, "halfcheetah": 3, "hopper": 20}


def test_there_are_some_and_together_they_are_small():
    assert {*NAMES} == {*EPISODES}
    assert sum(path.stat().st_size for path in policies.HOME.rglob("*") if path.suffix != ".pyc") < 1_000_000


@pytest.mark.parametrize("name", NAMES)
def test_the_return_is_that_of_the_card(name):
    policy = fastsac.load(f"demo:{name}")
    card = read_about(policy.run_dir).card
    assert card.evaluation is not None
    assert card.evaluation.episodes == 100
    evaluation = fastsac.evaluate(policy, episodes=EPISODES[name])
    error = 4 * card.evaluation.return_std / EPISODES[name] ** 0.5
    assert evaluation.mean == pytest.approx(card.evaluation.return_mean, rel=0.02, abs=error)


@pytest.mark.parametrize("name", NAMES)
def test_it_acts(name):
    policy = fastsac.load(f"demo:{name}")
    assert isinstance(policy, Policy)
    for obs in (np.zeros(policy.obs_dim, np.float32), np.ones(policy.obs_dim, np.float32)):
        assert policy.action_space.contains(policy.act(obs))


@pytest.mark.parametrize("name", NAMES)
def test_the_command_of_the_card_trains_it_again(name):
    folder = policies.folder_of(name)
    program, command, *args = shlex.split(read_about(folder).card.command)
    assert (program, command) == ("fastsac", "train")
    assert train_config(args) == Config.load(folder)
    assert Config.load(folder).run_dir is None


def test_an_unknown_name_is_told_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"there is no demo 'cheetah'; choose from halfcheetah, .*pendulum\."):
        fastsac.load("demo:cheetah")
    with pytest.raises(ValueError, match=r"there is no demo '\.\./policies/pendulum'"):
        policies.resolve("demo:../policies/pendulum")


def test_names_of_other_folders_stay(tmp_path):
    assert policies.resolve(tmp_path / "demo") == tmp_path / "demo"
    assert not policies.is_ours(tmp_path / "pendulum")
    assert policies.title_of(tmp_path) == str(tmp_path)
    assert policies.title_of(policies.resolve("demo:pendulum")) == "demo:pendulum"
