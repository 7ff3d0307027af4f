"""A back end for tests whose every number is known in advance: `"tests.support.scripted_env:SCRIPT"`.

Axes: N environments, O obs_dim, A action_dim.

The script
----------
SCRIPT is a comma-separated list of episodes, each a length in steps and the way it ends: `t` terminated, `c` cut off
(truncated), `b` both.  `"3t,5c,2b"` means three steps and a termination, five and a truncation, two and both flags,
and again from the front.  An environment starts at entry seeds[i] modulo the number of entries, so that environments
end at different times: seed 0 plays 3t, 5c, 2b, 3t, ..., seed 1 plays 5c, 2b, 3t, 5c, ...

An episode of length L takes L steps: the L-th carries the flags and the final observation (step L).  The vector step
after it is the dummy: its action is ignored, reward 0, flags false, its observation is step 0 of the next episode.

The numbers
-----------
obs = [seed, episode, step, action_0, ..., action_{A-1}], so O = 3 + A:
    seed     seeds[i] modulo 4096
    episode  0, 1, 2, ... since construction (`reset` ends an episode, too)
    step     0 at an episode's first observation, L at its final one
    action   the action of the step that led here, in [-1, 1] or one-hot; zeros at step 0
reward = vec_step + (seed % 1024) / 1024, where vec_step counts all `send`s since construction, dummies included, from
1: so the first row is 1 point something, and no two rows of a run have the same reward (for different seeds % 1024, and
exactly in float32 up to vec_step 8191).  The dummy's reward is 0.

env_kwargs
----------
action_dim   A, default 2
nan_obs      [env, vec_step]: every entry of that observation is nan; vec_step 0 is that of the first `reset`
nan_reward   [env, vec_step]: that reward is nan (a dummy's, too)
bound        action bounds are [-bound, bound], default 1; "inf" for none.  `env.scaled_action` holds the last action in
             these units; the observation shows the action in [-1, 1]
fail         [env, vec_step]: that environment raises an exception instead of stepping; vec_step 0 is the first `reset`,
             -1 the making
error        which exception that is: RuntimeError (default), SystemExit, KeyboardInterrupt, or LinAlgError from NumPy
sleep        [vec_step, seconds, file]: that vector step takes so long; the file is there from its beginning on
factor       rewards are times this number
figures      true for an info with "step", as in obs, and "even", the step where it is even and nan elsewhere; in a
             dummy row both are -1000
saves_state  true for environments with `state_dict` and `load_state_dict`
bad_picture  the number of a picture, counted from 1, that cannot be drawn
discrete     true for a discrete task of action_dim choices; `env.scaled_action` holds the numbers of the last choices

It keeps `action` by reference between `send` and `recv`, and asserts that the two alternate, that actions are float32
of the right shape, and that they lie in [-1, 1] (discrete: that every row is one-hot).
"""

import builtins
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastsac.env import ActionChoice, ActionScale, EnvSpec, FloatArray, Step, check_known_kwargs

SEED, EPISODE, STEP, ACTION = 0, 1, 2, 3  # columns of obs; the action starts at ACTION
TAKES_MORE = True  # than it lists
KWARGS = (
    "action_dim", "nan_obs", "nan_reward", "factor", "bound", "discrete", "sleep", "fail", "error", "saves_state",
    "bad_picture", "figures",
)  # fmt: skip


def list_tasks() -> list[str]:
    return ["3t,5c,2b", "5c", "4t"]


def parse(script: str) -> list[tuple[int, bool, bool]]:
    """(length, terminated, truncated) of each episode in `script`."""
    entries = [re.fullmatch(r"([1-9]\d*)([tcb])", entry) for entry in script.split(",")]
    if None in entries:
        raise ValueError(f'task must look like "3t,5c,2b", got {script!r}.')
    return [(int(m[1]), m[2] in "tb", m[2] in "cb") for m in entries if m]


def make_spec(task: str, env_kwargs: Mapping[str, Any], action_limit: float | None) -> EnvSpec:
    check_known_kwargs(f"tests.support.scripted_env:{task}", env_kwargs, KWARGS)
    action_dim = env_kwargs.get("action_dim", 2)
    to_native = _action_map(task, env_kwargs, action_limit)
    return EnvSpec(
        env_id=f"tests.support.scripted_env:{task}",
        obs_dim=ACTION + action_dim,
        action_dim=action_dim,
        obs_layout=(("seed", 1), ("episode", 1), ("step", 1), ("action", action_dim)),
        max_episode_steps=max(length for length, _, _ in parse(task)),
        action_bounds=to_native.bounds,
        discrete=to_native.discrete,
    )


def make(
    task: str, seeds: Sequence[int], num_threads: int, env_kwargs: Mapping[str, Any], action_limit: float | None
) -> "ScriptedEnv":
    cls = SavingEnv if env_kwargs.get("saves_state") else ScriptedEnv
    return cls(task, seeds, env_kwargs, action_limit)


