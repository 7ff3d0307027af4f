"""The gradient step that all algorithms share: their losses' gradient, Adam, projections, targets and counters.

Pure functions of one member.

Axes: B batch, P parameters of a network.
"""

from collections.abc import Collection, Mapping
from functools import reduce
from typing import TypedDict

import torch
from torch import Tensor

from fastsac.algorithms.algorithm import METRICS, NUM_CRITIC_METRICS, PASSES, Algorithm, Scalars, Which
from fastsac.algorithms.batch import Batch
from fastsac.nn import optim, vectors
from fastsac.nn.network import Net
from fastsac.nn.reduction import ALONE, Reduction
from fastsac.nn.vectors import Params

Views = Mapping[str, Params]
Aux = tuple[Tensor, Views]  # METRICS [6], 0 where the algorithm has none, and the networks' statistics
Outcome = tuple[Tensor, Aux]  # the scalar, and Aux; a name, as Dynamo reads the annotations of a function in a function


class State(TypedDict):
    """A member's state; a step carries it on.  Vectors are [P], log_alpha is []."""

    params: dict[str, Tensor]  # by the names of what is learned
    exp_avg: dict[str, Tensor]  # Adam's moments, likewise
    exp_avg_sq: dict[str, Tensor]
    bias_correction: Tensor  # [2, 2], of the coming step: [0] of what is updated at every step, [1] of what is delayed;
    # with the factor of the learning rates' schedule: where a run goes on by another one, from its second step on.
    # Where weights decay, [2, 3]: that factor by itself is the last.
    grad_steps: Tensor  # int64 []
    targets: dict[str, Tensor]


def init(algorithm: Algorithm, seed: Tensor, init_alpha: float) -> State:
    """A fresh member of a seed, int64 [], with the temperature at `init_alpha` where it is learned."""
    log_alpha = torch.full((), init_alpha, device=seed.device).log()
    params = {n: p.network.init(seed, p.stream) if p.network else log_alpha for n, p in algorithm.learned.items()}
    return State(
        params=params,
        exp_avg={name: torch.zeros_like(value) for name, value in params.items()},
        exp_avg_sq={name: torch.zeros_like(value) for name, value in params.items()},
        bias_correction=_correction(algorithm, torch.ones_like(seed).expand(2)),
        grad_steps=torch.zeros_like(seed),
        targets={name: params[name].clone() for name, part in algorithm.learned.items() if part.has_target},
    )


def objective(
    algorithm: Algorithm,
    hyper: Scalars,
    views: Views,
    targets: Views,
    batch: Batch,
    noise: Tensor,
    which: Which,
    reported: Collection[str] = METRICS,
) -> Outcome:
    """The scalar to be minimised, as a function of `views`, all that is learned, by name (see `Algorithm.loss`)."""
    nets = {name: Net(network, views[name]) for name, network in algorithm.networks.items()}
    target_nets = {name: Net(algorithm.networks[name], target) for name, target in targets.items()}
    numbers = {name: views[name]["log_alpha"] for name in algorithm.learned if name not in nets}
    loss, metrics = algorithm.loss(hyper | numbers, nets, target_nets, batch, noise, which)
    zero, shown = torch.zeros_like(loss), {name: value for name, value in metrics.items() if name in reported}
    columns = torch.stack([shown[name].expand_as(loss) if name in shown else zero for name in METRICS])
    return loss.mean(), (columns.detach().mean(-1), {name: net.stats for name, net in nets.items()})


def update(
    algorithm: Algorithm, hyper: Scalars, state: State, batch: Batch, noise: Tensor, with_actor: bool = True
) -> tuple[State, Tensor]:
    """One gradient step: gradients, Adam and projections, in one pass or in several (PASSES); then the targets.

    The arguments are those of `Algorithm.loss`; returns the new state and METRICS [6].  Without the actor, what is
    delayed stays, and the METRICS of its steps are 0.
    """
    new, metrics = state, []
    for which in PASSES[algorithm.config.update_order] if with_actor else ("critics",):
        new, seen = _descend(algorithm, hyper, new, batch, noise, which, with_actor)
        metrics.append(seen)
    learned = [name for name, part in algorithm.learned.items() if with_actor or not part.delayed]
    grad_steps = state["grad_steps"] + 1
    return {
        **new,
        "bias_correction": _coming_correction(algorithm, hyper, grad_steps),
        "grad_steps": grad_steps,
        "targets": {
            name: optim.polyak(target, new["params"][name], hyper["tau"]) if name in learned else target
            for name, target in state["targets"].items()
        },
    }, reduce(torch.add, metrics)


def reduced_sizes(algorithm: Algorithm, state: State) -> list[int]:
    """The numbers in each reduction of gradients over processes in a gradient step with the actor.

    Args:
        algorithm: what is learned.
        state: of one member, or of one with an axis of its own.
    """
    passes = [_learning(algorithm, which) for which in PASSES[algorithm.config.update_order]]
    return [sum(state["params"][name].numel() for name in names) + len(METRICS) for names in passes]


def _learning(algorithm: Algorithm, which: Which) -> list[str]:
    """Names of what learns from these losses."""
    return [name for name, part in algorithm.learned.items() if part.is_among(which) and not part.is_fixed]


