"""Published recipes with tiny networks: all that their presets say but for sizes."""

from typing import Any

from fastsac.config.presets import PRESETS
from fastsac.config.settings import Config

OF_SIZE = {
    "num_envs", "total_steps", "learning_starts", "random_steps", "batch_size", "buffer_size", "utd_ratio",
    "eval_every", "log_every", "checkpoint_every",
}  # fmt: skip


def tiny(preset: str) -> dict[str, Any]:
    """Settings of a recipe, to be put on top of others."""
    settings = {name: value for name, value in PRESETS[preset].values.items() if name not in OF_SIZE}
    if settings.get("critic_head") == "categorical":
        settings["num_atoms"] = 11
    widths = {"hidden_dims": Config.default("hidden_dims"), "actor_hidden_dims": (8, 8), "critic_hidden_dims": (16, 16)}
    return {**settings, **widths}
