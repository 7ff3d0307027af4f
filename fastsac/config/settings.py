"""Everything a run can be told: one frozen dataclass, documented once, checked at construction; JSON.

Owns names, defaults, ranges and their checks.  Knows no tensor, no environment and no command line; the text under
each field is also the text of `fastsac train --help`.
"""

import dataclasses
import json
import math
import re
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import tyro

from fastsac.config import sweeps as sweeps
from fastsac.config.algorithms import Algo
from fastsac.config.durations import parse_duration
from fastsac.config.json_text import plain_json, read_json
from fastsac.config.kinds import conform, shown
from fastsac.config.presets import PRESETS, find_preset, find_ranges
from fastsac.disk.files import read_file

Auto = Literal["auto", "on", "off"]
NOT_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # what no name has, and what cannot be printed
MOST_NAMED = 5  # names in an error


def _json_object(text: str) -> dict[str, Any]:
    """The value of --env-kwargs."""
    try:
        value = read_json(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError(f'env_kwargs must be a JSON object such as {{"ctrl_cost_weight": 0.2}}, got {shown(text)}.')
    return value


# How tyro reads and shows a dictionary.
JSON_OBJECT = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="JSON",
    instance_from_str=lambda texts: _json_object(texts[0]),
    is_instance=lambda value: isinstance(value, dict),
    str_from_instance=lambda value: [json.dumps(value)],
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one training run."""

    env: str
    """Environment: "Task" (envpool), "backend:Task" or "package.module:Task"; `fastsac envs` lists them."""
    env_kwargs: Annotated[dict[str, Any], JSON_OBJECT] = field(default_factory=dict)
    """Keyword arguments for the simulator, as a JSON object."""
    eval_env_kwargs: Annotated[dict[str, Any], JSON_OBJECT] = field(default_factory=dict)
    """What evaluation environments have beside or instead of env_kwargs, as a JSON object: {"episodic_life": false}."""
    action_limit: float | None = None
    """For an action space without bounds: scale actions to [-X, X]."""
    num_envs: int = 16
    """Environments stepped together, per member.  At least 1."""
    env_threads: int = 0
    """CPU threads of the simulator; 0 lets the back end choose."""

    algo: Algo = "auto"
    """Algorithm: sac is Soft Actor-Critic with learned temperature (arXiv 1812.05905), sac-discrete its form for
    discrete actions (arXiv 1910.07207); auto goes by the actions.  sac-v1 is its first form (arXiv 1801.01290), with a
    value network and the temperature at init_alpha for all time.  sql is Soft Q-learning (arXiv 1702.08165) for
    actions of either kind, with the temperature at init_alpha for all time."""
    preset: str = "none"
    """Named defaults; auto (what the command line takes) picks by environment.  Every flag overrides."""
    seed: int = 1
    """Seed of the first member, in [0, 2^31)."""
    seeds: int = 1
    """Members: agents trained side by side in one graph, with seeds seed, seed + 1, ...  At least 1."""
    sweep: tuple[str, ...] = ()
    """Members with different settings: name=value,value,... for each setting, whose combinations are trained, or
    random:COUNT for draws from the preset's ranges; each with all the seeds.  Returns by setting: `fastsac plot`."""
    total_steps: int = 1_000_000
    """Environment steps to train for, per member, counted in real transitions.  At least 1."""

    run_dir: str | None = None
    """Folder for everything the run writes; default runs/TASK-sSEED-TIME.  Must be new or empty."""
    resume: str | None = None
    """Run directory to continue from its newest checkpoint; its settings apply, flags given here override.  Or auto,
    with run_dir: continue there if there is a checkpoint, else start: the same command line may be given again."""
    wait_for_lock: float = 0.0
    """Seconds to wait where another process still writes to the run directory, as after a requeue.  At least 0."""
    max_wall_time: str | None = None
    """Stop with a checkpoint before this time is up, as in 90s, 30m, 3h55m, 2d or HH:MM:SS, counted from the start of
    this process' run, compiling included; the command line then ends with status 75."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N; auto is cuda where there is one."""
    cpu_threads: int = 0
    """Threads of torch on a CPU; 0 lets the program choose: one where the networks are small, else all cores."""
    compile: Auto = "auto"
    """Compile the update with torch.compile; auto does so where the run is long enough to win the time back."""
    cuda_graphs: Auto = "auto"
    """Capture launches as CUDA graphs; auto does so on cuda when the update is compiled."""
    updates_per_launch: Literal["auto"] | int = "auto"
    """Updates in the largest CUDA graph; auto is what one vector step brings, at most 16.  Only with CUDA graphs."""
    overlap: Auto = "auto"
    """Step the environments while the learner works; auto does so on cuda.  The numbers are the same either way."""
    matmul_precision: Literal["highest", "high"] = "high"
    """Matrix products of float32 on CUDA: high uses TensorFloat-32, highest full float32."""
    bf16: bool = False
    """Matrix products in bfloat16, for large batches on CUDA; targets, log-probabilities and alpha stay float32."""

    utd_ratio: float = 1.0
    """Gradient steps per environment step, whatever num_envs.  Above 0."""
    learning_starts: int = 1_000
    """Environment steps with random actions before the first update.  At least batch_size."""
    batch_size: int = 256
    """Transitions per gradient step.  At least 1."""
    buffer_size: int = 1_000_000
    """Replay capacity in transitions, per member, split over the environments."""
    n_step: int = 1
    """Rewards summed before bootstrapping; windows stop at an episode's end.  At least 1."""
    backup_entropy: bool = True
    """Count the policy's entropy in the value of the next state (sac, sac-discrete), as maximum-entropy learning does.
    Without it entropy shapes the policy alone, and being alive is not worth entropy: for tasks that are to be ended."""
    n_step_entropy: bool = True
    """With n_step above 1: count the entropy at the states within the window too, as the soft value does; costs a pass
    of the policy for each.  Without it targets are those of other programs, which miss what the policy was paid for."""
    gamma: float = 0.99
    """Discount per environment step, in [0, 1]."""
    tau: float = 0.005
    """Share of the critic that goes into its target at every gradient step, in (0, 1]."""
    actor_lr: float = 3e-4
    """Adam step size of the actor.  Above 0."""
    critic_lr: float = 3e-4
    """Adam step size of the critics.  Above 0."""
    alpha_lr: float = 3e-4
    """Adam step size of log_alpha.  Above 0."""
    hidden_dims: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers of actor and critics."""
    conv_channels: tuple[int, ...] = (32, 64, 64)
    """Images: channels of up to 3 convolutions, with kernels 8, 4, 3 and strides 4, 2, 1."""
    num_critics: int = 2
    """Critics in the ensemble; the target takes their minimum.  At least 1."""
    critic_layer_norm: bool = False
    """LayerNorm after each hidden layer of the critics (before the ReLU)."""
    actor_delay: int = 1
    """Update actor and temperature at every Nth gradient step.  At least 1."""
    init_alpha: float = 1.0
    """Temperature at the start, above 0; for all time with --no-learn-alpha."""
    learn_alpha: bool = True
    """Adjust the temperature towards target_entropy."""
    target_entropy: float | None = None
    """Target of the policy's entropy in nats; default -action_dim (for actions in [-1, 1]), for discrete actions
    target_entropy_share."""
    target_entropy_share: float = 0.5
    """Discrete actions: the target entropy as a share of log(number of actions), its maximum, in [0, 1]."""
    obs_norm: bool = False
    """Normalise observations by running mean and variance of fresh frames."""
    reward_scale: float = 1.0
    """Factor on rewards inside the update; returns are reported unscaled.  Above 0."""
    reward_clip: float = 0.0
    """Limit of rewards on their way into the replay, to [-X, X]; returns are reported as they were.  0 is none."""
    max_grad_norm: float = 0.0
    """Clip the gradients of actor and critics to this Euclidean norm; 0 does not clip."""

    eval_every: int = 10_000
    """Environment steps between evaluations; 0 evaluates at the end only."""
    eval_episodes: int = 10
    """Episodes per evaluation, with deterministic actions, in environments of their own.  At least 1."""
    stop_at_return: float | None = None
    """Stop when the mean evaluation return of the members has reached this: see stop_when."""
    stop_at_episode_return: float | None = None
    """Stop when the mean return of the last 100 training episodes of the members has reached this: see stop_when."""
    stop_when: Literal["all", "any"] = "all"
    """With several members: stop when all have reached the return at some time, or when one has."""
    on_nan: Literal["stop", "rollback"] = "stop"
    """When a loss or parameter is NaN or infinite: stop, or return that member to its state at the last log point and
    go on with other draws, 3 times at most.  RUN_DIR/nan-STEP/ tells what it was either way."""
    checkpoint_every: int = 100_000
    """Environment steps between checkpoints; 0 writes one at the end only."""
    keep_checkpoints: int = 2
    """Checkpoints that stay, the newest.  Each also has every member's best policy by evaluation.  At least 1."""
    checkpoint_replay: Literal["full", "none"] = "full"
    """Keep the replay in checkpoints; none saves the space, and a resumed run begins with an empty replay: it learns
    again when that holds batch_size transitions, and then makes up for the gradient steps in between."""
    reset_envs_at: int | None = None
    """Make the environments anew when env_steps reaches this, as a resumed run does; to check exact resume."""
    log_every: int = 1_000
    """Environment steps between rows of metrics.csv.  At least 1."""
    tensorboard: bool = True
    """Write TensorBoard event files."""
    wandb: bool = False
    """Log to Weights & Biases too (pip install "fastsac[wandb]")."""

    def __post_init__(self) -> None:
        """Check every type and range; raises ValueError with the name, the rule and the value."""
        _check_types(self)
        _check_counts(self)
        _check_ranges(self)
        if self.max_wall_time is not None:
            try:
                parse_duration(self.max_wall_time)
            except ValueError as error:
                raise ValueError(f"max_wall_time {error}") from None
        if self.seed + self.seeds > 2**31:
            raise ValueError(f"seed must be in [0, 2^31 - seeds], got {self.seed}. Choose a smaller one.")
        if not self.hidden_dims or min(self.hidden_dims) < 1:
            raise ValueError(f"hidden_dims must be one or more widths of at least 1, got {shown(self.hidden_dims)}.")
        if not 1 <= len(self.conv_channels) <= 3 or min(self.conv_channels) < 1:
            got = shown(self.conv_channels)
            raise ValueError(f"conv_channels must be one to three widths of at least 1, got {got}.")
        if self.batch_size > self.learning_starts:
            raise ValueError(
                f"batch_size must be at most learning_starts ({self.learning_starts}), which fills the replay before "
                f"the first update, got {self.batch_size}. Lower batch_size or raise learning_starts."
            )
        if self.learning_starts > self.buffer_size:
            raise ValueError(
                f"buffer_size must be at least learning_starts ({self.learning_starts}), got {self.buffer_size}."
            )
        if self.buffer_size // self.num_envs <= self.n_step:
            raise ValueError(
                f"buffer_size must hold more than n_step = {self.n_step} transitions for each of num_envs = "
                f"{self.num_envs} environments, got {self.buffer_size}. Raise buffer_size or lower num_envs."
            )
        if self.updates_per_launch != "auto" and self.updates_per_launch < 1:
            raise ValueError(f"updates_per_launch must be auto or at least 1, got {self.updates_per_launch}.")
        if self.preset not in ("none", *PRESETS):
            raise ValueError(
                f"preset must be none or one of {', '.join(PRESETS)}, got {shown(self.preset)}. "
                "Config.for_env(env, preset=...) applies one."
            )
        if not re.fullmatch(r"auto|cpu|cuda(:(0|[1-9][0-9]{0,2}))?", self.device):
            raise ValueError(f"device must be auto, cpu, cuda or cuda:N, got {shown(self.device)}.")
        if self.sweep:
            for setting in self.settings:
                self.replace(sweep=(), **setting)  # checks the values

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
        """What a sweep changes, one dictionary per setting; a single empty one without a sweep."""
        return sweeps.settings(self.sweep, find_ranges(self.preset), self.seed)

    @property
    def num_members(self) -> int:
        """M: settings times seeds."""
        return len(self.settings) * self.seeds

    @property
    def member_seeds(self) -> list[int]:
        """The seed of each member: all seeds of the first setting, then all of the next."""
        return [self.seed + i for _ in self.settings for i in range(self.seeds)]

    def member_setting(self, member: int) -> sweeps.Setting:
        """What a sweep changes for one member."""
        return self.settings[member // self.seeds]

    def member_name(self, member: int) -> str:
        """`member 3 (seed 2, gamma 0.99)`."""
        setting = [f"{name} {value:g}" for name, value in self.member_setting(member).items()]
        return f"member {member} ({', '.join([f'seed {self.member_seeds[member]}', *setting])})"

    def of_member(self, member: int) -> "Config":
        """The settings with which this member alone would be trained."""
        changes = {"seed": self.member_seeds[member], "seeds": 1, "sweep": (), **self.member_setting(member)}
        return self.replace(**changes)

    @property
    def num_between(self) -> int:
        """States within an n-step window whose entropy counts."""
        return self.n_step - 1 if self.n_step_entropy and self.backup_entropy else 0

    @property
    def updates_per_graph(self) -> int:
        """Updates in the largest CUDA graph: as given, or those of one vector step, as a power of 2 up to 16.

        Longer graphs gain nothing once the host's part of a launch is small beside the device's, and cost capture time.
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
        """Read what `to_json` wrote; `source` names the file in errors.

        Raises:
            ValueError: not JSON, fields that this version does not know, or values of a wrong type or out of range.
        """
        try:
            values = read_json(text)
        except ValueError as error:
            raise ValueError(f"{source} is not JSON: {error}.") from error
        if not isinstance(values, dict):
            raise ValueError(f"{source} must hold a JSON object, got {type(values).__name__}.")
        if unknown := sorted(set(values) - set(_fields())):
            names = [name if name.isidentifier() else shown(name) for name in unknown[:MOST_NAMED]]
            more = f" and {len(unknown) - MOST_NAMED} more" * (len(unknown) > MOST_NAMED)
            raise ValueError(f"{source} has fields that this version does not know: {', '.join(names)}{more}.")
        if "env" not in values:
            raise ValueError(f"{source} has no field env.")
        try:
            return cls(**values)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> "Config":
        """Read a config.json, or the one in a run directory.

        Raises:
            ValueError: it cannot be read, or `from_json` refuses what is in it.
        """
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

        Raises:
            ValueError: unknown preset, or a value out of range.
        """
        texts = {"env": env, "preset": preset, "algo": overrides.get("algo", "auto")}
        name, values = find_preset(**{name: conform(name, text, str) for name, text in texts.items()})
        return cls(**{"env": env, "preset": name, **values, **overrides})


_AT_LEAST = {
    "num_envs": 1, "env_threads": 0, "seed": 0, "seeds": 1, "total_steps": 1, "cpu_threads": 0,
    "learning_starts": 1, "batch_size": 1, "buffer_size": 2, "n_step": 1, "num_critics": 1, "actor_delay": 1,
    "eval_every": 0, "eval_episodes": 1, "checkpoint_every": 0, "log_every": 1, "keep_checkpoints": 1,
    "reset_envs_at": 1,
}  # fmt: skip
_ABOVE_0 = ("utd_ratio", "actor_lr", "critic_lr", "alpha_lr", "init_alpha", "reward_scale", "tau")


@cache
def _fields() -> dict[str, Any]:
    """The type of each field."""
    hints = get_type_hints(Config)
    return {f.name: hints[f.name] for f in dataclasses.fields(Config)}


def _check_types(config: Config) -> None:
    """Check that each field is what its annotation says, and make it plain: what JSON gives back is equal."""
    for name, kind in _fields().items():
        value = conform(name, getattr(config, name), kind)
        for text in (value,) if isinstance(value, str) else value if kind == tuple[str, ...] else ():
            if NOT_TEXT.search(text):
                raise ValueError(f"{name} must be text without control characters, got {shown(text)}.")
        if isinstance(value, dict):
            try:
                value = plain_json(value)
            except ValueError as error:
                raise ValueError(f"{name} {error}.") from None
        object.__setattr__(config, name, value)


def _check_counts(config: Config) -> None:
    for name, least in _AT_LEAST.items():
        value = getattr(config, name)
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}.")


def _check_ranges(config: Config) -> None:
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{f.name} must be finite, got {value}.")
    for name in (*_ABOVE_0, *(("action_limit",) if config.action_limit is not None else ())):
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} must be above 0, got {getattr(config, name)}.")
    if not 0 <= config.gamma <= 1:
        raise ValueError(f"gamma must be in [0, 1], got {config.gamma}.")
    if not 0 <= config.target_entropy_share <= 1:
        raise ValueError(f"target_entropy_share must be in [0, 1], got {config.target_entropy_share}.")
    if config.tau > 1:
        raise ValueError(f"tau must be in (0, 1], got {config.tau}.")
    if config.max_grad_norm < 0:
        raise ValueError(f"max_grad_norm must be at least 0 (0 does not clip), got {config.max_grad_norm}.")
    if config.wait_for_lock < 0:
        raise ValueError(f"wait_for_lock must be at least 0, got {config.wait_for_lock}.")
    if config.reward_clip < 0:
        raise ValueError(f"reward_clip must be at least 0 (0 does not clip), got {config.reward_clip}.")


def update_budget(env_steps: int, learning_starts: int, utd_ratio: float) -> int:
    """Gradient steps due in total: floor(utd_ratio * (env_steps - learning_starts)), exact for decimal ratios.

    `0.29 * 100` is 28.999999999999996 in floating point; as the decimal that was typed it is 29.
    """
    up, down = _exact(utd_ratio)
    return max(0, up * (env_steps - learning_starts) // down)


@lru_cache
def _exact(ratio: float) -> tuple[int, int]:
    """The decimal number that was typed, as a fraction; asked for at every vector step."""
    return Fraction(repr(ratio)).as_integer_ratio()
