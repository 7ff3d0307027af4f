"""Networks on flat vectors against torch.nn modules."""

import math

import pytest
import torch
from torch import nn

from fastsac import nets

HIDDEN = (8, 6)


def module_of(params, critic=None, layer_norm=False):
    """The same network out of torch.nn parts."""
    pick = (lambda t: t) if critic is None else (lambda t: t[critic])
    layers, i = [], 0
    while f"weight{i}" in params:
        weight, bias = pick(params[f"weight{i}"]), pick(params[f"bias{i}"]).reshape(-1)
        linear = nn.Linear(*weight.shape)
        linear.weight.data, linear.bias.data = weight.T.clone(), bias.clone()
        layers.append(linear)
        i += 1
        if f"weight{i}" in params:
            if layer_norm:
                norm = nn.LayerNorm(len(bias))
                norm.weight.data = pick(params[f"scale{i - 1}"]).reshape(-1).clone()
                norm.bias.data = pick(params[f"shift{i - 1}"]).reshape(-1).clone()
                layers.append(norm)
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def test_actor_equals_a_torch_mlp():
    shapes = nets.actor_shapes(5, 3, HIDDEN)
    params = nets.unflatten(nets.init(shapes, torch.tensor(1), 0), shapes)
    obs = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)) * 10
    mean, log_std = nets.actor(params, obs)
    expected_mean, raw = module_of(params)(obs).chunk(2, -1)
    torch.testing.assert_close(mean, expected_mean)
    torch.testing.assert_close(log_std, -5 + 3.5 * (torch.tanh(raw) + 1))
    assert log_std.min() >= -5
    assert log_std.max() <= 2


@pytest.mark.parametrize("layer_norm", [False, True])
def test_critics_equal_torch_mlps(layer_norm):
    shapes = nets.critic_shapes(5, 3, HIDDEN, 3, layer_norm)
    flat = nets.init(shapes, torch.tensor(1), 1)
    if layer_norm:  # away from the identity
        flat = flat + 0.1 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(2))
    params = nets.unflatten(flat, shapes)
    generator = torch.Generator().manual_seed(0)
    obs, action = torch.randn(7, 5, generator=generator), torch.rand(7, 3, generator=generator)
    q = nets.critic(params, obs, action)
    assert q.shape == (3, 7)
    for e in range(3):
        expected = module_of(params, e, layer_norm)(torch.cat([obs, action], -1)).squeeze(-1)
        torch.testing.assert_close(q[e], expected)


def test_flatten_undoes_unflatten():
    shapes = nets.critic_shapes(5, 3, HIDDEN, 2, True)
    flat = torch.arange(nets.num_params(shapes), dtype=torch.float32)
    assert torch.equal(nets.flatten(nets.unflatten(flat, shapes)), flat)


def test_init_is_uniform_in_one_over_root_fan_in():
    shapes = nets.critic_shapes(100, 28, (256,), 2, True)
    params = nets.unflatten(nets.init(shapes, torch.tensor(5), 1), shapes)
    bound = 1 / math.sqrt(128)
    weight = params["weight0"]
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert params["bias0"].abs().max() <= bound
    assert not torch.equal(weight[0], weight[1])
    assert torch.equal(params["scale0"], torch.ones(2, 1, 256))
    other = nets.init(shapes, torch.tensor(6), 1)
    assert not torch.equal(other, nets.flatten(params))
