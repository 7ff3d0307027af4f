"""A run that makes its environments anew at a given step, as a run that is stopped and resumed there does."""

from fastsac.config.settings import Config
from fastsac.run.plan import Plan, make_plan
from fastsac.run.result import Result
from fastsac.run.trainer import Run


class RenewingRun(Run):
    """Makes its environments anew once env_steps reaches `renew_at`; never if that is None."""

    def __init__(self, plan: Plan, renew_at: int | None) -> None:
        super().__init__(plan)
        self.renew_at = renew_at

    def _should_stop(self) -> bool:  # asked between vector steps
        if self.renew_at is not None and self._env_steps() >= self.renew_at:
            self.renew_at = None
            self._renew_envs()
        return super()._should_stop()


def train_and_renew(config: Config, renew_at: int | None) -> Result:
    """Train as `fastsac.train` does, and make the environments anew at `renew_at` environment steps."""
    with RenewingRun(make_plan(config), renew_at) as run:
        return run.train()
