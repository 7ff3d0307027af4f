"""Residual blocks with LayerNorm: the architecture "simba" (Lee et al. 2025, arXiv 2410.09754).

A hidden width is a residual block; all are equal.  The paper normalises observations too: combine it with `obs_norm`.

Axes: B batch, E networks of an ensemble, D width.
"""

import torch
from torch import Tensor

from fastsac.nn import linear
from fastsac.nn.activations import ACTIVATIONS
from fastsac.nn.architecture import Architecture
from fastsac.nn.norms import layer_norm
from fastsac.nn.residual import layer_sizes
from fastsac.nn.vectors import Params, Shapes


class Simba(Architecture):
    """A layer to D; blocks of LayerNorm, D -> 4D, activation, 4D -> D, added to what came in; LayerNorm; a layer."""

    has = frozenset({"activation", "zero_last"})

    @property
    def _layers(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of the layers by name."""
        return layer_sizes(self.num_inputs, self.hidden_dims, self.num_outputs)

    @property
    def _norms(self) -> list[str]:
        """Names of what has LayerNorm before it: the blocks, and the last layer."""
        return [*(f"up{i}" for i in range(len(self.hidden_dims))), "last"]

    @property
    def shapes(self) -> Shapes:
        """Of layers [K, out], scales and shifts [1, D]; of an ensemble [E, ...]."""
        ensemble = () if self.num_nets is None else (self.num_nets,)
        rows = {name: (linear.num_rows(inputs), out) for name, (inputs, out) in self._layers.items()}
        shapes: Shapes = {f"{name}_layer": (*ensemble, *size) for name, size in rows.items()}
        for name in self._norms:
            shapes |= {f"{name}_{kind}": (*ensemble, 1, self.hidden_dims[0]) for kind in ("scale", "shift")}
        return shapes

    def init(self, draw: Params) -> Params:
        """Layers as `linear.init` has them; LayerNorm is the identity."""
        params = {name: torch.full_like(draw[name], float(name.endswith("scale"))) for name in self.shapes}
        for name, (num_inputs, _) in self._layers.items():
            params[f"{name}_layer"] = linear.init(draw[f"{name}_layer"], num_inputs)
        if self.zero_last:
            params["last_layer"].zero_()
        return params

    def apply(self, params: Params, stats: Params, x: Tensor, training: bool) -> tuple[Tensor, Params]:
        """As in `Architecture`; there are no statistics."""

        def layer(x: Tensor, name: str) -> Tensor:
            return linear.affine(x, params[f"{name}_layer"], self.matmul)

        def norm(x: Tensor, name: str) -> Tensor:
            return layer_norm(x, params[f"{name}_scale"], params[f"{name}_shift"])

        if self.num_nets is not None:
            x = x.expand(self.num_nets, -1, -1)  # [E, B, in]
        x = layer(x, "embed")  # [E, B, D]
        for i in range(len(self.hidden_dims)):
            inner = ACTIVATIONS[self.activation](layer(norm(x, f"up{i}"), f"up{i}"))  # [E, B, 4D]
            x = x + layer(inner, f"down{i}")
        return layer(norm(x, "last"), "last"), stats
