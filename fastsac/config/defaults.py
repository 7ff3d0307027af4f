"""Every setting: its name, default, traits and text, which is also that of `fastsac train --help`.

Knows no tensor, no environment and no command line.
"""

import dataclasses
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from fastsac.config.algorithms import Algo
from fastsac.config.fields import Traits, setting
from fastsac.config.plugins import CriticHead, Network

if TYPE_CHECKING:
    Folder = str | PathLike[str]  # which becomes text
else:
    Folder = str
Auto = Literal["auto", "on", "off"]
Parallel = Literal["auto", "members", "data", "off"]
Activation = Literal["relu", "silu", "tanh", "elu", "gelu"]


@dataclass(frozen=True, kw_only=True)
class EnvName:
    """The one setting without a default."""

    env: str = dataclasses.field(metadata=Traits(group="environment", common=True, metavar="NAME"))
    """Environment to train in, such as HalfCheetah-v5; `fastsac envs` lists them.  BACKEND:NAME takes it from another
    back end, PACKAGE.MODULE:NAME from your own module."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that have defaults, which a preset may replace; `fastsac.train` takes them beside an environment."""

    env_kwargs: dict[str, Any] = setting({}, group="environment")
    """Keyword arguments of the environments as a JSON object, such as {"ctrl_cost_weight": 0.2}."""
    eval_env_kwargs: dict[str, Any] = setting({}, affects="evaluation", group="evaluation")
    """Keyword arguments of the evaluation environments as a JSON object, on top of env_kwargs."""
    max_episode_steps: int | None = setting(
        None, at_least=1, group="environment", metavar="STEPS", unset="the environment's own"
    )
    """Time limit of an episode, after which it is truncated, in training and in evaluations."""
    action_limit: float | None = setting(None, above=0, group="environment")
    """Scale actions to [-X, X] where the action space has no bounds or wider ones."""
    num_envs: int = setting(16, at_least=1, fixed=True, shapes=True, group="environment", common=True)
    """Number of environments that are stepped together, for each member."""
    env_threads: Literal["auto"] | int = setting("auto", at_least=0, affects="speed", group="performance")
    """CPU threads of the environments; auto (or 0) lets the back end choose."""

    algo: Algo = setting("auto", fixed=True, group="algorithm", common=True)
    """Algorithm; auto takes sac for continuous actions and sac-discrete for discrete ones."""
    preset: str = setting("auto", group="algorithm", common=True, metavar="NAME | auto | fastest | none")
    """Tuned defaults, by name; fastest takes those that reached a return soonest on environment and device, where that
    was measured, and auto those for the environment, if there are any."""
    total_steps: int = setting(1_000_000, at_least=1, group="run", common=True, metavar="STEPS")
    """Environment steps to train for, those of all num_envs together; resets do not count."""
    seed: int = setting(1, at_least=0, fixed=True, affects="nothing", group="run", common=True)
    """Random seed, in [0, 2^31)."""
    seeds: int | tuple[int, ...] = setting(
        1, at_least=0, fixed=True, affects="nothing", group="run", common=True, metavar="N | N,N,..."
    )
    """Number of seeds, counted from seed on, or a list such as 3,7,8; one member is trained with each."""
    sweep: tuple[str, ...] = setting(
        (), fixed=True, affects="nothing", group="run", common=True, metavar="NAME=X,X ... | random:N"
    )
    """Train one member for each combination of values, such as critic_lr=3e-4,1e-3 tau=0.005,0.01, or for each of N
    random draws from the preset's ranges.  `fastsac plot` ranks them."""

    run_dir: Folder | None = setting(
        None,
        of_call=True,
        affects="nothing",
        group="checkpoints",
        common=True,
        metavar="FOLDER",
        unset="runs/TASK-sSEED-TIME",
    )
    """Folder for all files of the run, new or empty."""
    resume: Folder | None = setting(
        None, of_call=True, affects="nothing", group="checkpoints", common=True, metavar="FOLDER | auto"
    )
    """Continue the run in this folder from its newest checkpoint, with its settings; flags override them.  With auto,
    the same command starts the run in run_dir, and continues it there when called again."""
    wait_for_lock: float = setting(0.0, of_call=True, at_least=0, affects="nothing", group="expert", metavar="SECONDS")
    """Seconds to wait while another process holds the run directory, for example after a job was requeued."""
    max_wall_time: str | None = setting(None, affects="nothing", group="run", metavar="TIME")
    """Time limit of the command, such as 90s, 30m, 3h55m, 2d or HH:MM:SS; before it, the run stops with a checkpoint,
    and the command exits with status 75."""
    device: str = setting(
        "auto", affects="speed", group="performance", common=True, metavar="auto | cpu | cuda | cuda:N"
    )
    """Device to train on; auto takes a CUDA GPU if there is one."""
    cpu_threads: Literal["auto"] | int = setting("auto", at_least=0, affects="speed", group="performance")
    """PyTorch threads for training on a CPU; auto (or 0) takes one or all cores, whichever is faster."""
    compile: Auto = setting("auto", affects="speed", group="performance")
    """Compile the gradient step with torch.compile; auto does so if this saves more time in the run than it costs."""
    cuda_graphs: Auto = setting("auto", affects="speed", group="performance")
    """Launch the compiled gradient steps as CUDA graphs, which saves time between kernels; auto does so on a GPU."""
    updates_per_launch: Literal["auto"] | int = setting("auto", at_least=1, affects="speed", group="expert")
    """Gradient steps in the largest CUDA graph; auto takes those due after one step of all environments, at most 16."""
    parallel: Parallel = setting("auto", group="performance")
    """What processes that torchrun starts divide: members, or the data of one agent (its environments and batches);
    auto is data for one member. off: each trains a run of its own."""
    overlap: Auto = setting("auto", affects="speed", group="performance")
    """Step the environments while the gradient steps run, with the same results; auto does so on a GPU."""
    matmul_precision: Literal["highest", "high"] = setting("high", group="expert")
    """Precision of float32 matrix products and convolutions on a GPU: high is TensorFloat-32, highest full float32."""
    bf16: bool = setting(False, group="performance")
    """Compute matrix products in bfloat16, which is faster for large batches on a GPU; targets, log-probabilities and
    the temperature stay in float32."""

    utd_ratio: float = setting(1.0, above=0, fixed=True, sweepable=True, group="algorithm")
    """Gradient steps per environment step (update-to-data ratio), whatever num_envs is."""
    learning_starts: int = setting(1_000, at_least=1, fixed=True, sweepable=True, group="replay", metavar="STEPS")
    """Environment steps before the first gradient step; at least batch_size."""
    random_steps: int | None = setting(
        None, at_least=0, fixed=True, sweepable=True, group="replay", metavar="STEPS", unset="learning_starts"
    )
    """Environment steps with uniformly random actions at the start, before the policy acts."""
    batch_size: int = setting(256, at_least=1, shapes=True, group="replay")
    """Transitions per gradient step."""
    buffer_size: int = setting(1_000_000, at_least=2, fixed=True, shapes=True, group="replay")
    """Transitions that the replay holds, from all environments of a member; at least learning_starts."""
    prefill: Folder | None = setting(None, group="replay", metavar="FILE")
    """Transitions to begin with, as `fastsac collect` writes them: .npz, HDF5 as that of D4RL, or minari:ID.  They are
    the first contents of the replay, or stay beside it with prefill_share; docs/demonstrations.md tells more."""
    prefill_share: float = setting(0.0, at_least=0, at_most=1, fixed=True, shapes=True, group="replay")
    """Share of every batch that is drawn from the prefill, which is then kept for the whole run (RLPD: 0.5)."""
    n_step: int = setting(1, at_least=1, shapes=True, group="replay")
    """Number of rewards before bootstrapping (n-step return); fewer at the end of an episode."""
    backup_entropy: bool = setting(True, group="expert")
    """Include the policy's entropy in the value of the next state, as maximum-entropy learning does (sac and
    sac-discrete).  Without it, a longer episode earns no entropy bonus: for tasks that should be finished soon."""
    n_step_entropy: bool = setting(True, group="expert")
    """With n_step above 1, include the entropy at the states inside the n-step window in the target, as the soft value
    demands; each such state costs one more pass of the policy.  Most other programs leave it out."""
    bootstrap_time_limits: bool = setting(True, group="replay")
    """Bootstrap from the state at which a time limit cuts an episode off; without it, such a state has value 0, as
    those that end the task have."""
    gamma: float = setting(0.99, at_least=0, at_most=1, sweepable=True, group="algorithm")
    """Discount factor per environment step."""
    tau: float = setting(0.005, above=0, at_most=1, sweepable=True, group="algorithm")
    """Polyak coefficient of the target networks, per gradient step."""
    actor_lr: float = setting(3e-4, above=0, sweepable=True, group="algorithm")
    """Learning rate of the actor (Adam)."""
    critic_lr: float = setting(3e-4, above=0, sweepable=True, group="algorithm")
    """Learning rate of the critics (Adam)."""
    alpha_lr: float = setting(3e-4, above=0, sweepable=True, group="algorithm")
    """Learning rate of the logarithm of the temperature (Adam)."""
    adam_beta1: float = setting(0.9, at_least=0, group="expert")
    """What Adam's running average of the gradient keeps of itself at every step; below 1."""
    adam_beta2: float = setting(0.999, at_least=0, group="expert")
    """What Adam's running average of the squared gradient keeps of itself at every step; below 1."""
    weight_decay: float = setting(0.0, at_least=0, fixed=True, sweepable=True, group="algorithm")
    """Decoupled weight decay (AdamW) of actor and critics: at every gradient step, all their parameters shrink by
    this times the learning rate."""
    lr_schedule: Literal["constant", "linear", "cosine"] = setting("constant", group="algorithm")
    """Schedule of all learning rates over the gradient steps of total_steps: constant, or linear or cosine down to
    lr_final times their values."""
    lr_final: float = setting(0.0, at_least=0, at_most=1, sweepable=True, group="algorithm")
    """Share of the learning rates that a linear or cosine lr_schedule ends with."""
    hidden_dims: tuple[int, ...] = setting((256, 256), at_least=1, fixed=True, shapes=True, group="networks")
    """Widths of the hidden layers of actor and critics."""
    actor_hidden_dims: tuple[int, ...] | None = setting(
        None, at_least=1, fixed=True, shapes=True, group="networks", unset="hidden_dims"
    )
    """Widths of the actor's hidden layers."""
    critic_hidden_dims: tuple[int, ...] | None = setting(
        None, at_least=1, fixed=True, shapes=True, group="networks", unset="hidden_dims"
    )
    """Widths of the critics' hidden layers."""
    network: Network | str = setting(
        "mlp", fixed=True, shapes=True, group="networks", metavar="mlp | simba | flash | PACKAGE.MODULE:CLASS"
    )
    """Architecture of actor and critics: mlp has layers, simba residual blocks with LayerNorm, flash those of FlashSAC
    with BatchNorm; a hidden width is a layer or a block.  Or a class of your own: see docs/networks.md."""
    activation: Activation = setting("relu", fixed=True, group="networks")
    """Activation function of the hidden layers of actor and critics; the convolutions of images have ReLU."""
    log_std_map: Literal["tanh", "clamp"] = setting("tanh", fixed=True, group="networks")
    """Bring the policy's log-standard deviation into its range by tanh, which is smooth, or by clamping (sac and
    sac-v1)."""
    log_std_min: float = setting(-5.0, fixed=True, group="networks")
    """Smallest log-standard deviation of the policy, of actions before their tanh; below log_std_max."""
    log_std_max: float = setting(2.0, fixed=True, group="networks")
    """Largest log-standard deviation of the policy, of actions before their tanh."""
    conv_channels: tuple[int, ...] = setting((32, 64, 64), at_least=1, fixed=True, shapes=True, group="networks")
    """Channels of the one to three convolutions for images, which have kernels 8, 4, 3 and strides 4, 2, 1."""
    num_critics: int = setting(2, at_least=1, fixed=True, shapes=True, group="networks")
    """Number of critics; the target takes the minimum of their values."""
    critic_head: CriticHead | str = setting(
        "scalar", fixed=True, shapes=True, group="networks", metavar="scalar | categorical | PACKAGE.MODULE:CLASS"
    )
    """What critics learn: scalar is the value, categorical a distribution over num_atoms values (C51).  Or a class of
    your own: see docs/networks.md."""
    num_atoms: int = setting(101, at_least=2, fixed=True, shapes=True, group="networks")
    """Values of a categorical critic, evenly spaced from value_min to value_max."""
    value_min: float = setting(-5.0, fixed=True, group="networks")
    """Smallest value of a categorical critic; below value_max."""
    value_max: float = setting(5.0, fixed=True, group="networks")
    """Largest value of a categorical critic; with reward_norm also the largest size of a scaled return."""
    critic_targets: Literal["min", "own"] = setting("min", group="algorithm")
    """Target critic that a critic learns from: the one with the smaller value (min), or its own (own)."""
    actor_q: Literal["min", "mean"] = setting("min", group="algorithm")
    """Value that the actor maximises: the minimum or the mean of the critics' values."""
    zero_init_actor: bool = setting(False, fixed=True, group="networks")
    """Start with an actor whose last layer is zero."""
    actor_layer_norm: bool = setting(False, fixed=True, shapes=True, group="networks")
    """Use LayerNorm in the hidden layers of the actor, before the activation."""
    critic_layer_norm: bool = setting(False, fixed=True, shapes=True, group="networks")
    """Use LayerNorm in the hidden layers of the critics, before the activation."""
    actor_delay: int = setting(1, at_least=1, group="algorithm")
    """Policy delay: update the actor and the temperature once every N gradient steps."""
    update_order: Literal["joint", "actor-first", "critics-first"] = setting("joint", group="algorithm")
    """Order within a gradient step: all losses at the parameters before it (joint); or first actor and temperature,
    then the critics, which use them (actor-first), or the reverse (critics-first); for sac and sac-discrete."""
    init_alpha: float = setting(1.0, above=0, sweepable=True, group="algorithm")
    """Initial temperature alpha, the weight of the entropy; it stays constant without learn_alpha."""
    learn_alpha: bool = setting(True, group="algorithm")
    """Learn the temperature so that the policy's entropy approaches target_entropy (sac and sac-discrete; the other
    algorithms keep init_alpha)."""
    noise_repeat: int = setting(1, at_least=1, fixed=True, group="algorithm", metavar="STEPS")
    """Hold the exploration noise for k steps of all environments, k up to STEPS drawn with probability proportional to
    1/k^2; 1 draws it anew at every step.  For discrete actions that is the noise by which they are sampled."""
    target_entropy: float | None = setting(
        None, sweepable=True, group="algorithm", unset="minus the number of action dimensions"
    )
    """Target entropy of the policy in nats, with actions scaled to [-1, 1]; for discrete actions, target_entropy_share
    sets it."""
    target_sigma: float | None = setting(None, above=0, sweepable=True, group="algorithm", unset="not used")
    """Target entropy as that of a Gaussian with this standard deviation in every action dimension, in place of
    target_entropy (sac)."""
    alpha_states: Literal["obs", "next_obs", "both"] = setting("obs", group="algorithm")
    """States at whose actions the temperature learns: those of the batch (obs), their successors (next_obs), which
    critics learn from too, so that actor_delay does not delay the temperature, or both."""
    target_entropy_share: float = setting(0.5, at_least=0, at_most=1, sweepable=True, group="algorithm")
    """Target entropy for discrete actions, as a share of the largest, log(number of actions)."""
    obs_norm: bool = setting(False, fixed=True, group="networks")
    """Normalise observations by the running mean and variance of those seen in training."""
    reward_scale: float = setting(1.0, above=0, sweepable=True, group="algorithm")
    """Multiply rewards by this factor in every gradient step; returns are reported unscaled."""
    reward_norm: bool = setting(False, fixed=True, group="algorithm")
    """Scale rewards, when they are drawn, so that discounted returns have standard deviation 1, or less where the
    largest would exceed value_max; reward_scale multiplies on top, and returns are reported unscaled."""
    reward_clip: float = setting(0.0, at_least=0, sweepable=True, group="replay")
    """Clip rewards to [-X, X] when they are stored; returns are reported unclipped, and 0 does not clip."""
    max_grad_norm: float = setting(0.0, at_least=0, sweepable=True, group="algorithm")
    """Clip the gradients of actor and critics to this Euclidean norm; 0 does not clip."""

    eval_every: int = setting(
        10_000, at_least=0, affects="evaluation", group="evaluation", common=True, metavar="STEPS"
    )
    """Environment steps between evaluations; 0 evaluates at the end only."""
    eval_episodes: int = setting(10, at_least=1, affects="evaluation", group="evaluation")
    """Episodes per evaluation, with deterministic actions, in environments of their own."""
    video_every: int = setting(0, at_least=0, affects="nothing", group="evaluation", metavar="STEPS")
    """Environment steps between films: the first evaluation after so many has its first episode, with several members
    that of the best, played again for a film in RUN_DIR/videos/.  0 films none; this needs pip install
    "fastsac[video]"."""
    stop_at_return: float | None = setting(None, affects="nothing", group="run", common=True)
    """Stop early once the mean return of an evaluation reaches this value."""
    stop_at_episode_return: float | None = setting(None, affects="nothing", group="run")
    """Stop early once the mean return of the last 100 training episodes reaches this value."""
    stop_when: Literal["all", "any"] = setting("all", affects="nothing", group="run")
    """With several members, stop early once all of them have reached the return, or once any of them has."""
    on_nan: Literal["stop", "rollback"] = setting("stop", group="expert")
    """What to do if a loss or parameter is NaN or infinite: stop the run, or roll the member back to the last row of
    metrics.csv and go on with other random numbers, at most 3 times.  RUN_DIR/nan-STEP/ holds the details."""
    checkpoint_every: int = setting(100_000, at_least=0, affects="nothing", group="checkpoints", metavar="STEPS")
    """Environment steps between checkpoints; 0 writes one at the end only."""
    keep_checkpoints: int = setting(2, at_least=1, affects="nothing", group="checkpoints")
    """Number of newest checkpoints to keep; each also holds the best evaluated policy of every member so far."""
    checkpoint_replay: Literal["full", "none"] = setting("full", group="checkpoints")
    """Save the whole replay in checkpoints (full), or leave it out to save disk space (none).  A run resumed without
    its replay collects batch_size transitions first, then catches up on the gradient steps due meanwhile."""
    log_every: int = setting(1_000, at_least=1, affects="nothing", group="logging", metavar="STEPS")
    """Environment steps between rows of metrics.csv."""
    info_metrics: tuple[str, ...] = setting((), affects="nothing", group="logging", metavar="NAME ...")
    """Figures in the info of the environments, such as terms of the reward, whose means over the steps since the last
    row become columns of metrics.csv, and go to TensorBoard and Weights & Biases: reward_forward as
    info/reward_forward."""
    tensorboard: bool = setting(True, affects="nothing", group="logging")
    """Write TensorBoard event files."""
    wandb: bool = setting(False, affects="nothing", group="logging", common=True)
    """Also log to Weights & Biases; this needs pip install "fastsac[wandb]"."""
    wandb_project: str = setting("fastsac", affects="nothing", group="logging", metavar="NAME")
    """Project of the run on Weights & Biases."""
    wandb_name: str | None = setting(
        None, affects="nothing", group="logging", metavar="NAME", unset="the run directory's"
    )
    """Name of the run on Weights & Biases."""
    wandb_entity: str | None = setting(None, affects="nothing", group="logging", metavar="NAME", unset="your default")
    """User or team that the run belongs to on Weights & Biases."""
    wandb_group: str | None = setting(None, affects="nothing", group="logging", metavar="NAME")
    """Group of the run on Weights & Biases."""
    wandb_tags: tuple[str, ...] = setting((), affects="nothing", group="logging")
    """Tags of the run on Weights & Biases."""
