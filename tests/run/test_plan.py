"""What `auto` chooses, where that depends on what is installed."""

import json
import re
from pathlib import Path

import pytest
import torch
from torch.torch_version import TorchVersion

from fastsac.algorithms import registry
from fastsac.algorithms.algorithm import OPTIONS
from fastsac.config.settings import Config
from fastsac.env import make_spec
from fastsac.run import mode
from fastsac.run.fastest import with_fastest
from fastsac.run.forecast import GFLOP_PER_S, gflop_per_update
from fastsac.run.mode import choose_mode
from fastsac.run.plan import make_plan
from tests.support.runs import BASE

CPU = torch.device("cpu")
IMAGES = "tests.support.image_env:Side"
LONG = BASE.replace(total_steps=100_000, compile="auto")


def pictures(tmp_path, shape, **changes):
    """The notes of a run on pictures of a shape."""
    config = BASE.replace(env="gymnasium:tests.support.gym_envs:Pictures-v0", run_dir=str(tmp_path / "run"), **changes)
    plan = make_plan(config.replace(env_kwargs={"shape": shape, **config.env_kwargs}))
    plan.place.release()
    return [note for note in plan.notes if "is a vector of numbers from 0 to 255" in note]


def test_a_picture_that_is_too_small_for_an_image_has_a_note(tmp_path):
    (note,) = pictures(tmp_path, (35, 36, 3))
    assert (
        "obs of shape (35, 36, 3) is a vector of numbers from 0 to 255, since an image has sides of at least 36" in note
    )
    assert note.endswith(
        "; enlarged it goes through convolutions; obs_norm (--obs-norm) brings its numbers to one scale."
    )


@pytest.mark.parametrize(
    ("shape", "changes", "end"),
    [
        ((36, 36, 3), {}, None),
        ((9, 9), {}, None),
        ((9, 9, 3), {"env_kwargs": {"dtype": "float32"}}, None),
        ((9, 9, 3), {"obs_norm": True}, "pixels; enlarged it goes through convolutions."),
        ((9, 9, 3), {"obs_norm": True, "env_kwargs": {"parts": ["image", "speed"]}}, "at least 36 pixels."),
    ],
)
def test_its_note_says_what_can_be_done(tmp_path, shape, changes, end):
    notes = pictures(tmp_path, shape, **changes)
    assert [note[-len(end or "") :] for note in notes] == ([] if end is None else [end])


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
def test_a_cpu_compiles_where_that_saves_more_than_it_takes(monkeypatch, chosen, updates, changes):
    monkeypatch.setattr(mode, "TORCH", TorchVersion("2.13.0"))
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
        (
            {"env": "CartPole-v1", "algo": "sql", "actor_delay": 2},
            "actor_delay has no effect on algo sql-discrete. Leave it out.",
        ),
        ({"target_entropy_share": 0.2}, "target_entropy_share has no effect on algo sac. Leave it out."),
        ({"lr_final": 0.5}, "lr_final has no effect with lr_schedule constant. Leave it out."),
        ({"num_atoms": 51}, "num_atoms has no effect with critic_head scalar. Leave it out."),
        ({"value_min": -9.0, "reward_norm": True}, "value_min has no effect with critic_head scalar. Leave it out."),
        (
            {"value_max": 9.0},
            "value_max has no effect with critic_head scalar and without reward_norm. Leave it out.",
        ),
        ({"n_step_entropy": False}, "n_step_entropy has no effect with n_step 1. Leave it out."),
        ({"network": "flash", "activation": "silu"}, "activation has no effect on network flash. Leave it out."),
        (
            {"hidden_dims": (64,), "actor_hidden_dims": (8,), "critic_hidden_dims": (8,)},
            "hidden_dims has no effect beside actor_hidden_dims and critic_hidden_dims, which set the widths. "
            "Leave it out.",
        ),
        ({"env": IMAGES, "obs_norm": True}, "obs_norm has no effect on images. Leave it out."),
    ],
)
def test_settings_without_effect_are_refused_before_anything_is_made(tmp_path, changes, message):
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_plan(BASE.replace(run_dir=str(folder), **changes))
    assert not folder.exists()


