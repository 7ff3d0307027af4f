"""The networks of FlashSAC: the architecture "flash".

A hidden width is a residual block; all are equal.  Batch statistics are of obs and next_obs together.  After every
gradient step the weights of each unit are scaled back to length 1, and scales and shifts of a normalisation to the
root of their width, so that the size of a step relative to the weights stays what the learning rate says.

Axes: B batch, E networks of an ensemble, D width, K inputs.
"""

import math

import torch.nn.functional as F
from torch import Tensor

from fastsac.nn import linear
from fastsac.nn.architecture import Architecture
from fastsac.nn.norms import Stats, batch_norm, rms_norm
from fastsac.nn.residual import layer_sizes
from fastsac.nn.vectors import Params, Shapes


class Flash(Architecture):
    """BatchNorm, a layer to D; blocks D -> 4D -> D with BatchNorm and ReLU after both, added to what came in; RMSNorm.

    Layers have no bias, but for the last.
    """

    joint = True

    @property
    def _norms(self) -> dict[str, int]:
        """Widths of the BatchNorms by name: of the input, and after each layer of a block."""
        after = {name: width for name, (_, width) in self._layers.items() if name not in ("embed", "last")}
        return {"input": self.num_inputs} | after

    @property
    def _layers(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of the layers by name."""
        return layer_sizes(self.num_inputs, self.hidden_dims, self.num_outputs)

    @property
    def shapes(self) -> Shapes:
        """Of layers [K, out], scales and shifts [1, out]; of an ensemble [E, ...]."""
        found: Shapes = {f"{name}_layer": self._each(*sizes) for name, sizes in self._layers.items()}
        for name, width in self._norms.items():
            found |= {f"{name}_scale": self._each(1, width), f"{name}_shift": self._each(1, width)}
        return found | {"rms_scale": self._each(1, self.hidden_dims[0]), "last_bias": self._each(1, self.num_outputs)}

    @property
    def stat_shapes(self) -> Shapes:
        """Of running means and variances."""
        found: Shapes = {}
        for name, width in self._norms.items():
            found |= {f"{name}_mean": self._each(1, width), f"{name}_var": self._each(1, width)}
        return found

    def _each(self, *shape: int) -> tuple[int, ...]:
        return shape if self.num_nets is None else (self.num_nets, *shape)

    def init(self, draw: Params) -> Params:
        """Layers are orthogonal before they are scaled; scales and variances are 1, shifts, biases and means 0."""
        params = {}
        for name in self.shapes | self.stat_shapes:
            kind = name.rpartition("_")[2]
            params[name] = linear.orthogonal(draw[name]) if kind == "layer" else draw[name].new_zeros(draw[name].shape)
            if kind in ("scale", "var"):
                params[name] += 1
        return params | self.project(params)

    def apply(self, params: Params, stats: Params, x: Tensor, training: bool) -> tuple[Tensor, Params]:
        """As in `Architecture`."""
        moved: Params = {}

        def norm(x: Tensor, name: str) -> Tensor:
            running = Stats(stats[f"{name}_mean"], stats[f"{name}_var"])
            scale, shift = params[f"{name}_scale"], params[f"{name}_shift"]
            x, after = batch_norm(x, scale, shift, running, training, self.reduction)
            moved.update({f"{name}_mean": after.mean, f"{name}_var": after.var})
            return x

        def layer(x: Tensor, name: str) -> Tensor:
            return linear.product(x, params[f"{name}_layer"], self.matmul)

        if self.num_nets is not None:
            x = x.expand(self.num_nets, -1, -1)  # [E, B, K]
        x = layer(norm(x, "input"), "embed")  # [E, B, D]
        for i in range(len(self.hidden_dims)):
            inner = F.relu(norm(layer(x, f"up{i}"), f"up{i}"))  # [E, B, 4D]
            x = x + F.relu(norm(layer(inner, f"down{i}"), f"down{i}"))
        x = rms_norm(x, params["rms_scale"])
        return layer(x, "last") + params["last_bias"], moved

    def project(self, params: Params) -> Params:
        """Weights of every unit at length 1, scale and shift of a normalisation together at the root of its width."""
        changed = {f"{name}_layer": linear.unit(params[f"{name}_layer"]) for name in self._layers}
        for name, width in self._norms.items():
            scale, shift = params[f"{name}_scale"], params[f"{name}_shift"]
            length = (scale.square() + shift.square()).sum(-1, keepdim=True).sqrt()
            changed |= {f"{name}_scale": scale * (math.sqrt(width) / length)}
            changed |= {f"{name}_shift": shift * (math.sqrt(width) / length)}
        rms = params["rms_scale"]
        return changed | {"rms_scale": rms * (math.sqrt(rms.shape[-1]) / rms.norm(dim=-1, keepdim=True))}
