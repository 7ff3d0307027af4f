"""The preset `fastest` in the settings of a run that is to be: resolved for the device that there is."""

from collections.abc import Mapping
from typing import Any

from fastsac.config.fastest import NAME, find_fastest
from fastsac.runtime.device import choose_device


def with_fastest(env: str, settings: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The settings with the name of a preset in place of `fastest`, and what to say of it at the start of the run."""
    if settings.get("preset") != NAME:
        return dict(settings), ()
    device = settings.get("device", "auto")
    preset, why = find_fastest(env, choose_device("auto").type if device == "auto" else str(device))
    return {**settings, "preset": preset}, (why,)
