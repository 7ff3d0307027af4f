"""A script as a user with `mypy --strict` writes it; wrong calls are errors of types, which the ignores prove."""

from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import torch

import fastsac


def stop(event: fastsac.Event) -> fastsac.Stop | None:
    is_good = isinstance(event, fastsac.EvalEvent) and min(event.returns) > 0
    return fastsac.Stop("good") if is_good else None


def main(folder: Path) -> list[fastsac.Evaluation]:
    env_fn = partial(gymnasium.make, "Pendulum-v1")
    first = fastsac.train("Pendulum-v1", seed=3, total_steps=120, learning_starts=64, batch_size=8,
                          hidden_dims=(8,), run_dir=str(folder / "first"), tensorboard=False)  # fmt: skip
    config = fastsac.Config(env="Pendulum-v1", total_steps=120, learning_starts=64, batch_size=8, tensorboard=False)
    second = fastsac.train(config, run_dir=str(folder / "second"), num_envs=2)
    third = fastsac.train(env_fn, resume=None, total_steps=120, learning_starts=64, batch_size=8,
                          run_dir=str(folder / "third"), tensorboard=False)  # fmt: skip
    events: list[fastsac.Event] = []
    fastsac.train(env=env_fn, resume=str(third.run_dir), total_steps=160, callbacks=[events.append, stop], quiet=True)
    assert isinstance(events[-1], fastsac.EndEvent)
    evaluations = []
    for run_dir in (first.run_dir, second.run_dir, third.run_dir):
        policy = fastsac.load(run_dir)
        env = env_fn()
        obs, _ = env.reset(seed=0)
        obs, *_ = env.step(policy.act(obs))
        assert policy.predict(obs, deterministic=True)[0] == policy.act(obs)
        batch: torch.Tensor = policy.act(torch.from_numpy(np.stack([obs, obs])))
        assert batch.shape == (2, 1)
        evaluations.append(fastsac.evaluate(policy, env, episodes=2))
    return evaluations


def wrong() -> None:
    fastsac.train("Pendulum-v1", sed=3)  # type: ignore[call-overload]
    fastsac.train("Pendulum-v1", seed="three")  # type: ignore[call-overload]
    fastsac.train("Pendulum-v1", callbacks=[3])  # type: ignore[list-item]
    fastsac.train(env=3)  # type: ignore[call-overload]
    fastsac.Config(env="Pendulum-v1", sed=3)  # type: ignore[call-arg]
    fastsac.evaluate(3)  # type: ignore[arg-type]
