"""Everything a run can be told: one frozen dataclass, documented once, checked at construction; JSON.

Owns names, defaults and traits.  Knows no tensor, no environment and no command line; the text under each field is also
the text of `fastsac train --help`.
"""

import dataclasses
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Unpack

from fastsac.config import sweeps
from fastsac.config.algorithms import Algo
from fastsac.config.checks import check
from fastsac.config.fields import DEFAULTS, Traits, setting
from fastsac.config.kinds import read_json, shown
from fastsac.config.presets import find_preset, find_ranges
from fastsac.disk.files import read_file

Auto = Literal["auto", "on", "off"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one training run."""

    env: str
    """Environment to train in: TASK (of envpool), BACKEND:TASK or PACKAGE.MODULE:TASK.  `fastsac envs` lists them."""
    env_kwargs: dict[str, Any] = setting({})
    """Keyword arguments of the environments, as a JSON object, for example {"ctrl_cost_weight": 0.2}."""
    eval_env_kwargs: dict[str, Any] = setting({}, affects="evaluation")
    """Keyword arguments of the evaluation environments, as a JSON object; they override and extend env_kwargs."""
    action_limit: float | None = setting(None, above=0)
    """For action spaces without bounds: scale actions to [-X, X].  Above 0."""
    num_envs: int = setting(16, at_least=1, fixed=True)
    """Number of environments per member, stepped together.  At least 1."""
    env_threads: int = setting(0, at_least=0, affects="speed")
    """CPU threads of the environments; 0 lets the back end choose."""

    algo: Algo = setting("auto", fixed=True)
    """Algorithm; auto is sac for continuous actions and sac-discrete for discrete ones."""
    preset: str = "none"
    """Preset of hyperparameters: auto (by the environment), none, or a name such as pendulum, gym-mujoco or atari.
    Flags override it."""
    seed: int = setting(1, at_least=0, fixed=True, affects="nothing")
    """Random seed of the first member, in [0, 2^31)."""
    seeds: int = setting(1, at_least=1, fixed=True, affects="nothing")
    """Number of seeds: one member is trained with each of seed, seed + 1, and so on.  At least 1."""
    sweep: tuple[str, ...] = setting((), fixed=True, affects="nothing")
    """Hyperparameter sweep in one run, a member for each combination and seed.  Grid: NAME=VALUE,VALUE,... for each
    hyperparameter.  Random search: random:COUNT draws COUNT combinations from the preset's ranges.  `fastsac plot`
    ranks them by return."""
    total_steps: int = setting(1_000_000, at_least=1)
    """Environment steps to train for, per member; resets do not count.  At least 1."""

    run_dir: str | None = setting(None, affects="nothing")
    """Folder for all files of the run, new or empty; None makes runs/TASK-sSEED-TIME."""
    resume: str | None = setting(None, affects="nothing")
    """Run directory to continue from its newest checkpoint, with its settings; flags override them.  Or auto: continue
    in run_dir if it has a checkpoint, else start there, so that the same command starts and continues a run."""
    wait_for_lock: float = setting(0.0, at_least=0, affects="nothing")
    """Seconds to wait while another process holds the run directory, for example after a job was requeued.
    At least 0."""
    max_wall_time: str | None = setting(None, affects="nothing")
    """Time limit, for example 90s, 30m, 3h55m, 2d or HH:MM:SS, counted from the start of this command, compilation
    included.  The run writes a checkpoint before the limit, and the command exits with status 75."""
    device: str = setting("auto", affects="speed")
    """Device to train on: auto, cpu, cuda or cuda:N; auto is cuda if there is a GPU, else cpu."""
    cpu_threads: int = setting(0, at_least=0, affects="speed")
    """PyTorch threads when training on a CPU; 0 chooses one or all cores, whichever is faster."""
    compile: Auto = setting("auto", affects="speed")
    """Compile the gradient step with torch.compile; auto does so if this saves more time in the run than it costs."""
    cuda_graphs: Auto = setting("auto", affects="speed")
    """Run the compiled gradient steps as CUDA graphs, which saves time between kernels; auto does so on a GPU."""
    updates_per_launch: Literal["auto"] | int = setting("auto", at_least=1, affects="speed")
    """Gradient steps in the largest CUDA graph, at least 1; auto takes those due after one step of all environments, at
    most 16."""
    overlap: Auto = setting("auto", affects="speed")
    """Step the environments while the gradient steps run; auto does so on a GPU.  Results are the same either way."""
    matmul_precision: Literal["highest", "high"] = "high"
    """Precision of float32 matrix products on a GPU: high uses TensorFloat-32, highest full float32."""
    bf16: bool = False
    """Compute matrix products in bfloat16, which is faster for large batches on a GPU; targets, log-probabilities and
    the temperature stay in float32."""

    utd_ratio: float = setting(1.0, above=0, fixed=True)
    """Gradient steps per environment step, whatever num_envs is (update-to-data ratio).  Above 0."""
    learning_starts: int = setting(1_000, at_least=1, fixed=True)
    """Environment steps with random actions before the first gradient step.  At least batch_size."""
    batch_size: int = setting(256, at_least=1)
    """Transitions per gradient step.  At least 1."""
    buffer_size: int = setting(1_000_000, at_least=2, fixed=True)
    """Capacity of the replay in transitions, per member, shared by its environments.  At least learning_starts."""
    n_step: int = setting(1, at_least=1)
    """Number of rewards before bootstrapping (n-step return); fewer at the end of an episode.  At least 1."""
    backup_entropy: bool = True
    """Include the policy's entropy in the value of the next state, as maximum-entropy learning does (sac and
    sac-discrete).  Without it, only the actor's loss includes the entropy, and a longer episode earns no entropy bonus;
    this suits tasks that should be finished soon."""
    n_step_entropy: bool = True
    """With n_step above 1, include the entropy at the states inside the n-step window in the target, as the soft value
    demands; each such state costs one more pass of the policy.  Without it, targets omit this entropy, as those of most
    other programs do."""
    gamma: float = setting(0.99, at_least=0, at_most=1, sweepable=True)
    """Discount factor per environment step, in [0, 1]."""
    tau: float = setting(0.005, above=0, at_most=1, sweepable=True)
    """Polyak coefficient of the target networks, per gradient step, in (0, 1]."""
    actor_lr: float = setting(3e-4, above=0, sweepable=True)
    """Learning rate of the actor (Adam).  Above 0."""
    critic_lr: float = setting(3e-4, above=0, sweepable=True)
    """Learning rate of the critics (Adam).  Above 0."""
    alpha_lr: float = setting(3e-4, above=0, sweepable=True)
    """Learning rate of the logarithm of the temperature (Adam).  Above 0."""
    hidden_dims: tuple[int, ...] = setting((256, 256), at_least=1, fixed=True)
    """Widths of the hidden layers of actor and critics, each at least 1."""
    conv_channels: tuple[int, ...] = setting((32, 64, 64), at_least=1, fixed=True)
    """Image observations: output channels of one to three convolutions, which have kernels 8, 4, 3 and strides 4, 2, 1.
    Each at least 1."""
    num_critics: int = setting(2, at_least=1, fixed=True)
    """Number of critics; the target takes the minimum of their values.  At least 1."""
    critic_layer_norm: bool = setting(False, fixed=True)
    """Use LayerNorm in the hidden layers of the critics, before the ReLU."""
    actor_delay: int = setting(1, at_least=1)
    """Policy delay: update the actor and the temperature once every N gradient steps.  At least 1."""
    init_alpha: float = setting(1.0, above=0, sweepable=True)
    """Initial temperature, the weight of the entropy; --no-learn-alpha keeps it constant.  Above 0."""
    learn_alpha: bool = True
    """Learn the temperature so that the policy's entropy approaches target_entropy (sac and sac-discrete; the other
    algorithms keep init_alpha)."""
    target_entropy: float | None = setting(None, sweepable=True)
    """Target entropy of the policy, in nats; None is minus the number of action dimensions, with actions scaled to
    [-1, 1], or for discrete actions target_entropy_share."""
    target_entropy_share: float = setting(0.5, at_least=0, at_most=1, sweepable=True)
    """Discrete actions: target entropy as a share of its maximum, log(number of actions), in [0, 1]."""
    obs_norm: bool = setting(False, fixed=True)
    """Normalise observations by the running mean and variance of those seen in training."""
    reward_scale: float = setting(1.0, above=0, sweepable=True)
    """Multiply rewards by this factor in every gradient step; returns are reported unscaled.  Above 0."""
    reward_clip: float = setting(0.0, at_least=0)
    """Clip rewards to [-X, X] when they are stored; returns are reported unclipped.  0 does not clip."""
    max_grad_norm: float = setting(0.0, at_least=0)
    """Clip the gradients of actor and critics to this Euclidean norm; 0 does not clip."""

    eval_every: int = setting(10_000, at_least=0, affects="evaluation")
    """Environment steps between evaluations; 0 evaluates at the end only."""
    eval_episodes: int = setting(10, at_least=1, affects="evaluation")
    """Episodes per evaluation, with deterministic actions, in separate environments.  At least 1."""
    stop_at_return: float | None = setting(None, affects="nothing")
    """Stop early once the mean return of an evaluation reaches this value."""
    stop_at_episode_return: float | None = setting(None, affects="nothing")
    """Stop early once the mean return of the last 100 training episodes reaches this value."""
    stop_when: Literal["all", "any"] = setting("all", affects="nothing")
    """With several members, stop early once all of them have reached the return, or once any of them has."""
    on_nan: Literal["stop", "rollback"] = "stop"
    """Reaction to a loss or parameter that is NaN or infinite: stop the run, or roll the member back to its state at
    the last row of metrics.csv and continue with other random numbers, at most 3 times.  Either way
    RUN_DIR/nan-STEP/ holds the details."""
    checkpoint_every: int = setting(100_000, at_least=0, affects="nothing")
    """Environment steps between checkpoints; 0 writes one at the end only."""
    keep_checkpoints: int = setting(2, at_least=1, affects="nothing")
    """Number of checkpoints to keep, newest first; each also holds the best evaluated policy of every member so far.
    At least 1."""
    checkpoint_replay: Literal["full", "none"] = "full"
    """Save the whole replay in checkpoints (full), or leave it out to save disk space (none).  A run resumed without
    its replay collects batch_size transitions first, then catches up on the gradient steps due meanwhile."""
    log_every: int = setting(1_000, at_least=1, affects="nothing")
    """Environment steps between rows of metrics.csv.  At least 1."""
    tensorboard: bool = setting(True, affects="nothing")
    """Write TensorBoard event files."""
    wandb: bool = setting(False, affects="nothing")
    """Also log to Weights & Biases; needs pip install "fastsac[wandb]"."""

    def __post_init__(self) -> None:
        """Raises ValueError with the name, the rule and the value."""
        check(self)

    @classmethod
    def names(cls, **traits: Unpack[Traits]) -> list[str]:
        """Names of the settings with all these traits: `Config.names(sweepable=True)`."""
        fields = dataclasses.fields(cls)
        return [field.name for field in fields if traits.items() <= {**DEFAULTS, **field.metadata}.items()]

    @property
    def task(self) -> str:
        """The environment's name without its back end."""
        return self.env.rpartition(":")[2]

    @property
    def env_kwargs_of_evaluation(self) -> dict[str, Any]:
        """Keyword arguments of the environments that evaluate."""
        return {**self.env_kwargs, **self.eval_env_kwargs}

    @cached_property
    def settings(self) -> list[sweeps.Setting]:
        """The values that a sweep gives to each of its settings; one empty dictionary without a sweep."""
        return sweeps.settings(self.sweep, find_ranges(self.preset), self.seed, self.names(sweepable=True))

    @property
    def num_members(self) -> int:
        """M: settings times seeds."""
        return len(self.settings) * self.seeds

    @property
    def member_seeds(self) -> list[int]:
        """The seed of each member: all seeds of the first setting, then all of the next."""
        return [self.seed + i for _ in self.settings for i in range(self.seeds)]

    def member_setting(self, member: int) -> sweeps.Setting:
        """The values that a sweep gives to one member."""
        return self.settings[member // self.seeds]

    def member_name(self, member: int) -> str:
        """`member 3 (seed 2, gamma 0.99)`."""
        values = [f"{name} {value:g}" for name, value in self.member_setting(member).items()]
        return f"member {member} ({', '.join([f'seed {self.member_seeds[member]}', *values])})"

    def of_member(self, member: int) -> "Config":
        """The settings with which this member alone would be trained."""
        changes = {"seed": self.member_seeds[member], "seeds": 1, "sweep": (), **self.member_setting(member)}
        return self.replace(**changes)

    @property
    def has_goal(self) -> bool:
        """Whether the run stops early at a return."""
        return self.stop_at_return is not None or self.stop_at_episode_return is not None

    @property
    def num_window_states(self) -> int:
        """States within an n-step window whose entropy counts."""
        return self.n_step - 1 if self.n_step_entropy and self.backup_entropy else 0

    @property
    def updates_per_graph(self) -> int:
        """Updates in the largest CUDA graph: as given, or those of one vector step, as a power of 2 up to 16.

        Longer graphs take longer to capture, and gain nothing: launching is short beside 16 updates.
        """
        if self.updates_per_launch != "auto":
            return self.updates_per_launch
        return 1 << min(4, max(0, int(self.utd_ratio * self.num_envs).bit_length() - 1))

    def replace(self, **changes: Any) -> "Config":
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> str:
        """This configuration as JSON that `from_json` reads back to an equal one."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, source: str = "config") -> "Config":
        """Read what `to_json` wrote; raises ValueError, with the name of the `source`, for anything else."""
        try:
            values = read_json(text)
        except ValueError as error:
            raise ValueError(f"{source} is not JSON: {error}.") from error
        if not isinstance(values, dict):
            raise ValueError(f"{source} must hold a JSON object, got {type(values).__name__}.")
        if values.get("reset_envs_at", 0) is None:  # earlier versions wrote it; unset, it changes nothing
            del values["reset_envs_at"]
        if unknown := sorted(set(values) - set(cls.names())):
            raise ValueError(f"{source} has fields that this version does not know: {shown(unknown)[1:-1]}.")
        if "env" not in values:
            raise ValueError(f"{source} has no field env.")
        try:
            return cls(**values)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> "Config":
        """Read a config.json, or the one in a run directory; raises ValueError if that fails."""
        path = Path(path)
        path = path / "config.json" if path.is_dir() else path
        try:
            content = read_file(path)
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror}.") from error
        except ValueError as error:  # of a path with a null byte
            raise ValueError(f"cannot read {shown(str(path))}: {error}.") from None
        return cls.from_json(content, str(path))

    @classmethod
    def for_env(cls, env: str, preset: str = "auto", **overrides: Any) -> "Config":
        """The preset's settings for `env` and its algorithm, with overrides on top: what the command line does.

        Raises ValueError for an unknown preset, and for a value out of range.
        """
        checked = cls(env=env, algo=overrides.get("algo", "auto"))  # by which a preset is looked up
        name, values = find_preset(checked.env, preset, checked.algo)
        return cls(**{"env": env, "preset": name, **values, **overrides})
