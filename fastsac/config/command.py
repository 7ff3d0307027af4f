"""The command that repeats a run, made of its settings, and where these come from."""

import json
import shlex
from dataclasses import asdict, dataclass

from fastsac.config.settings import Config


@dataclass(frozen=True)
class Choice:
    """The value of a setting, and the one that it would have otherwise."""

    name: str
    value: object
    otherwise: object


def given(config: Config) -> list[Choice]:
    """Settings that differ from those of the preset and the defaults; the algorithm where it is not auto."""
    usual = {**asdict(Config(env=config.env, preset=config.preset, algo=config.algo)), "algo": Config.default("algo")}
    return [Choice(each.name, each.value, usual[each.name]) for each in every(config) if each.value != usual[each.name]]


def of_preset(config: Config) -> list[Choice]:
    """Settings that the preset made different from the defaults."""
    others = {each.name for each in given(config)}
    return [each for each in every(config) if each.name not in others and each.value != each.otherwise]


def every(config: Config) -> list[Choice]:
    """All settings, with their defaults, but for the environment and the preset."""
    names = [name for name in Config.names() if name not in ("env", "preset", *Config.names(of_call=True))]
    values = asdict(config)
    return [Choice(name, values[name], Config.default(name)) for name in names]


def repeat_command(config: Config, between: str = " ") -> str:
    """`fastsac train` with the flags that give this configuration, without its run directory.

    Args:
        config: the settings.
        between: what stands between two flags, such as the end of a line for shells.
    """
    flags = [["fastsac", "train", "--env", config.env]]
    if config.preset != Config(env=config.env, algo=config.algo).preset:
        flags.append(["--preset", config.preset])
    flags += [_flag(each.name, each.value) for each in given(config)]
    return between.join(map(shlex.join, flags))


def _flag(name: str, value: object) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    return [flag, *_words(value)]


def _words(value: object) -> list[str]:
    if isinstance(value, dict):
        return [json.dumps(value)]
    if isinstance(value, tuple) and not all(isinstance(item, str) for item in value):
        return [",".join(map(str, value))]
    return list(value) if isinstance(value, tuple) else [str(value)]  # None is `none` to flags, whatever its case


def plain_text(value: object) -> str:
    """A setting as people write it: `256, 256`, `on`, `none`."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple | list):
        return ", ".join(map(plain_text, value)) or "none"
    if isinstance(value, dict):
        return json.dumps(value) if value else "none"
    if isinstance(value, int):
        return f"{value:,}"
    return "none" if value is None else str(value)
