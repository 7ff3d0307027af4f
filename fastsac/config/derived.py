"""What follows from the settings of a run: sizes, counts and names that several parts ask for."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

from fastsac.config import sweeps
from fastsac.config.budget import update_budget
from fastsac.config.presets import find_ranges
from fastsac.config.seeds import seed_list

INFO = "info/"  # before the names of info_metrics, in columns and tags


class Derived:
    """Properties of a `Config`."""

    env: str
    preset: str
    seed: int
    seeds: int | tuple[int, ...]
    sweep: tuple[str, ...]
    env_kwargs: Mapping[str, Any]
    eval_env_kwargs: Mapping[str, Any]
    max_episode_steps: int | None
    num_envs: int
    env_threads: Literal["auto"] | int
    total_steps: int
    learning_starts: int
    random_steps: int | None
    utd_ratio: float
    updates_per_launch: Literal["auto"] | int
    batch_size: int
    prefill_share: float
    n_step: int
    n_step_entropy: bool
    backup_entropy: bool
    hidden_dims: tuple[int, ...]
    actor_hidden_dims: tuple[int, ...] | None
    critic_hidden_dims: tuple[int, ...] | None
    eval_episodes: int
    stop_at_return: float | None
    stop_at_episode_return: float | None

    @property
    def task(self) -> str:
        """The environment's name without its back end."""
        return self.env.rpartition(":")[2]

    @property
    def num_env_threads(self) -> int:
        """CPU threads to ask of the back end; 0 lets it choose."""
        return 0 if self.env_threads == "auto" else self.env_threads

    @property
    def env_kwargs_of_training(self) -> dict[str, Any]:
        """Keyword arguments of the environments that train, the time limit among them."""
        limit = {} if self.max_episode_steps is None else {"max_episode_steps": self.max_episode_steps}
        return {**self.env_kwargs, **limit}

    @property
    def env_kwargs_of_evaluation(self) -> dict[str, Any]:
        """Keyword arguments of the environments that evaluate."""
        return {**self.env_kwargs_of_training, **self.eval_env_kwargs}

    @property
    def has_goal(self) -> bool:
        """Whether the run stops early at a return."""
        return self.stop_at_return is not None or self.stop_at_episode_return is not None

    @property
    def num_random_steps(self) -> int:
        """Environment steps with random actions at the start, per member."""
        return self.learning_starts if self.random_steps is None else self.random_steps

    @property
    def total_grad_steps(self) -> int:
        """Gradient steps due in the whole run, per member."""
        return update_budget(self.total_steps, self.learning_starts, self.utd_ratio)

    @property
    def num_demonstrated(self) -> int:
        """Transitions of a batch that are drawn from the prefill."""
        return round(self.prefill_share * self.batch_size)

    @property
    def num_window_states(self) -> int:
        """States within an n-step window whose entropy counts."""
        return self.n_step - 1 if self.n_step_entropy and self.backup_entropy else 0

    @property
    def actor_dims(self) -> tuple[int, ...]:
        """Widths of the actor's hidden layers."""
        return self.hidden_dims if self.actor_hidden_dims is None else self.actor_hidden_dims

    @property
    def critic_dims(self) -> tuple[int, ...]:
        """Widths of the critics' hidden layers."""
        return self.hidden_dims if self.critic_hidden_dims is None else self.critic_hidden_dims

    @property
    def updates_per_graph(self) -> int:
        """Updates in the largest CUDA graph: as given, or those of one vector step, as a power of 2 up to 16.

        Longer graphs take longer to capture, and gain nothing: launching is short beside 16 updates.
        """
        if self.updates_per_launch != "auto":
            return self.updates_per_launch
        return 1 << min(4, max(0, int(max(self.values_of("utd_ratio")) * self.num_envs).bit_length() - 1))

    # The part of a run: `fastsac.config.shares` -----------------------------------------------------------------------

    @property
    def first_member(self) -> int:
        """The number that its first member has in the run."""
        return 0

    @property
    def first_env(self) -> int:
        """The number that its first environment has in the run, of each member."""
        return 0

    @property
    def all_envs(self) -> int:
        """Environments of all processes, of each member."""
        return self.num_envs

    @property
    def first_of_batch(self) -> int:
        """The number that its first transition has in a batch."""
        return 0

    @property
    def whole_batch(self) -> int:
        """Transitions in a batch, of all processes."""
        return self.batch_size

    @property
    def eval_span(self) -> tuple[int, int]:
        """The episodes of an evaluation [first, last) that it plays, of all."""
        return 0, self.eval_episodes

    # Members --------------------------------------------------------------------------------------------------------

    @cached_property
    def settings(self) -> list[sweeps.Setting]:
        """The values that a sweep gives to each of its settings; one empty dictionary without a sweep."""
        return sweeps.settings(self.sweep, find_ranges(self.preset), self.seed_list[0], sweeps.names_of(type(self)))

    @property
    def seed_list(self) -> list[int]:
        """The seeds of one setting's members."""
        return seed_list(self.seed, self.seeds)

    @property
    def num_members(self) -> int:
        """M: settings times seeds."""
        return len(self.settings) * len(self.seed_list)

    @property
    def member_seeds(self) -> list[int]:
        """The seed of each member: all seeds of the first setting, then all of the next."""
        return self.seed_list * len(self.settings)

    def values_of(self, name: str) -> list[Any]:
        """The value of a setting in each setting of a sweep."""
        return [setting.get(name, getattr(self, name)) for setting in self.settings]

    @cached_property
    def clips_gradients(self) -> bool:
        """Whether any member clips the norms of gradients."""
        return any(norm > 0 for norm in self.values_of("max_grad_norm"))

    @cached_property
    def decays_weights(self) -> bool:
        """Whether the weights of any member decay."""
        return any(decay > 0 for decay in self.values_of("weight_decay"))

    def check_member(self, member: int) -> None:
        """Raise a ValueError for a member that there is not."""
        if not 0 <= member < self.num_members:
            those = f"in [0, {self.num_members - 1}]" if self.num_members > 1 else "0, the only one of this run"
            raise ValueError(f"member must be {those}, got {member}.")

    def member_setting(self, member: int) -> sweeps.Setting:
        """The values that a sweep gives to one member."""
        return self.settings[member // len(self.seed_list)]

    def member_name(self, member: int) -> str:
        """`member 3 (seed 2, gamma 0.99)`."""
        values = [f"{name} {value:g}" for name, value in self.member_setting(member).items()]
        return f"member {member} ({', '.join([f'seed {self.member_seeds[member]}', *values])})"
