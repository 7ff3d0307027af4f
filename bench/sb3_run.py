"""What runs of Stable-Baselines3, sb3-contrib and SBX share: they have one interface.

Runs in the peers' own interpreters: imports nothing of this program but the evaluator.
"""

import inspect
from typing import Any

from bench.evaluator import Evaluations


def make_callback(model: Any, evaluations: Evaluations, every: int, total: int) -> Any:
    """Evaluates whenever `every` steps are passed and at `total`, where it ends the training.

    It is called after each vector step, before the updates that this step makes due.
    """
    before = 0

    def act(obs: Any) -> Any:
        return model.predict(obs, deterministic=True)[0]

    def after_step(*_: Any) -> bool:
        nonlocal before
        now = model.num_timesteps
        if now >= total or before // every < now // every:
            wait_for(model)
            evaluations.add(act, now)
        before = now
        return bool(now < total)

    return after_step


def wait_for(model: Any) -> None:
    """Wait for the device of a model of torch: what it still had to do counts."""
    device = getattr(model, "device", None)
    if getattr(device, "type", None) == "cuda":
        import torch

        torch.cuda.synchronize(device)


def settings_of(model: Any) -> dict[str, Any]:
    """The arguments of a model's class that are plain numbers or switches, as the model has them."""
    found = {name: getattr(model, name, None) for name in inspect.signature(type(model)).parameters}
    plain = {name: value for name, value in found.items() if isinstance(value, bool | int | float)}
    return {name: value for name, value in plain.items() if name not in ("verbose", "seed")}
