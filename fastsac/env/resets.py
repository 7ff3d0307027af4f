"""Steps of a simulator that resets in the step that ends an episode, made those of the contract.

Axes: N environments, O obs_dim.
"""

import numpy as np

from fastsac.env.contract import BoolArray, FloatArray, ObsArray, Step


class NextStepReset:
    """Gives each ended episode its true last observation, and has the next one begin a step later.

    The step after an end, whose action was for an episode that is over, begins the new episode: the observation that it
    led to is the first one, and its reward and flags are left out.  So of each episode the simulator's first step is no
    transition; all others are exact.
    """

    def __init__(self, num_envs: int) -> None:
        self._is_over = np.zeros(num_envs, np.bool_)  # [N], with the step before

    def reset(self) -> None:
        """All environments have been reset."""
        self._is_over[:] = False

    def step(
        self, obs: ObsArray, final_obs: ObsArray, reward: FloatArray, terminated: BoolArray, truncated: BoolArray
    ) -> Step:
        """The step to return.

        Args:
            obs: what the simulator shows after it, [N, O]: of a new episode where one has ended.
            final_obs: the last observations of the episodes that have ended, [N, O]; other rows are not looked at.
            reward: [N].
            terminated: [N].
            truncated: [N].
        """
        goes_on = ~self._is_over
        terminated, truncated = terminated & goes_on, truncated & goes_on
        self._is_over = terminated | truncated
        last = np.where(self._is_over[:, None], final_obs, obs)
        return Step(last, np.where(goes_on, reward, np.zeros_like(reward)), terminated, truncated)
