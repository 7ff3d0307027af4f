"""Linear layers with an activation function between them: the architecture "mlp".

Axes: B batch, E networks of an ensemble, H width of a layer, K rows of a layer.
"""

import itertools

import torch
from torch import Tensor

from fastsac.nn import linear
from fastsac.nn.activations import ACTIVATIONS
from fastsac.nn.architecture import Architecture
from fastsac.nn.norms import layer_norm
from fastsac.nn.vectors import Params, Shapes


class Mlp(Architecture):
    """Layers [K, out], of an ensemble [E, K, out]; LayerNorm, with scale and shift, is before each activation."""

    has = frozenset({"layer_norm", "activation", "zero_last"})

    @property
    def shapes(self) -> Shapes:
        """Of layers, scales and shifts."""
        shapes: Shapes = {}
        ensemble = () if self.num_nets is None else (self.num_nets,)
        dims = [self.num_inputs, *self.hidden_dims, self.num_outputs]
        for i, (num_inputs, out) in enumerate(itertools.pairwise(dims)):
            shapes[f"layer{i}"] = (*ensemble, linear.num_rows(num_inputs), out)
            if self.layer_norm and i < len(self.hidden_dims):
                shapes |= {f"scale{i}": (*ensemble, 1, out), f"shift{i}": (*ensemble, 1, out)}
        return shapes

    def init(self, draw: Params) -> Params:
        """Layers as `linear.init` has them; LayerNorm is the identity."""
        params = {name: torch.full_like(draw[name], float(name.startswith("scale"))) for name in self.shapes}
        for i, num_inputs in enumerate([self.num_inputs, *self.hidden_dims]):
            params[f"layer{i}"] = linear.init(draw[f"layer{i}"], num_inputs)
        if self.zero_last:
            params[f"layer{len(self.hidden_dims)}"].zero_()
        return params

    def apply(self, params: Params, stats: Params, x: Tensor, training: bool) -> tuple[Tensor, Params]:
        """As in `Architecture`; there are no statistics."""
        if self.num_nets is not None:
            if self.matmul.bias_inside:
                x = linear.with_ones(x, params["layer0"])  # before the copies, not in each
            x = x.expand(self.num_nets, -1, -1)  # [E, B, in]
        activation = ACTIVATIONS[self.activation]
        for i in range(len(self.hidden_dims)):
            x = linear.affine(x, params[f"layer{i}"], self.matmul)  # [E, B, H]
            if self.layer_norm:
                x = layer_norm(x, params[f"scale{i}"], params[f"shift{i}"])
            x = activation(x)
        last = linear.affine_to_one if self.num_nets is not None and self.num_outputs == 1 else linear.affine
        return last(x, params[f"layer{len(self.hidden_dims)}"], self.matmul), stats
