"""The environments of a run: made from its seeds, and named in errors by member and time."""

from collections.abc import Callable, Sequence
from functools import partial

from fastsac.acting.errors import Locate, call_env, of_members, try_make
from fastsac.config.settings import Config
from fastsac.env import VectorEnv, make_env
from fastsac.nn.philox import Purpose, derive_seeds


class Environments:
    """Makes the environments of a run.

    Args:
        config: of the run.
        env_steps: gives the env steps of each member by now.

    Attributes:
        started: work has begun; environments that cannot be made have failed then, and are no error of the user's.
    """

    def __init__(self, config: Config, env_steps: Callable[[], Sequence[int]]) -> None:
        self._config, self._env_steps = config, env_steps
        self.started = False

    def make_for_training(self, counter: int) -> VectorEnv:
        """num_envs of each member; another counter gives other episodes.

        Raises:
            ValueError: they cannot be made.
            EnvFailedError: so, after work has begun.
        """
        c = self._config
        make = partial(self._make, Purpose.ENV_SEED, c.num_envs, counter, c.env_kwargs)
        return call_env(make, "make", self.locate(c.num_envs)) if self.started else try_make(make)

    def make_for_evaluation(self, counter: int) -> VectorEnv:
        """eval_episodes of each member; another counter gives other episodes.

        Raises:
            EnvFailedError: they cannot be made.
        """
        c = self._config
        make = partial(self._make, Purpose.EVAL_SEED, c.eval_episodes, counter, c.env_kwargs_of_evaluation)
        return call_env(make, "make", self.locate_in_evaluation())

    def locate(self, num_envs: int, during: str = "") -> Locate:
        """Names environments, so many of each member, in errors."""
        return of_members(self._config, num_envs, self._env_steps, during)

    def locate_in_evaluation(self) -> Locate:
        """Names environments of an evaluation in errors."""
        return self.locate(self._config.eval_episodes, " in an evaluation")

    def _make(self, purpose: Purpose, num_envs: int, counter: int, env_kwargs: dict[str, object]) -> VectorEnv:
        c = self._config
        seeds = [s for seed in c.member_seeds for s in derive_seeds(seed, purpose, num_envs, counter)]
        return make_env(c.env, seeds, c.env_threads, env_kwargs, c.action_limit)
