"""An algorithm: the networks that it has, how it acts, and its loss.  Everything else is shared.

A file has one algorithm, written for one member; `torch.func.vmap` adds the member axis.  It composes networks, heads
and losses, and knows no other algorithm.  `fastsac.algorithms.step` makes states and gradient steps of it.

Axes: B batch, O obs_dim, F features, A action_dim, E critics, W outputs for one value, P parameters of a network.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from fastsac.algorithms import losses
from fastsac.algorithms.batch import Batch
from fastsac.algorithms.plugins import find_head, find_network
from fastsac.config.settings import Config
from fastsac.env import EnvSpec
from fastsac.nn import optim, vectors
from fastsac.nn.encoder import Encoder
from fastsac.nn.linear import MatmulConfig
from fastsac.nn.network import Net, Network
from fastsac.nn.reduction import ALONE, Reduction
from fastsac.nn.vectors import Params

Scalars = dict[str, Tensor]
Nets = dict[str, Net]
Loss = tuple[Tensor, dict[str, Tensor]]
Which = Literal["all", "critics", "actor"]
"""Losses of everything, of what learns at every step, or of what is delayed with the actor."""

OF_ACTORS = frozenset({"actor_hidden_dims", "actor_layer_norm", "zero_init_actor", "actor_delay"})
OF_GAUSSIANS = frozenset({"log_std_map", "log_std_min", "log_std_max"})
OPTIONS = OF_ACTORS | OF_GAUSSIANS | {
    "target_entropy", "target_sigma", "target_entropy_share", "backup_entropy", "critic_targets", "actor_q",
    "alpha_states", "update_order"
}  # fmt: skip
"""Settings that some algorithms have: of an actor, of a Gaussian policy, and those that choose between critics, adjust
the temperature, and order updates."""

PASSES: dict[str, tuple[Which, ...]] = {
    "joint": ("all",), "actor-first": ("actor", "critics"), "critics-first": ("critics", "actor"),
}  # fmt: skip
"""Of each update_order, the losses that are minimised in turn, at the parameters that those before have left."""

METRICS = ("critic_loss", "q_mean", "actor_loss", "alpha_loss", "alpha", "entropy")
NUM_CRITIC_METRICS = 2  # the rest are of the actor's and the temperature's step


@dataclass(frozen=True)
class Learned:
    """A network that an algorithm learns, or log_alpha."""

    network: Network | None  # None for log_alpha
    lr: str  # name of its learning rate among the hyper-parameters
    stream: int = 0  # of the random numbers that it begins with; each network of an algorithm has another
    has_target: bool = False  # a copy follows it by Polyak averaging
    delayed: bool = False  # updated at every actor_delay-th step only
    is_fixed: bool = False  # never updated

    def is_among(self, which: Which) -> bool:
        """Whether it learns from these losses."""
        return which == "all" or self.delayed == (which == "actor")

    def views(self, vector: Tensor) -> Params:
        """The vector [P], or log_alpha [], by name."""
        return {"log_alpha": vector} if self.network is None else vectors.unflatten(vector, self.network.shapes)

    def vector(self, views: Params) -> Tensor:
        """What `views` took apart."""
        return views["log_alpha"] if self.network is None else vectors.flatten(views)


class Algorithm(ABC):
    """Sizes, switches and pure functions of one algorithm.

    Args:
        config: settings; numbers that members may differ in are taken from `Scalars`.
        spec: the task's sizes.
        fuse_for_gpu: shape the update for a GPU, where the number of kernels counts and not the arithmetic: biases
            inside the products, and what the actor is asked in one pass (half of whose backward pass is then of
            zeros).  The same numbers up to rounding.
        reduction: over the processes that train the agent, each by its part of the batch.
    """

    discrete: ClassVar[bool] = False  # acts by choices, as one-hot rows; else in [-1, 1]^A
    adjusts_alpha: ClassVar[bool] = False  # the temperature can follow a target entropy; else it is init_alpha
    acts_by: ClassVar[str] = "actor"  # the network that acts
    options: ClassVar[frozenset[str]] = frozenset()  # of OPTIONS, those that it has
    sees_joint: ClassVar[bool] = False  # shows networks obs and next_obs together where their architecture is `joint`

    def __init__(self, config: Config, spec: EnvSpec, fuse_for_gpu: bool = False, reduction: Reduction = ALONE) -> None:
        self.config, self.action_dim, self.reduction = config, spec.action_dim, reduction
        self.encoder = Encoder(spec.obs_dim, spec.image, config.conv_channels)
        self.matmul = MatmulConfig(config.bf16, bias_inside=fuse_for_gpu)
        self.head = find_head(config.critic_head).from_config(config)
        self.learned = self.declare()
        self.networks = {name: part.network for name, part in self.learned.items() if part.network is not None}
        self.actor_delay = config.actor_delay if any(part.delayed for part in self.learned.values()) else 1
        self.betas = optim.Betas(config.adam_beta1, config.adam_beta2)
        acting = self.networks[self.acts_by].body
        # Statistics of a batch must not depend on how it is computed.
        self.joint_pass = acting.joint or (fuse_for_gpu and not acting.stat_shapes)

    @abstractmethod
    def declare(self) -> dict[str, Learned]:
        """What the algorithm learns, by name."""

    @abstractmethod
    def choose(self, net: Net, obs: Tensor, noise: Tensor | None) -> Tensor:
        """Actions [B, A] of the network that acts, for obs [B, O]: normalised, of images uint8.

        They are sampled by standard normal noise [B, A]; None is for the best ones.
        """

    @abstractmethod
    def noise_shape(self, batch_size: int) -> tuple[int, ...]:
        """Shape [..., B, A] of the standard normal numbers that `loss` wants."""

    @abstractmethod
    def loss(self, scalars: Scalars, nets: Nets, targets: Nets, batch: Batch, noise: Tensor, which: Which) -> Loss:
        """The sum of losses per transition, [B]; stop-gradients keep each from the others' parameters.

        Args:
            scalars: hyper-parameters, and log_alpha where it is learned, [] each.
            nets: the networks.  A call with `training` moves their statistics.
            targets: the target networks.
            batch: transitions, obs normalised.
            noise: standard normal, of `noise_shape`.
            which: the losses that are summed; "actor" alone where `options` have update_order.

        Returns:
            [B], and those of METRICS that the algorithm has, [B] each or one number [] for all.
        """

    def hyper(self, config: Config) -> dict[str, float]:
        """Hyper-parameters that members may differ in."""
        names = ["gamma", "tau", "reward_scale", *(part.lr for part in self.learned.values())]
        hyper = {name: getattr(config, name) for name in names}
        if self.config.clips_gradients:
            hyper["max_grad_norm"] = config.max_grad_norm or math.inf
        if self.config.decays_weights:
            hyper["weight_decay"] = config.weight_decay
        if config.lr_schedule != "constant":
            hyper |= {"lr_final": config.lr_final, "lr_steps": float(max(1, config.total_grad_steps))}
        return hyper

    def act(self, vector: Tensor, obs: Tensor, noise: Tensor | None) -> Tensor:
        """As `choose`, of the vector [P] of the network that acts."""
        return self.choose(self.net(self.acts_by, vector), obs, noise)

    def act_randomly(self, noise: Tensor) -> Tensor:
        """Uniform actions [B, A] of standard normal noise [B, A]."""
        return losses.one_hot(noise) if self.discrete else losses.uniform(noise)

    def net(self, name: str, vector: Tensor) -> Net:
        """A network with the numbers of a vector [P]."""
        return Net(self.networks[name], self.learned[name].views(vector))

    def learn_critics(self, inputs: int, num_values: int = 1, has_target: bool = True) -> Learned:
        """The critics, for `inputs` beside the observation's features."""
        critics = self.make_critics(inputs, num_values * self.head.width, self.config.num_critics)
        return Learned(critics, lr="critic_lr", stream=1, has_target=has_target)

    def learn_actor(self, inputs: int, outputs: int) -> Learned:
        """The actor, for `inputs` beside the observation's features."""
        sizes = (self.encoder.num_features + inputs, self.config.actor_dims, outputs)
        how = {"layer_norm": self.config.actor_layer_norm, "zero_last": self.config.zero_init_actor}
        return Learned(self._make(sizes, **how), lr="actor_lr", delayed=True)

    def learn_alpha(self) -> Learned:
        """The logarithm of the temperature; it is not delayed where it learns from what critics learn from."""
        delayed = self.config.alpha_states != "next_obs"
        return Learned(None, lr="alpha_lr", delayed=delayed, is_fixed=not self.config.learn_alpha)

    def make_critics(self, inputs: int, outputs: int, num_nets: int) -> Network:
        """An ensemble for `inputs` beside the observation's features."""
        sizes = (self.encoder.num_features + inputs, self.config.critic_dims, outputs)
        return self._make(sizes, num_nets=num_nets, layer_norm=self.config.critic_layer_norm)

    def _make(self, sizes: tuple[int, tuple[int, ...], int], **how: Any) -> Network:
        """Raises ValueError where the algorithm is not for the architecture."""
        kind, name = find_network(self.config.network), self.config.network
        if kind.joint and not self.sees_joint:
            raise ValueError(f"network {name} is not for algo {self.config.algo}. Give --network mlp or simba.")
        how |= {"activation": self.config.activation, "matmul": self.matmul, "reduction": self.reduction}
        return Network(self.encoder, kind(*sizes, **how))

    def actor_value(self, q: Tensor) -> Tensor:
        """The value that the actor maximises, [...], of critics' values [E, ...]."""
        return q.mean(0) if self.config.actor_q == "mean" else losses.min_q(q)

    def alpha_sees(self, at: Mapping[str, Tensor]) -> Tensor:
        """What the temperature learns from, [B], of values [B] at obs and next_obs: those of one, or the mean."""
        states = self.config.alpha_states
        return 0.5 * (at["obs"] + at["next_obs"]) if states == "both" else at[states]

    def asks_at_next_obs(self, which: Which, in_training: Collection[str]) -> bool:
        """Whether these losses ask the actor at next_obs too, when it was asked at `in_training` for its own loss.

        Critics' targets go by its running statistics at every step, be it the actor's turn to learn or not.
        """
        if which != "actor" and self.networks[self.acts_by].body.joint:
            return True
        return "next_obs" not in in_training and (which != "actor" or self.config.alpha_states == "both")

    def critic_loss(self, out: Tensor, target: Tensor) -> Loss:
        """The head's loss per transition, [B], of outputs [E, B, W] for a target of its, and the critics' METRICS."""
        loss = self.head.loss(out, target)
        return loss, {"critic_loss": loss, "q_mean": self.head.value(out).mean(0)}

    def soft_reward(
        self, scalars: Scalars, batch: Batch, alpha: Tensor | float, entropy_of: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Scaled rewards [B], with the entropy at the states within the window, of obs [(n - 1) * B, O]."""
        reward = scalars["reward_scale"] * batch.reward
        if batch.window is None:
            return reward
        entropy = entropy_of(batch.window.obs.flatten(0, 1)).view_as(batch.window.discount)
        return reward + losses.window_entropy(batch.window.discount, entropy, alpha)
