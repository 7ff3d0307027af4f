"""What `auto` chooses, where that depends on what is installed."""

import re

import pytest
import torch
from torch.torch_version import TorchVersion

from fastsac.config.settings import Config
from fastsac.run import mode
from fastsac.run.mode import choose_mode
from fastsac.run.plan import make_plan
from tests.support.runs import BASE

CPU = torch.device("cpu")
LONG = BASE.replace(total_steps=100_000, compile="auto")


@pytest.mark.parametrize(("version", "chosen"), [("2.11.0+cu130", "eager"), ("2.12.0", "compiled")])
def test_several_members_are_not_compiled_where_that_is_wrong(monkeypatch, version, chosen):
    monkeypatch.setattr(mode, "TORCH", TorchVersion(version))
    assert choose_mode(LONG, CPU)[0] == "compiled"
    several = LONG.replace(seeds=2)
    assert choose_mode(several, CPU)[0] == chosen
    assert choose_mode(several, torch.device("cuda"))[0] == "captured"
    if chosen == "eager":
        assert "torch 2.11.0+cu130 compiles several members wrongly" in choose_mode(several, CPU)[1]
        with pytest.raises(ValueError, match=r"compile on gives several members wrong steps .* Install torch 2\.12"):
            choose_mode(several.replace(compile="on"), CPU)


@pytest.mark.parametrize(
    ("chosen", "updates", "changes"),
    [
        ("eager", 6_000, {"hidden_dims": (64, 64)}),  # bench/results: 2.6 ms saved in each, 16 s to compile
        ("compiled", 8_000, {"hidden_dims": (64, 64)}),
        ("eager", 3_000, {"hidden_dims": (256, 256)}),
        ("compiled", 4_000, {"hidden_dims": (256, 256)}),
        ("eager", 1_000, {"hidden_dims": (256, 256), "seeds": 5}),
        ("compiled", 2_000, {"hidden_dims": (256, 256), "seeds": 5}),
    ],
)
def test_a_cpu_compiles_where_that_saves_more_than_it_takes(chosen, updates, changes):
    config = LONG.replace(batch_size=256, learning_starts=256, buffer_size=1_000, **changes)
    assert choose_mode(config.replace(total_steps=256 + updates), CPU)[0] == chosen


def test_a_run_that_stops_at_a_return_counts_the_updates_to_it():
    config = Config(env="Pendulum-v1")  # 20,000 steps, and solved after some 2,500
    assert choose_mode(config, CPU)[0] == "compiled"
    for goal in ("stop_at_return", "stop_at_episode_return"):
        mode, why = choose_mode(config.replace(**{goal: -180.0}), CPU)
        assert (mode, why[-60:]) == ("eager", "s 9 s in the usual 3,500 updates (--compile on does it anyway)"[-60:])
    assert choose_mode(Config(env="Pendulum-v1", preset="none", stop_at_return=-180.0), CPU)[0] == "compiled"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algo": "sac-v1", "update_order": "actor-first"}, "update_order has no effect on algo sac-v1. Leave it out."),
        ({"algo": "sql", "alpha_states": "both"}, "alpha_states has no effect on algo sql. Leave it out."),
        ({"algo": "sql", "log_std_min": -9.0}, "log_std_min has no effect on algo sql. Leave it out."),
        (
            {"env": "CartPole-v1", "target_sigma": 0.15},
            "target_sigma has no effect on algo sac-discrete. Leave it out.",
        ),
        (
            {"env": "CartPole-v1", "algo": "sql", "actor_layer_norm": True},
            "actor_layer_norm has no effect on algo sql-discrete. Leave it out.",
        ),
    ],
)
def test_settings_that_an_algorithm_has_not_are_refused_before_anything_is_made(tmp_path, changes, message):
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_plan(BASE.replace(run_dir=str(folder), **changes))
    assert not folder.exists()
