"""Networks on flat vectors against torch.nn modules."""

import math
from typing import get_args

import pytest
import torch
from torch import nn

from fastsac.algorithms.registry import get_algorithm
from fastsac.algorithms.sac import Sac
from fastsac.algorithms.sac_v1 import SacV1
from fastsac.config.defaults import Activation
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.nn import linear, vectors
from fastsac.nn.activations import ACTIVATIONS
from fastsac.nn.encoder import Encoder
from fastsac.nn.linear import PLAIN, MatmulConfig
from fastsac.nn.mlp import Mlp
from fastsac.nn.network import Net, Network
from tests.support.networks import module_of, parts

HIDDEN = (8, 6)


def make(num_inputs, num_outputs, seed, stream, hidden_dims=HIDDEN, **options):
    """A network for vectors, and its parameters by name."""
    network = Network(Encoder(num_inputs), Mlp(num_inputs, hidden_dims, num_outputs, **options))
    return network, vectors.unflatten(network.init(torch.tensor(seed), stream), network.shapes)


BOTH = pytest.mark.parametrize("matmul", [PLAIN, MatmulConfig(bias_inside=True)], ids=["added", "inside"])


@BOTH
def test_actor_equals_a_torch_mlp(matmul):
    network, params = make(5, 6, seed=1, stream=0, matmul=matmul)
    algorithm = Sac(Config(env="test:test", hidden_dims=HIDDEN), EnvSpec("test:test", 5, 3, (("obs", 5),), None))
    obs = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)) * 10
    mean, log_std = algorithm.gaussian(Net(network, params), obs)
    expected_mean, raw = module_of(params, 5)(obs).chunk(2, -1)
    torch.testing.assert_close(mean, expected_mean)
    torch.testing.assert_close(log_std, -5 + 3.5 * (torch.tanh(raw) + 1))
    assert log_std.min() >= -5
    assert log_std.max() <= 2


@pytest.mark.parametrize("algo", [Sac, SacV1])
def test_log_std_is_clamped_to_its_range_where_that_is_asked_for(algo):
    config = Config(env="test:test", hidden_dims=HIDDEN, log_std_map="clamp", log_std_min=-0.1, log_std_max=0.2)
    algorithm = algo(config, EnvSpec("test:test", 5, 3, (("obs", 5),), None))
    vector = algorithm.networks["actor"].init(torch.tensor(1), 0)
    obs = torch.randn(64, 5, generator=torch.Generator().manual_seed(0)) * 10
    mean, log_std = algorithm.gaussian(algorithm.net("actor", vector), obs)
    expected_mean, raw = module_of(vectors.unflatten(vector, algorithm.networks["actor"].shapes), 5)(obs).chunk(2, -1)
    torch.testing.assert_close(mean, expected_mean)
    torch.testing.assert_close(log_std, raw.clamp(-0.1, 0.2))
    assert (log_std.min().item(), log_std.max().item()) == (pytest.approx(-0.1), pytest.approx(0.2))


@BOTH
@pytest.mark.parametrize("layer_norm", [False, True])
def test_critics_equal_torch_mlps(layer_norm, matmul):
    network, params = make(8, 1, seed=1, stream=1, num_nets=3, layer_norm=layer_norm, matmul=matmul)
    if layer_norm:  # away from the identity
        flat = vectors.flatten(params)
        flat = flat + 0.1 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(2))
        params = vectors.unflatten(flat, network.shapes)
    generator = torch.Generator().manual_seed(0)
    obs, action = torch.randn(7, 5, generator=generator), torch.rand(7, 3, generator=generator)
    q = Net(network, params)(obs, action).squeeze(-1)
    assert q.shape == (3, 7)
    for e in range(3):
        expected = module_of(params, 8, e, layer_norm)(torch.cat([obs, action], -1)).squeeze(-1)
        torch.testing.assert_close(q[e], expected)


MODULES = {"relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh, "elu": nn.ELU, "gelu": nn.GELU}


@BOTH
@pytest.mark.parametrize("activation", get_args(Activation))
def test_networks_have_the_activation_that_is_asked_for(activation, matmul):
    network, params = make(5, 6, seed=1, stream=0, activation=activation, matmul=matmul)
    obs = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)) * 10
    expected = module_of(params, 5, activation=MODULES[activation])(obs)
    torch.testing.assert_close(Net(network, params)(obs), expected)


def test_every_activation_of_the_settings_is_in_the_table():
    assert [*ACTIVATIONS] == [*get_args(Activation)]


@pytest.mark.parametrize("algo", ["sac", "sac-v1", "sac-discrete", "sql"])
def test_actor_and_critics_have_widths_and_activation_of_their_own(algo):
    config = Config(env="test:test", hidden_dims=(9,), critic_hidden_dims=(4, 4, 4), activation="elu")
    spec = EnvSpec("test:test", 5, 3, (("obs", 5),), None, discrete=algo == "sac-discrete")
    for changes, dims in (({}, (9,)), ({"actor_hidden_dims": (7, 7)}, (7, 7))):
        networks = get_algorithm(algo)(config.replace(**changes), spec).networks
        assert networks.pop("actor").body.hidden_dims == dims
        assert {network.body.hidden_dims for network in networks.values()} == {(4, 4, 4)}
        assert {network.body.activation for network in networks.values()} == {"elu"}


def test_flatten_undoes_unflatten():
    shapes = Mlp(8, HIDDEN, 1, num_nets=2, layer_norm=True).shapes
    flat = torch.arange(vectors.num_params(shapes), dtype=torch.float32)
    assert torch.equal(vectors.flatten(vectors.unflatten(flat, shapes)), flat)


def test_init_is_uniform_in_one_over_root_fan_in():
    network, params = make(128, 1, seed=5, stream=1, hidden_dims=(256,), num_nets=2, layer_norm=True)
    bound = 1 / math.sqrt(128)
    weight, bias = parts(params["layer0"], 128)
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert bound / 2 < bias.abs().max() <= bound
    assert not params["layer0"][:, 129:].any()
    assert params["layer1"].shape == (2, 264, 1)
    assert params["layer1"].abs().max() <= 1 / math.sqrt(256)
    assert not torch.equal(weight[0], weight[1])
    assert torch.equal(params["scale0"], torch.ones(2, 1, 256))
    for other in (network.init(torch.tensor(6), 1), network.init(torch.tensor(5), 0)):
        assert not torch.equal(other, vectors.flatten(params))


@BOTH
def test_rows_of_zeros_stay_zero(matmul):
    """They pad a layer to a multiple of 8 rows; Adam must find no gradient there."""
    network, params = make(5, 6, seed=1, stream=0, matmul=matmul)
    obs = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))

    def loss(params):
        return Net(network, params)(obs).square().sum()

    gradient = torch.func.grad(loss)(params)
    for name, fan_in in (("layer0", 5), ("layer1", 8), ("layer2", 6)):
        assert gradient[name].shape[0] % linear.ALIGN == 0
        assert gradient[name][: fan_in + 1].any()
        assert not gradient[name][fan_in + 1 :].any()


def test_bf16_products_are_near_and_come_out_as_float32():
    sizes = {"seed": 1, "stream": 1, "hidden_dims": (32, 32), "num_nets": 2}
    (network, params), (other, _) = (make(8, 1, **sizes, matmul=MatmulConfig(bf16=bf16)) for bf16 in (False, True))
    generator = torch.Generator().manual_seed(0)
    obs, action = torch.randn(7, 5, generator=generator), torch.rand(7, 3, generator=generator)
    exact, rounded = Net(network, params)(obs, action), Net(other, params)(obs, action)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.02)