def _descend(
    algorithm: Algorithm, hyper: Scalars, state: State, batch: Batch, noise: Tensor, which: Which, with_actor: bool
) -> tuple[State, Tensor]:
    """The state with new parameters and moments of what learns from these losses, and METRICS [6]."""
    names = _learning(algorithm, which)
    views, (metrics, stats) = _gradients(algorithm, hyper, state, names, batch, noise, which, with_actor)
    grads = {name: algorithm.learned[name].vector(views[name]) for name in names}
    if algorithm.reduction is not ALONE:
        grads, metrics = _of_whole_batch(algorithm.reduction, grads, metrics)
    moved = {name: _move(algorithm, hyper, state, name, grads[name], stats.get(name, {})) for name in names}
    params = {name: vector for name, (vector, _) in moved.items()}
    if which == "actor" and algorithm.config.num_members > 1 and algorithm.actor_delay > 1:
        # The turn may be that of other members; this one's critics then learn with the actor as it was.
        is_turn = state["grad_steps"] % algorithm.actor_delay == 0
        params = {name: torch.where(is_turn, vector, state["params"][name]) for name, vector in params.items()}
    return {
        **state,
        "params": state["params"] | params,
        "exp_avg": state["exp_avg"] | {name: moments.exp_avg for name, (_, moments) in moved.items()},
        "exp_avg_sq": state["exp_avg_sq"] | {name: moments.exp_avg_sq for name, (_, moments) in moved.items()},
    }, metrics


def _correction(algorithm: Algorithm, step: Tensor, lr_factor: Tensor | float = 1) -> Tensor:
    """Bias corrections [2, 2] of the two steps [2], at the learning rates times `lr_factor`, as State has them."""
    correction = optim.bias_correction(step, lr_factor, algorithm.betas)
    if not algorithm.config.decays_weights:
        return correction
    factor = torch.ones_like(correction[:, 0]) * lr_factor
    return torch.cat([correction, factor.float().unsqueeze(-1)], -1)


def _coming_correction(algorithm: Algorithm, hyper: Scalars, grad_steps: Tensor) -> Tensor:
    """The bias corrections of the step after `grad_steps` []; schedules advance with what they belong to."""

    def of_both(steps: Tensor) -> Tensor:
        """Steps [2] of what is updated at every one of so many gradient steps [], and of what is delayed."""
        return torch.stack([steps, -(-steps // algorithm.actor_delay)])

    done, schedule = of_both(grad_steps), algorithm.config.lr_schedule
    if schedule == "constant":
        return _correction(algorithm, done + 1)
    factor = optim.lr_factor(schedule, done, of_both(hyper["lr_steps"]), hyper["lr_final"])
    return _correction(algorithm, done + 1, factor)


def _gradients(
    algorithm: Algorithm,
    hyper: Scalars,
    state: State,
    names: list[str],
    batch: Batch,
    noise: Tensor,
    which: Which,
    with_actor: bool,
) -> tuple[Views, Aux]:
    """Gradients by name, and what `objective` gives beside the scalar."""
    views = {name: part.views(state["params"][name]) for name, part in algorithm.learned.items()}
    targets = {name: algorithm.learned[name].views(vector) for name, vector in state["targets"].items()}

    reported = METRICS if with_actor else METRICS[:NUM_CRITIC_METRICS]

    def of_some(some: Views) -> Outcome:
        return objective(algorithm, hyper, {**views, **some}, targets, batch, noise, which, reported)

    grads: tuple[Views, Aux] = torch.func.grad(of_some, has_aux=True)({name: views[name] for name in names})
    return grads


def _of_whole_batch(reduction: Reduction, grads: Params, metrics: Tensor) -> tuple[Params, Tensor]:
    """Gradients [P] by name, and METRICS [6], of those of all processes, each with an equal part of the batch."""
    mine = {**grads, "metrics": metrics}
    flat = reduction.mean(vectors.flatten(mine))  # one reduction: what it takes is the way there and back
    whole = vectors.unflatten(flat, {name: tuple(value.shape) for name, value in mine.items()})
    return {name: whole[name] for name in grads}, whole["metrics"]


def _move(
    algorithm: Algorithm, hyper: Scalars, state: State, name: str, grad: Tensor, stats: Params
) -> tuple[Tensor, optim.Moments]:
    """One of what is learned and its moments after Adam by its gradient [P], a projection, and new statistics."""
    part = algorithm.learned[name]
    if part.network is not None and algorithm.config.clips_gradients:
        grad = optim.clip(grad, hyper["max_grad_norm"])
    moments = optim.Moments(state["exp_avg"][name], state["exp_avg_sq"][name])
    correction, lr = state["bias_correction"][1 if part.delayed else 0], hyper[part.lr]
    decay = None
    if part.network is not None and algorithm.config.decays_weights:
        decay = lr * correction[2] * hyper["weight_decay"]
    vector, moments = optim.adam(state["params"][name], grad, moments, correction, lr, algorithm.betas, decay)
    return vector if part.network is None else part.network.finish(vector, stats), moments
