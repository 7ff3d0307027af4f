"""Networks on flat vectors as torch.nn modules."""

from torch import nn

from fastsac.nn.network import Net


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


def views_of(algorithm, state):
    """Everything that is learned, by name."""
    return {name: part.views(state["params"][name]) for name, part in algorithm.learned.items()}


def output(algorithm, name, views, *inputs):
    """What a network of these parameters gives for features, and for actions where it takes them."""
    return Net(algorithm.networks[name], views)(*inputs)
