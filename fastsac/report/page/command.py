"""The command that repeats a run, made of its settings, and which of them were chosen and by whom."""

import json
import shlex
from dataclasses import asdict, dataclass

from fastsac.config.settings import Config

PLACES = ("run_dir", "resume", "wait_for_lock")  # of one call alone; the next run goes elsewhere


@dataclass(frozen=True)
class Choices:
    """Settings by who chose them, by name; the rest has the defaults."""

    given: dict[str, object]  # what differs from preset and defaults
    of_preset: dict[str, object]  # what the preset made different from the defaults, where nothing else was given


def choices(config: Config) -> Choices:
    """Who chose the settings of a run; its algorithm counts as given."""
    values = asdict(config)
    plain = asdict(Config(env=config.env, preset="none"))
    usual = {**asdict(Config(env=config.env, preset=config.preset, algo=config.algo)), "algo": plain["algo"]}
    names = [name for name in values if name not in ("env", "preset", *PLACES)]
    given = {name: values[name] for name in names if values[name] != usual[name]}
    kept = [name for name in names if name not in given and values[name] != plain[name]]
    return Choices(given, {name: values[name] for name in kept})


def repeat_command(config: Config) -> str:
    """`fastsac train` with the flags that give this configuration, without its run directory."""
    words = ["fastsac", "train", "--env", config.env]
    if config.preset != Config(env=config.env, algo=config.algo).preset:
        words += ["--preset", config.preset]
    for name, value in choices(config).given.items():
        words += _flag(name, value)
    return shlex.join(words)


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
    if isinstance(value, tuple):
        return ", ".join(map(plain_text, value)) or "none"
    if isinstance(value, dict):
        return json.dumps(value) if value else "none"
    if isinstance(value, int):
        return f"{value:,}"
    return "none" if value is None else str(value)