def test_widths_that_a_preset_has_set_are_said_to_be_its_own(tmp_path):
    message = (
        "hidden_dims has no effect beside actor_hidden_dims and critic_hidden_dims, which preset simba has set, and "
        "--actor-hidden-dims and --critic-hidden-dims change. Leave it out."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        plan_of(tmp_path, env="Pendulum-v1", preset="simba", hidden_dims=(8,))


def test_hours_of_updates_on_a_cpu_are_told_before_they_begin(tmp_path):
    sizes = {
        "total_steps": 50_000_000,
        "learning_starts": 100_000,
        "batch_size": 2_048,
        "cpu_threads": 2,
        "buffer_size": 100_000,
    }
    (told,) = [
        note for note in plan_of(tmp_path, env="Pendulum-v1", preset="flashsac", **sizes).notes if "GFLOP" in note
    ]
    assert told.startswith("97,460 updates of about ")
    assert " GFLOP take some 11 hours on 2 CPU cores, if each comes to 75 GFLOP a second. " in told
    short = plan_of(tmp_path, env="Pendulum-v1", preset="flashsac", **{**sizes, "total_steps": 5_000_000})
    assert "GFLOP" not in str(short.notes)


@pytest.mark.parametrize("preset", ["gym-mujoco", "simba", "flashsac-cpu-sim", "flashsac", "fastsac"])
def test_the_forecast_is_near_what_was_measured(preset):
    """GFLOP of an update in bench/results/cpu2/recipes.json, and of a core in a second: within a factor of 1.6."""
    file = Path(__file__).parents[2] / "bench" / "results" / "cpu2" / "recipes.json"
    (row,) = [row for row in json.loads(file.read_text())["rows"] if row["name"] == preset]
    config = Config(env="HalfCheetah-v5", preset=preset, algo="sac")
    assert 1 / 1.6 < row["gflop"] / gflop_per_update(config, make_spec(config.env)) < 1.6
    assert 1 / 1.6 < row["gflop"] * row["median"] / 2 / GFLOP_PER_S < 1.6


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 18), ({"network": "simba"}, 25), ({"critic_head": "categorical"}, 46),
        ({"network": "flash", "critic_head": "categorical"}, 60),
    ],
)  # fmt: skip
def test_the_time_to_compile_depends_on_network_and_head(changes, seconds):
    _, why = choose_mode(LONG.replace(**changes), CPU)
    assert why.startswith(f"compiling takes some {seconds} s and saves ")


def plan_of(tmp_path, **changes):
    """A plan of a preset's settings with the sizes of a small run; its folder is let go."""
    sizes = {"total_steps": 60, "learning_starts": 16, "batch_size": 8, "buffer_size": 10_000, "device": "cpu"}
    plan = make_plan(Config(**{**sizes, "run_dir": tmp_path / "run", **changes}))
    plan.place.release()
    return plan


@pytest.mark.parametrize("preset", ["flashsac", "flashsac-cpu-sim", "fastsac", "simba"])
@pytest.mark.parametrize(
    ("env", "algo"),
    [
        ("CartPole-v1", "auto"), ("CartPole-v1", "sql"), (IMAGES, "auto"), ("Pendulum-v1", "auto"),
        ("Pendulum-v1", "sac-v1"), ("Pendulum-v1", "sql"),
    ],
)  # fmt: skip
def test_a_recipe_is_for_every_task_and_algorithm_without_what_that_has_not(tmp_path, preset, env, algo):
    network = {"network": "mlp"} if "flashsac" in preset and algo in ("sac-v1", "sql") else {}
    plan = plan_of(tmp_path, env=env, preset=preset, algo=algo, **network)
    for name in OPTIONS - registry.get_algorithm(plan.config.algo).options:
        assert getattr(plan.config, name) == Config.default(name)
    left_out = [note for note in plan.notes if note.startswith(f"left out of preset {preset}: ")]
    assert len(left_out) == (plan.config.algo != "sac")


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"env": "Pendulum-v1", "algo": "sac-v1"}, "--network mlp or simba"),
        ({"env": "Pendulum-v1", "algo": "sql"}, "--network mlp or simba"),
        ({"env": "CartPole-v1", "algo": "sac"}, "--algo auto"),
        ({"env": IMAGES, "algo": "sac-v1"}, "--algo auto"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_with_what_to_do(tmp_path, changes, remedy):
    with pytest.raises(ValueError, match=rf"Give {remedy}\.$"):
        plan_of(tmp_path, preset="flashsac", **changes)
    assert not (tmp_path / "run").exists()


def test_what_is_left_out_of_a_preset_is_named_with_the_reason(tmp_path):
    plan = plan_of(tmp_path, env="CartPole-v1", preset="flashsac", lr_schedule="constant")
    expected = (
        "left out of preset flashsac: log_std_min and target_sigma (no effect on algo sac-discrete), "
        "lr_final (no effect with lr_schedule constant)"
    )
    assert expected in plan.notes
    assert (plan.config.target_sigma, plan.config.lr_final, plan.config.log_std_min) == (None, 0.0, -5.0)
    stored = Config.from_json(plan.config.to_json())
    assert stored == plan.config


def test_a_value_of_ones_own_is_refused_where_the_presets_is_left_out(tmp_path):
    with pytest.raises(ValueError, match=r"^target_sigma has no effect on algo sac-discrete\. Leave it out\.$"):
        plan_of(tmp_path, env="CartPole-v1", preset="flashsac", target_sigma=0.3)


def test_the_preset_fastest_is_resolved_for_the_device_and_said_at_the_start(tmp_path):
    settings, notes = with_fastest("Pendulum-v1", {"preset": "fastest", "device": "cpu", "seed": 3})
    assert settings == {"preset": "pendulum", "device": "cpu", "seed": 3}
    assert notes == (
        "preset fastest is pendulum here: -180 in 10.1 s on two cores (bench/results/cpu2/solve-pendulum.json)",
    )
    plan = make_plan(Config(env="Pendulum-v1", run_dir=tmp_path / "run", **settings), notes)
    plan.place.release()
    assert plan.notes[0] == notes[0]
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    assert with_fastest("X", {"preset": "fastest"})[1][0].endswith(f"nothing was measured of X on {kind}")
    assert with_fastest("X", {"preset": "simba"}) == ({"preset": "simba"}, ())
