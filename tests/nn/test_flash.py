"""The architecture "flash" beside the same network of torch.nn."""

import math

import pytest
import torch
from torch import nn

from fastsac.nn.encoder import Encoder
from fastsac.nn.flash import Flash
from fastsac.nn.linear import MatmulConfig, orthogonal
from fastsac.nn.network import Network
from fastsac.nn.vectors import flatten, unflatten

K, D, OUT = 3, 8, 2
ONE, TWO = Flash(K, (D, D), OUT), Flash(K, (D, D), OUT, num_nets=2)
NET = Network(Encoder(K, None, ()), ONE)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make(body, seed=1):
    """Parameters and statistics of a fresh network."""
    network = Network(Encoder(K, None, ()), body)
    views = unflatten(network.init(torch.tensor(seed), 0), network.shapes)
    return tuple({name: views[name] for name in shapes} for shapes in (body.shapes, body.stat_shapes))


class Block(nn.Module):
    """A residual block as FlashSAC's paper has it."""

    def __init__(self):
        super().__init__()
        norm = lambda width: nn.BatchNorm1d(width, momentum=0.01)  # noqa: E731
        up, down = nn.Linear(D, 4 * D, bias=False), nn.Linear(4 * D, D, bias=False)
        self.body = nn.Sequential(up, norm(4 * D), nn.ReLU(), down, norm(D), nn.ReLU())

    def forward(self, x):
        return x + self.body(x)


def make_reference(params):
    """The whole network of torch.nn with the parameters of ours."""
    norm = nn.BatchNorm1d(K, momentum=0.01)
    module = nn.Sequential(norm, nn.Linear(K, D, bias=False), Block(), Block(), nn.RMSNorm(D, 1e-6), nn.Linear(D, OUT))
    ours = ["input_scale", "input_shift", "embed_layer"]
    for i in range(2):
        ours += [f"{part}{i}_{kind}" for part in ("up", "down") for kind in ("layer", "scale", "shift")]
    ours += ["rms_scale", "last_layer", "last_bias"]
    for theirs, name in zip(module.parameters(), ours, strict=True):
        value = params[name]
        theirs.data.copy_(value.T if name.endswith("layer") else value[0])
    return module


def test_outputs_statistics_and_gradients_are_those_of_torch_modules():
    params, stats = make(ONE)
    module = make_reference(params)
    x = 1 + draw(16, K)
    loss = lambda params, x: ONE.apply(params, stats, x, True)[0].square().sum()  # noqa: E731
    grads = torch.func.grad(loss)(params, x)
    out, moved = ONE.apply(params, stats, x, training=True)
    theirs = module(x)
    torch.testing.assert_close(out, theirs)
    theirs.square().sum().backward()
    torch.testing.assert_close(grads["embed_layer"], module[1].weight.grad.T, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(grads["up1_scale"][0], module[3].body[1].weight.grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(moved["down1_var"][0], module[3].body[4].running_var)
    acting, unmoved = ONE.apply(params, moved, x, training=False)
    torch.testing.assert_close(acting, module.eval()(x))
    assert torch.equal(unmoved["input_mean"], moved["input_mean"])


@pytest.mark.parametrize("training", [True, False])
def test_each_network_of_an_ensemble_is_one_alone(training):
    params, stats = make(TWO)
    x = draw(16, K)
    out, moved = TWO.apply(params, stats, x, training)
    for e in range(2):
        mine, my_stats = ({name: value[e] for name, value in views.items()} for views in (params, stats))
        alone, after = ONE.apply(mine, my_stats, x, training)
        torch.testing.assert_close(out[e], alone)
        torch.testing.assert_close(moved["up0_mean"][e], after["up0_mean"])


def check_lengths(params):
    """Weights at length 1, scales and shifts at the root of their width."""
    for name, value in params.items():
        if name.endswith("layer"):
            length = value.norm(dim=-2)
        elif name.endswith("scale"):
            shift = params.get(name.replace("scale", "shift"), torch.zeros(()))
            length = (value.square() + shift.square()).sum(-1).sqrt() / math.sqrt(value.shape[-1])
        else:
            continue
        torch.testing.assert_close(length, torch.ones_like(length), atol=1e-6, rtol=0)


@pytest.mark.parametrize("body", [ONE, TWO])
def test_lengths_are_right_at_the_start_and_after_a_projection(body):
    params, _ = make(body)
    check_lengths(params)
    changed = {name: value + 0.3 * draw(*value.shape) for name, value in params.items()}
    projected = changed | body.project(changed)
    check_lengths(projected)
    torch.testing.assert_close(projected["last_bias"], changed["last_bias"])  # free
    ratio = projected["up0_layer"] / changed["up0_layer"]
    torch.testing.assert_close(ratio, ratio[..., :1, :].expand_as(ratio))  # scaled, not turned


@pytest.mark.parametrize("shape", [(3, 8), (8, 3), (2, 8, 8)])
def test_orthogonal_layers_have_orthonormal_columns_or_rows(shape):
    layer = orthogonal(torch.rand(*shape, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    product = layer @ layer.mT if shape[-2] < shape[-1] else layer.mT @ layer
    torch.testing.assert_close(product, torch.eye(product.shape[-1]).expand_as(product), atol=1e-5, rtol=0)


def test_finish_projects_and_keeps_what_is_given_as_statistics():
    vector = NET.init(torch.tensor(1), 0)
    views = unflatten(vector, NET.shapes)
    stats = {name: views[name] + 1 for name in ONE.stat_shapes}
    after = unflatten(NET.finish(vector * 1.5, stats), NET.shapes)
    check_lengths({name: after[name] for name in ONE.shapes})
    torch.testing.assert_close(flatten({n: after[n] for n in stats}), flatten(stats))


def test_bfloat16_products_are_near():
    params, stats = make(ONE)
    x = draw(16, K)
    exact, near = (
        Flash(K, (D, D), OUT, matmul=MatmulConfig(bf16=bf16)).apply(params, stats, x, training=True)[0]
        for bf16 in (False, True)
    )
    assert near.dtype == torch.float32
    torch.testing.assert_close(near, exact, atol=0.1, rtol=0.1)
