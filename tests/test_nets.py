"""Networks on flat vectors against torch.nn modules."""

import math

import pytest
import torch
from torch import nn

from fastsac.nn import nets

HIDDEN = (8, 6)


def parts(layer, fan_in):
    """Weight [..., in, out] and bias [..., out] of a layer [..., K, out]."""
    return layer[..., :fan_in, :], layer[..., fan_in, :]


def module_of(params, num_inputs, critic=None, layer_norm=False):
    """The same network out of torch.nn parts."""
    pick = (lambda t: t) if critic is None else (lambda t: t[critic])
    layers, fan_in, i = [], num_inputs, 0
    while f"layer{i}" in params:
        weight, bias = parts(pick(params[f"layer{i}"]), fan_in)
        linear = nn.Linear(*weight.shape)
        linear.weight.data, linear.bias.data = weight.T.clone(), bias.clone()
        layers.append(linear)
        fan_in = len(bias)
        i += 1
        if f"layer{i}" in params:
            if layer_norm:
                norm = nn.LayerNorm(len(bias))
                norm.weight.data = pick(params[f"scale{i - 1}"]).reshape(-1).clone()
                norm.bias.data = pick(params[f"shift{i - 1}"]).reshape(-1).clone()
                layers.append(norm)
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


BOTH = pytest.mark.parametrize("how", [nets.PLAIN, nets.Products(bias_inside=True)], ids=["added", "inside"])


@BOTH
def test_actor_equals_a_torch_mlp(how):
    shapes = nets.mlp_shapes(5, HIDDEN, 6)
    params = nets.unflatten(nets.init(shapes, 5, torch.tensor(1), 0), shapes)
    obs = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)) * 10
    mean, log_std = nets.gaussian(params, obs, how)
    expected_mean, raw = module_of(params, 5)(obs).chunk(2, -1)
    torch.testing.assert_close(mean, expected_mean)
    torch.testing.assert_close(log_std, -5 + 3.5 * (torch.tanh(raw) + 1))
    assert log_std.min() >= -5
    assert log_std.max() <= 2


@BOTH
@pytest.mark.parametrize("layer_norm", [False, True])
def test_critics_equal_torch_mlps(layer_norm, how):
    shapes = nets.ensemble_shapes(8, HIDDEN, 1, 3, layer_norm)
    flat = nets.init(shapes, 8, torch.tensor(1), 1)
    if layer_norm:  # away from the identity
        flat = flat + 0.1 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(2))
    params = nets.unflatten(flat, shapes)
    generator = torch.Generator().manual_seed(0)
    obs, action = torch.randn(7, 5, generator=generator), torch.rand(7, 3, generator=generator)
    q = nets.critic(params, obs, action, how)
    assert q.shape == (3, 7)
    for e in range(3):
        expected = module_of(params, 8, e, layer_norm)(torch.cat([obs, action], -1)).squeeze(-1)
        torch.testing.assert_close(q[e], expected)


def test_flatten_undoes_unflatten():
    shapes = nets.ensemble_shapes(8, HIDDEN, 1, 2, True)
    flat = torch.arange(nets.num_params(shapes), dtype=torch.float32)
    assert torch.equal(nets.flatten(nets.unflatten(flat, shapes)), flat)


def test_init_is_uniform_in_one_over_root_fan_in():
    shapes = nets.ensemble_shapes(128, (256,), 1, 2, True)
    params = nets.unflatten(nets.init(shapes, 128, torch.tensor(5), 1), shapes)
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
    other = nets.init(shapes, 128, torch.tensor(6), 1)
    assert not torch.equal(other, nets.flatten(params))


@BOTH
def test_rows_of_zeros_stay_zero(how):
    """They pad a layer to a multiple of 8 rows; Adam must find no gradient there."""
    shapes = nets.mlp_shapes(5, HIDDEN, 6)
    flat = nets.init(shapes, 5, torch.tensor(1), 0)
    obs = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))

    def loss(vector):
        mean, log_std = nets.gaussian(nets.unflatten(vector, shapes), obs, how)
        return mean.sum() + log_std.square().sum()

    gradient = nets.unflatten(torch.func.grad(loss)(flat), shapes)
    for name, fan_in in (("layer0", 5), ("layer1", 8), ("layer2", 6)):
        assert gradient[name].shape[0] % nets.ALIGN == 0
        assert gradient[name][: fan_in + 1].any()
        assert not gradient[name][fan_in + 1 :].any()


def test_bf16_products_are_near_and_come_out_as_float32():
    shapes = nets.ensemble_shapes(8, (32, 32), 1, 2, False)
    params = nets.unflatten(nets.init(shapes, 8, torch.tensor(1), 1), shapes)
    generator = torch.Generator().manual_seed(0)
    obs, action = torch.randn(7, 5, generator=generator), torch.rand(7, 3, generator=generator)
    exact, rounded = nets.critic(params, obs, action), nets.critic(params, obs, action, how=nets.Products(bf16=True))
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.02)
