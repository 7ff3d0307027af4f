"""Networks on flat vectors as torch.nn modules."""

from torch import Tensor, nn

from fastsac.algorithms.algorithm import Algorithm
from fastsac.algorithms.step import State
from fastsac.nn.network import Net
from fastsac.nn.vectors import Params


def parts(layer: Tensor, fan_in: int) -> tuple[Tensor, Tensor]:
    """Weight [..., in, out] and bias [..., out] of a layer [..., K, out]."""
    return layer[..., :fan_in, :], layer[..., fan_in, :]


def module_of(
    params: Params,
    num_inputs: int,
    critic: int | None = None,
    layer_norm: bool = False,
    activation: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """The same network out of torch.nn parts."""
    mine = params if critic is None else {name: value[critic] for name, value in params.items()}
    layers: list[nn.Module] = []
    fan_in, i = num_inputs, 0
    while f"layer{i}" in mine:
        weight, bias = parts(mine[f"layer{i}"], fan_in)
        linear = nn.Linear(*weight.shape)
        linear.weight.data, linear.bias.data = weight.T.clone(), bias.clone()
        layers.append(linear)
        fan_in = len(bias)
        i += 1
        if f"layer{i}" in mine:
            if layer_norm:
                norm = nn.LayerNorm(len(bias))
                norm.weight.data = mine[f"scale{i - 1}"].reshape(-1).clone()
                norm.bias.data = mine[f"shift{i - 1}"].reshape(-1).clone()
                layers.append(norm)
            layers.append(activation())
    return nn.Sequential(*layers)


def views_of(algorithm: Algorithm, state: State) -> dict[str, Params]:
    """Everything that is learned, by name."""
    return {name: part.views(state["params"][name]) for name, part in algorithm.learned.items()}


def output(algorithm: Algorithm, name: str, views: Params, *inputs: Tensor) -> Tensor:
    """What a network of these parameters gives for features, and for actions where it takes them."""
    return Net(algorithm.networks[name], views)(*inputs)
