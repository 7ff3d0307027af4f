"""Scaling of rewards in learners and whole runs: the statistics beside NumPy, what a gradient step makes of them."""

from typing import Any

import numpy as np
import pytest
import torch

from fastsac import checkpoint
from fastsac.acting.errors import NotFiniteError
from fastsac.env import Step
from fastsac.run.trainer import train
from tests.support.interrupted_runs import resumed
from tests.support.learners import BASE as LEARNER
from tests.support.learners import N, O, make_filled
from tests.support.loops import Loop
from tests.support.runs import dumps, parameters, rows, run

NORMED: dict[str, Any] = {"reward_norm": True, "n_step": 2, "bootstrap_time_limits": False, "obs_norm": True}


def textbook(replay, member, gamma):
    """Every discounted return of a member's stream, and those of the episodes under way; rows after an end are none."""
    reward = replay["rows.reward"][member].double().numpy()[:-1]  # [T, N]; the last row is the head
    done = (replay["rows.terminated"] | replay["rows.truncated"])[member].numpy()[:-1]
    found, running = [], []
    for env in range(reward.shape[1]):
        g, is_dummy = 0.0, False
        for r, end in zip(reward[:, env], done[:, env], strict=True):
            if not is_dummy:
                g = gamma * g + r
                found.append(g)
                g = 0.0 if end else g
            is_dummy = end and not is_dummy
        running.append(g)
    return np.array(found), np.array(running)


@pytest.mark.parametrize("value_max", [0.5, 5.0])
def test_a_run_keeps_numpys_statistics_of_its_members(tmp_path, value_max):
    """Two discount factors by two limits of rewards, four environments whose episodes end at different times."""
    sweep = ("gamma=0.9,0.5", "reward_clip=0,7")
    result = run(tmp_path, sweep=sweep, value_max=value_max, **NORMED)
    state = checkpoint.load(result.run_dir)[0]
    statistics = state["return_normalizer"]
    for member, gamma in enumerate((0.9, 0.9, 0.5, 0.5)):
        returns, running = textbook(state["replay"], member, gamma)
        mine = {name: value[member].numpy() for name, value in statistics.items()}
        assert mine["count"] == len(returns) == result.members[member]["env_steps"]
        np.testing.assert_allclose(mine["running_mean"], returns.mean(), rtol=1e-6)
        np.testing.assert_allclose(mine["running_sum2"] / len(returns), returns.var(), rtol=1e-6)
        np.testing.assert_allclose(mine["returns"], running, rtol=1e-6)
        largest = np.abs(returns).max()
        np.testing.assert_allclose(mine["scale"], 1 / max(returns.std(), largest / value_max), rtol=1e-5)
    assert statistics["max_size"][1] < statistics["max_size"][0]  # rewards are clipped before


@pytest.mark.parametrize("n_step", [1, 3])
def test_a_gradient_step_learns_from_scaled_rewards_and_entropies_as_they_are(n_step):
    """As without scaling, from a replay that holds the scaled rewards."""
    normed = make_filled(reward_norm=True, n_step=n_step, seeds=2, reward_scale=2.0, gamma=0.5)
    plain = make_filled(n_step=n_step, seeds=2, reward_scale=2.0, gamma=0.5)
    assert normed.return_normalizer is not None
    scale = normed.return_normalizer.scale
    assert ((scale - 1).abs() > 0.05).all()
    plain.replay.rows.reward.mul_(scale.view(2, 1, 1))
    for parts in (normed, plain):
        parts.learner.launch([10, 10])
    states = [parts.learner.buffers["state"]["params"] for parts in (normed, plain)]
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-4, atol=1e-6)


def test_the_same_settings_learn_alike_from_rewards_of_any_size(tmp_path):
    """Gradient steps are those of rewards as they are, and returns are reported as they are."""
    factors = (1.0, 0.1, 10.0)
    results = [
        run(tmp_path, f"x{factor}", env_kwargs={"factor": factor}, critic_lr=1e-3, **NORMED) for factor in factors
    ]
    plain = run(tmp_path, "plain", env_kwargs={"factor": 10.0}, critic_lr=1e-3, **{**NORMED, "reward_norm": False})
    tables = [rows(result.run_dir / "metrics.csv") for result in results]
    for factor, result, table in zip(factors, results, tables, strict=True):
        for name, value in parameters(result).items():
            torch.testing.assert_close(value, parameters(results[0])[name], rtol=1e-3, atol=1e-5)
        for row, first in zip(table, tables[0], strict=True):
            assert float(row["episode_return"]) == pytest.approx(factor * float(first["episode_return"]), rel=1e-5)
        losses = [float(each[-1]["critic_loss"]) for each in (table, tables[0])]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    unlike = parameters(plain)["critic"] - parameters(results[0])["critic"]
    assert unlike.abs().max() > 1e-2


def test_off_adds_nothing(tmp_path):
    parts = make_filled()
    assert parts.return_normalizer is None
    assert "return_scale" not in parts.learner.buffers
    assert "return_normalizer" not in checkpoint.load(run(tmp_path).run_dir)[0]


def test_episodes_that_new_environments_cut_off_do_not_go_on():
    """Rewards of 1, gamma 0.99: returns are 1 and 1.99 before, and 1 again after."""
    loop = Loop(LEARNER.replace(reward_norm=True))
    obs, reward, flags = np.ones((N, O), np.float32), np.ones(N, np.float32), np.zeros(N, bool)
    normalizer, returns = loop.return_normalizer, []
    assert normalizer is not None
    for _ in range(2):
        loop.store.reset(obs, [True])
        for _ in range(2):
            loop.actor.act()
            loop.store.add(Step(obs, reward, flags, flags), [True])
            returns.append(normalizer.returns[0].tolist())
    assert returns == [[1.0] * N, [pytest.approx(1.99)] * N] * 2
    assert normalizer.count.tolist() == [4 * N]


def test_a_dump_of_a_fault_has_the_statistics(tmp_path):
    with pytest.raises(NotFiniteError):
        run(tmp_path, total_steps=200, critic_lr=1e30, **NORMED)
    (dump,) = dumps(tmp_path / "run")
    assert dump["return_normalizer"]["count"] > 16
    assert dump["return_normalizer"]["returns"].shape == (4,)


def test_a_resumed_run_keeps_the_setting_and_an_earlier_checkpoint_has_it_off(tmp_path):
    folder = run(tmp_path).run_dir
    with pytest.raises(ValueError, match=r"has reward_norm False, got True\. Leave these flags out"):
        train(resumed(folder, total_steps=80, reward_norm=True))
    assert train(resumed(folder, total_steps=80)).env_steps >= 80
