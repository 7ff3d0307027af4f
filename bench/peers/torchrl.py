"""torchrl's SAC from its public parts: `SACLoss`, `SoftUpdate`, its optimizer group and replay.

Put together as in its own example (`sota-implementations/sac`), whose update this follows: one backward pass of the sum
of the three losses, one step of all optimizers, the target last; compiled as one function by `compile_with_warmup`.
Equal: sizes, twin critics (evaluated as one batched product), learned temperature from 1, one update of everything per
gradient step, Adam's rates, gamma, tau, float32.  Not equal: the example's default is another compile mode
(`reduce-overhead`, CUDA graphs), here it is torch's; its replay draws ahead in threads (`prefetch` 3).  Its loop is an
example and not a part that users call: there are no environment steps.
"""

import warnings
from typing import Any

from bench.peers.common import Sizes, Task, Unsupported, Work, random_transitions, repeated, torch_device


def updates(sizes: Sizes, compile: bool = True) -> Work:
    """Draws and updates as in its example."""
    warnings.simplefilter("ignore")
    import torch
    from tensordict import TensorDict
    from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
    from torchrl.objectives import SACLoss, SoftUpdate, group_optimizers

    device = torch_device(sizes.device)
    actor, critic = make_networks(sizes, device)
    loss = SACLoss(
        actor_network=actor,
        qvalue_network=critic,
        num_qvalue_nets=2,
        loss_function="l2",
        delay_actor=False,
        delay_qvalue=True,
        alpha_init=1.0,
    )
    loss.make_value_estimator(gamma=sizes.gamma)
    target = SoftUpdate(loss, eps=1 - sizes.tau)
    groups = (
        list(loss.actor_network_params.flatten_keys().values()),
        list(loss.qvalue_network_params.flatten_keys().values()),
        [loss.log_alpha],
    )
    optimizer = group_optimizers(*(torch.optim.Adam(group, lr=sizes.lr) for group in groups))

    obs, action, reward, next_obs = (torch.from_numpy(x).to(device) for x in random_transitions(sizes))
    never = torch.zeros(sizes.transitions, 1, dtype=torch.bool, device=device)
    step = {"observation": next_obs, "reward": reward[:, None], "done": never, "terminated": never}
    replay = TensorDictReplayBuffer(
        storage=LazyTensorStorage(sizes.transitions, device=device), batch_size=sizes.batch_size, prefetch=3
    )
    replay.extend(TensorDict({"observation": obs, "action": action, "next": step}, [sizes.transitions], device))

    def update(batch: Any) -> Any:
        losses = loss(batch)
        (losses["loss_actor"] + losses["loss_qvalue"] + losses["loss_alpha"]).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        target.step()
        return losses.detach()

    if compile:
        from torchrl._utils import compile_with_warmup

        update = compile_with_warmup(update, warmup=1)

    run = repeated(lambda: update(replay.sample()).clone(), sizes.device)
    run(3)  # the warm-up of its compiling, and the compiling
    hyper = {"lr": sizes.lr, "gamma": sizes.gamma, "tau": sizes.tau, "target_entropy": float(loss.target_entropy)}
    return Work(run, {"mode": "compiled" if compile else "eager"}, {**hyper, "batch_size": sizes.batch_size})


def env_steps(task: Task) -> Work:
    """Not by parts that users call."""
    raise Unsupported("its loop is an example, not a part of it")


def make_networks(sizes: Sizes, device: Any) -> tuple[Any, Any]:
    """Actor and critic as its example makes them."""
    import torch
    from tensordict.nn import InteractionType, TensorDictModule
    from torch import nn
    from torchrl.data import Bounded
    from torchrl.modules import MLP, NormalParamExtractor, ProbabilisticActor, TanhNormal, ValueOperator

    common = {"num_cells": list(sizes.hidden_dims), "activation_class": nn.ReLU, "device": device}
    net = nn.Sequential(
        MLP(in_features=sizes.obs_dim, out_features=2 * sizes.action_dim, **common),
        NormalParamExtractor(scale_mapping="biased_softplus_1.0", scale_lb=0.1).to(device),
    )
    actor = ProbabilisticActor(
        spec=Bounded(-1.0, 1.0, (sizes.action_dim,), device=device, dtype=torch.float32),
        in_keys=["loc", "scale"],
        module=TensorDictModule(net, in_keys=["observation"], out_keys=["loc", "scale"]),
        distribution_class=TanhNormal,
        distribution_kwargs={"low": -1.0, "high": 1.0, "tanh_loc": False},
        default_interaction_type=InteractionType.RANDOM,
        return_log_prob=False,
    )
    critic = ValueOperator(
        in_keys=["action", "observation"],
        module=MLP(in_features=sizes.obs_dim + sizes.action_dim, out_features=1, **common),
    )
    return actor, critic
