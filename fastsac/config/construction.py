"""How a Config is made: the preset of its environment gives what is not given, and help shows every field's text."""

import difflib
import inspect
import textwrap
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, TypeVar

from fastsac.config import fastest
from fastsac.config.algorithms import Algo
from fastsac.config.fields import docs_of
from fastsac.config.kinds import conform, shown
from fastsac.config.other_programs import told
from fastsac.config.presets import find_preset

T = TypeVar("T")


def made_from_preset(cls: type[T]) -> type[T]:
    """A dataclass of settings of which those not given are the preset's; its docstring lists all, with their texts.

    A copy, as of `dataclasses.replace` or from JSON, gives all of them, so that the preset changes nothing in it.
    Construction raises ValueError for a name that is no setting, and for an unknown preset.
    """
    assert is_dataclass(cls)
    plain, names = cls.__init__, [field.name for field in fields(cls)]

    @wraps(plain)
    def init(self: Any, *args: Any, **given: Any) -> None:
        if args:
            raise ValueError(f"settings must be given by name, for example env={args[0]!r}.")
        for name in given:
            if name not in names:
                raise ValueError(f"{shown(name)} {told(name) or f'is no setting{near(name, names)}'}")
        if "env" not in given:
            raise ValueError('env must be given, for example env="Pendulum-v1". `fastsac envs` lists them.')
        env = given["env"]
        if callable(env) or hasattr(env, "action_space"):
            raise ValueError("env must be a name, which fastsac.register_env(env) gives to an environment itself.")
        env, algo = conform("env", env, str), conform("algo", given.get("algo", "auto"), Algo)
        preset = given.get("preset", "auto")
        if preset == fastest.NAME:
            preset, _ = fastest.find_fastest(env, conform("device", given.get("device", "auto"), str))
        preset, values = find_preset(env, preset, algo)
        plain(self, **{**values, **given, "preset": preset})

    cls.__init__ = init  # type: ignore[method-assign]
    cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\n{attributes(cls)}"
    return cls


def near(name: str, names: list[str]) -> str:
    """`; did you mean A?` for a misspelt name, or where to find all names."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else ". help(fastsac.Config) lists all."


def attributes(cls: type) -> str:
    """The part of a docstring with the text of each field of a dataclass."""
    wrap = textwrap.TextWrapper(112, "    ", "        ", break_on_hyphens=False, break_long_words=False)
    return "\n".join(["Attributes:", *(wrap.fill(f"{name}: {text}") for name, text in docs_of(cls).items())])
