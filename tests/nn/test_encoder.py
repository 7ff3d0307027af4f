"""Convolutions over images: sizes, values by hand, members, and a task that is learned from pixels."""

import pytest
import torch
from torch.nn import functional as F

from fastsac import checkpoint, load
from fastsac.algorithms import step
from fastsac.algorithms.batch import Batch
from fastsac.algorithms.registry import get_algorithm
from fastsac.config.algorithms import ALGORITHMS
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.learning.gradient_step import make_hyper
from fastsac.nn import vectors
from fastsac.nn.encoder import Encoder
from fastsac.nn.linear import MatmulConfig
from fastsac.nn.mlp import Mlp
from fastsac.nn.network import Network
from fastsac.run import plan
from fastsac.run.trainer import train
from tests.support.image_env import SIDE
from tests.support.learners import CPU
from tests.support.runs import TIME_COLUMNS, rows

IMAGE = (2, 36, 40)
PIXELS = 2 * 36 * 40


def test_vectors_pass():
    encoder = Encoder(5, None, (32, 64, 64))
    obs = torch.randn(3, 5)
    assert encoder({}, obs) is obs
    assert encoder.num_features == 5
    assert encoder.shapes == {}


@pytest.mark.parametrize(
    ("image", "features"), [((4, 84, 84), 64 * 7 * 7), ((3, 96, 96), 64 * 8 * 8), ((1, 36, 36), 64)]
)
def test_sizes_are_those_of_dqn(image, features):
    encoder = Encoder(0, image, (32, 64, 64))
    assert encoder.num_features == features
    assert list(encoder.shapes.values())[::2] == [(32, image[0], 8, 8), (64, 32, 4, 4), (64, 64, 3, 3)]


def test_features_equal_torch_layers():
    encoder = Encoder(PIXELS, IMAGE, (3, 4, 5))
    network = Network(encoder, Mlp(encoder.num_features, (4,), 1))
    params = vectors.unflatten(network.init(torch.tensor(1), stream=0), network.shapes)
    obs = torch.randint(0, 256, (6, PIXELS), dtype=torch.uint8)
    x = obs.view(6, *IMAGE).float() / 255
    for i, stride in enumerate((4, 2, 1)):
        assert params[f"conv{i}"].abs().max() <= params[f"conv{i}"][0].numel() ** -0.5
        assert params[f"bias{i}"].abs().max() <= params[f"conv{i}"][0].numel() ** -0.5
        x = F.relu(F.conv2d(x, params[f"conv{i}"], params[f"bias{i}"], stride))
    torch.testing.assert_close(encoder(params, obs), x.flatten(1))
    assert x.flatten(1).shape == (6, encoder.num_features)
    rough = encoder(params, obs, MatmulConfig(bf16=True))
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, x.flatten(1), rtol=0.05, atol=0.02)


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_every_algorithm_sees_images_and_learns_its_encoder(algo):
    """Each convolution of each network moves at an update, those of the targets follow, and actions are finite."""
    config = Config(env="x", conv_channels=(4, 4), hidden_dims=(32,), algo=algo, n_step=2)
    spec = EnvSpec("test:test", PIXELS, 3, (), None, discrete=get_algorithm(algo).discrete, image=IMAGE)
    algorithm = get_algorithm(algo)(config, spec)
    state = step.init(algorithm, torch.tensor(1), 0.5)
    obs, next_obs = torch.randint(0, 256, (2, 8, PIXELS), dtype=torch.uint8)
    action = algorithm.act_randomly(torch.randn(8, 3))
    assert algorithm.act(state["params"][algorithm.acts_by], obs, torch.randn(8, 3)).isfinite().all()
    batch = Batch(obs, action, torch.randn(8), torch.full((8,), 0.9), next_obs)
    hyper = {k: v[0] for k, v in make_hyper(algorithm, config, CPU).items()}
    new, _ = step.update(algorithm, hyper, state, batch, torch.randn(*algorithm.noise_shape(8)))
    for name in state["params"].keys() - {"log_alpha"}:
        before, after = (algorithm.learned[name].views(s["params"][name]) for s in (state, new))
        for layer in ("conv0", "bias0", "conv1", "bias1"):
            assert not torch.equal(before[layer], after[layer]), (name, layer)
        if name in state["targets"]:
            assert not torch.equal(state["targets"][name], new["targets"][name])


def test_learns_from_pixels(tmp_path):
    """The bright side of the image is the choice that pays: 8 of 8 steps, where chance gives 4."""
    result = train(
        Config(
            env="tests.support.image_env:Side", num_envs=8, total_steps=2_000, learning_starts=300, batch_size=32,
            buffer_size=2_000, utd_ratio=0.25, gamma=0.5, hidden_dims=(32,), conv_channels=(8, 8), actor_lr=5e-4,
            critic_lr=5e-4, init_alpha=0.1, learn_alpha=False, eval_every=0, eval_episodes=10, log_every=500,
            checkpoint_every=0, tensorboard=False, run_dir=str(tmp_path / "run"), device="cpu", compile="off",
            cpu_threads=1,
        )
    )  # fmt: skip
    assert result.eval_return_mean == 8.0
    policy = load(tmp_path / "run")
    image = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    image[..., : SIDE // 2] = 200
    assert policy.act(image) == 0
    assert policy.act(image.movedim(0, -1)) == 0
    assert policy.act(image.flatten().numpy()) == 0
    assert policy.act(image.flip(-1).unsqueeze(0)).tolist() == [1]
    with pytest.raises(ValueError, match="obs must be"):
        policy.act(torch.zeros(2, 7))


TINY = Config(
    env="tests.support.image_env:Side", num_envs=4, total_steps=120, learning_starts=40, batch_size=8, buffer_size=64,
    hidden_dims=(8,), conv_channels=(2, 2), n_step=2, reward_clip=0.5, eval_every=0, eval_episodes=2, log_every=40,
    checkpoint_every=0, tensorboard=False, compile="off", cpu_threads=1,
)  # fmt: skip


def test_a_recorded_run_from_pixels_equals_an_eager_one(tmp_path, recorder, monkeypatch):
    eager = train(TINY.replace(run_dir=str(tmp_path / "eager"), device="cpu", seeds=2))
    monkeypatch.setattr(plan, "choose_mode", lambda *_: ("captured", "recorded"))
    captured = train(TINY.replace(run_dir=str(tmp_path / "captured"), device="cpu", seeds=2))
    assert recorder.replayed > 30
    first, second = (rows(r.run_dir / "metrics.csv", TIME_COLUMNS) for r in (eager, captured))
    assert first == second
    state = checkpoint.load(eager.run_dir)[0]["replay"]
    assert state["rows.obs"].dtype == torch.uint8
    assert state["rows.reward"].max() == 0.5  # clipped on the way in ...
    assert max(float(r["episode_return"]) for r in first) > 2  # ... and only there
