"""A network: an encoder and an architecture on one flat vector [P], parameters first and statistics after them.

Axes: B batch, O obs_dim, F features, E networks of an ensemble, P length of the vector.
"""

import torch
from torch import Tensor

from fastsac.nn import philox, vectors
from fastsac.nn.architecture import Architecture
from fastsac.nn.encoder import Encoder
from fastsac.nn.flash import Flash
from fastsac.nn.mlp import Mlp
from fastsac.nn.simba import Simba
from fastsac.nn.vectors import Params

ARCHITECTURES: dict[str, type[Architecture]] = {"mlp": Mlp, "simba": Simba, "flash": Flash}


class Network:
    """Sizes and functions; the numbers are in vectors that others own.  The encoder's parameters are the first."""

    def __init__(self, encoder: Encoder, body: Architecture) -> None:
        self.encoder, self.body = encoder, body
        self.shapes = encoder.shapes | body.shapes | body.stat_shapes

    def init(self, seed: Tensor, stream: int) -> Tensor:
        """The vector [P] of a fresh network of a member's seed [], with a stream of its own for each network."""
        shape = (vectors.num_params(self.shapes),)
        draw = philox.uniform(seed, philox.Purpose.INIT, torch.full_like(seed, stream), shape) * 2 - 1
        views = vectors.unflatten(draw, self.shapes)
        return vectors.flatten(self.encoder.init(views) | self.body.init(views))

    def finish(self, vector: Tensor, stats: Params) -> Tensor:
        """The vector [P] after a gradient step, with its parameters projected and new statistics."""
        views = vectors.unflatten(vector, self.shapes)
        changed = self.body.project(views) | stats
        return vectors.flatten(views | changed) if changed else vector


class Net:
    """A network with its parameters and statistics by name, as losses and policies call it."""

    def __init__(self, network: Network, views: Params) -> None:
        self.network, self.params = network, views
        # Without gradient; `stats` are the moved ones after a call with `training`.
        self._stats = self.stats = {name: views[name].detach() for name in network.body.stat_shapes}

    def frozen(self) -> "Net":
        """The same without gradient to its parameters."""
        return Net(self.network, {name: value.detach() for name, value in self.params.items()})

    def features(self, obs: Tensor) -> Tensor:
        """Features [B, F] of obs [B, O]."""
        return self.network.encoder(self.params, obs, self.network.body.matmul)

    def __call__(self, *inputs: Tensor, training: bool = False, beside: tuple[Tensor, ...] = ()) -> Tensor:
        """Outputs [B, out], of an ensemble [E, B, out].

        Args:
            inputs: features [B, F], and for some networks actions [B, A], side by side.
            training: by the statistics of this batch, which move the running ones.
            beside: other obs [B, O], and their actions, which count in the statistics of a `joint` architecture.
        """
        if beside and self.network.body.joint:
            pairs = zip(inputs, (self.features(beside[0]), *beside[1:]), strict=True)
            return self(*map(torch.cat, pairs), training=True)[..., : len(inputs[0]), :]
        x = inputs[0] if len(inputs) == 1 else torch.cat(inputs, -1)
        out, stats = self.network.body.apply(self.params, self._stats, x, training)
        if training:
            self.stats = stats
        return out