class ScriptedEnv:
    def __init__(
        self, task: str, seeds: Sequence[int], env_kwargs: Mapping[str, Any], action_limit: float | None
    ) -> None:
        self.spec = make_spec(task, env_kwargs, action_limit)
        self.num_envs = len(seeds)
        self.closed = False
        self.scaled_action: Any = None
        self._to_native = _action_map(task, env_kwargs, action_limit)
        self._script = parse(task)
        self._seeds = np.asarray(seeds)
        self._nan_obs, self._nan_reward = (env_kwargs.get(k) for k in ("nan_obs", "nan_reward"))
        self._factor = env_kwargs.get("factor", 1.0)
        self._fail, self._error = env_kwargs.get("fail", (-1, -2)), env_kwargs.get("error", "RuntimeError")
        self._has_figures = env_kwargs.get("figures", False)
        self._sleep = env_kwargs.get("sleep", (-1, 0, ""))
        self._vec_step = 0
        self._episode = np.full(self.num_envs, -1)  # [N]
        self._step = np.zeros(self.num_envs, int)  # [N]
        self._done = np.ones(self.num_envs, bool)  # [N]
        self._action: FloatArray | None = None
        self._explode_at(-1)

    def reset(self) -> FloatArray:
        self._explode_at(self._vec_step)
        self._episode += 1
        self._step[:] = 0
        self._done[:] = False
        self._action = None
        return self._obs(np.zeros((self.num_envs, self.spec.action_dim), np.float32))

    def send(self, action: FloatArray) -> None:
        assert not self.closed
        assert self._action is None, "send before the last recv"
        assert action.shape == (self.num_envs, self.spec.action_dim), action.shape
        assert action.dtype == np.float32, action.dtype
        if self.spec.discrete:
            assert_one_hot(action)
        assert (np.abs(action) <= 1).all(), "action outside [-1, 1]"
        self._action = action

    def recv(self) -> Step:
        assert self._action is not None, "recv without send"
        action, self._action = self._action, None
        self.scaled_action = self._to_native(action)
        self._vec_step += 1
        if self._vec_step == self._sleep[0]:
            Path(self._sleep[2]).touch()
            time.sleep(self._sleep[1])
        self._explode_at(self._vec_step)
        dummy = self._done
        self._episode += dummy
        self._step = np.where(dummy, 0, self._step + 1)
        flags = [self._flags(i) for i in range(self.num_envs)]
        terminated, truncated = (np.array(column) for column in zip(*flags, strict=True))
        self._done = terminated | truncated
        obs = self._obs(np.where(dummy[:, None], np.float32(0), action))
        return Step(obs, self._reward(dummy), terminated, truncated, info=self._figures(dummy))

    def _figures(self, dummy: Any) -> dict[str, FloatArray] | None:
        if not self._has_figures:
            return None
        steps = np.where(dummy, -1000, self._step).astype(np.float32)
        return {"step": steps, "even": np.where(steps % 2 == 0, steps, np.float32(np.nan))}

    def close(self) -> None:
        self.closed = True

    def _explode_at(self, vec_step: int) -> None:
        if vec_step != self._fail[1]:
            return
        try:
            if self._error == "LinAlgError":
                np.linalg.inv(np.zeros((2, 2)))  # explodes in NumPy
            raise getattr(builtins, self._error)("the simulator exploded.\nBadly.")
        except BaseException as error:
            error.env_index = self._fail[0]  # type: ignore[attr-defined]  # by the contract
            raise

    def _flags(self, i: int) -> tuple[bool, bool]:
        """(terminated, truncated) of environment i at its present step."""
        length, terminated, truncated = self._script[(self._seeds[i] + self._episode[i]) % len(self._script)]
        return (terminated, truncated) if self._step[i] == length else (False, False)

    def _obs(self, action: FloatArray) -> FloatArray:
        head = np.stack([self._seeds % 4096, self._episode, self._step], axis=1)
        obs = np.concatenate([head, action], axis=1).astype(np.float32)
        if self._nan_obs and self._nan_obs[1] == self._vec_step:
            obs[self._nan_obs[0]] = np.nan
        return obs

    def _reward(self, dummy: Any) -> FloatArray:
        reward = np.where(dummy, 0, self._factor * (self._vec_step + self._seeds % 1024 / 1024)).astype(np.float32)
        if self._nan_reward and self._nan_reward[1] == self._vec_step:
            reward[self._nan_reward[0]] = np.nan
        return reward


def make_rendered(task: str, seed: int, env_kwargs: Mapping[str, Any], action_limit: float | None) -> "DrawnEnv":
    return DrawnEnv(task, [seed], env_kwargs, action_limit)


class DrawnEnv(ScriptedEnv):
    """Draws the step of its episode: 10 times its number, as grey; the left half of the top row is red."""

    steps_per_s = 100.0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._num_pictures, self._bad_picture = 0, args[2].get("bad_picture")

    def render(self) -> NDArray[np.uint8]:
        self._num_pictures += 1
        if self._num_pictures == self._bad_picture:
            raise RuntimeError("the lamp broke.\nBadly.")
        picture = np.full((30, 41, 3), 10 * self._step[0], np.uint8)
        picture[0, :20] = 255, 0, 0
        return picture


class SavingEnv(ScriptedEnv):
    """One that can save where it is."""

    def state_dict(self) -> dict[str, Any]:
        assert self._action is None, "asked for in the middle of a step"
        arrays = {name: getattr(self, f"_{name}") for name in ("seeds", "episode", "step", "done")}
        return {**arrays, "vec_step": np.array(self._vec_step)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in ("seeds", "episode", "step", "done"):
            setattr(self, f"_{name}", np.array(state[name]))
        self._vec_step = int(state["vec_step"])


def assert_one_hot(action: FloatArray) -> None:
    """Every row holds a single 1 and zeros."""
    assert ((action == 0) | (action == 1)).all(), "action is not one-hot"
    assert (action.sum(axis=1) == 1).all(), "action is not one-hot"


def _action_map(task: str, env_kwargs: Mapping[str, Any], action_limit: float | None) -> ActionScale | ActionChoice:
    env_id, action_dim = f"tests.support.scripted_env:{task}", env_kwargs.get("action_dim", 2)
    if env_kwargs.get("discrete"):
        return ActionChoice(range(action_dim), np.int64, action_limit, env_id)
    bound = np.full(action_dim, float(env_kwargs.get("bound", 1)))
    return ActionScale(-bound, bound, np.float32, action_limit, env_id)
