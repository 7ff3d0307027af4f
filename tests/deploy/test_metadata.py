"""What an exported file says of a policy that has no run."""

import json

import numpy as np

import fastsac
from fastsac import policies
from fastsac.deploy.metadata import describe
from fastsac.run.policy_dir import read_about
from tests.support.runs import run


def test_a_policy_of_the_package_says_what_it_was_made_with():
    policy = fastsac.load("demo:pendulum")
    card = read_about(policies.folder_of("pendulum")).card
    texts = describe(policy, policy.spec, np.zeros((2, 3), np.float32), stochastic=False)
    assert (texts["run_path"], texts["env_steps"]) == (str(policy.run_dir), str(card.env_steps))
    assert json.loads(texts["trained_by"]) == {"git_commit": card.git_commit, **card.versions}


def test_what_is_not_known_is_left_out(tmp_path):
    result = run(tmp_path)
    (result.run_dir / "summary.json").unlink()
    policy = fastsac.load(result.run_dir)
    texts = describe(policy, policy.spec, np.zeros((2, policy.obs_dim), np.float32), stochastic=False)
    assert "trained_by" not in texts
    assert all(texts.values())
