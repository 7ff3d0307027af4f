"""The command that repeats a run, made of its settings."""

import json
import shlex
from dataclasses import asdict

from fastsac.config.settings import Config

PLACES = ("run_dir", "resume", "wait_for_lock")  # of one call alone; the next run goes elsewhere


def repeat_command(config: Config) -> str:
    """`fastsac train` with the flags that give this configuration, without its run directory."""
    words = ["fastsac", "train", "--env", config.env]
    if config.preset != Config(env=config.env, algo=config.algo).preset:
        words += ["--preset", config.preset]
    for name, value in given(config).items():
        words += _flag(name, value)
    return shlex.join(words)


def given(config: Config) -> dict[str, object]:
    """The settings that are neither the preset's nor the defaults; the algorithm counts as one unless it is auto."""
    usual = asdict(Config(env=config.env, preset=config.preset, algo=config.algo))
    usual["algo"] = Config.default("algo")
    values = asdict(config)
    return {name: value for name, value in values.items() if name not in PLACES and value != usual[name]}


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
