"""Whether a configuration is valid.  Errors are one line: the setting, the rule, the value."""

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

from fastsac.config import seeds
from fastsac.config.durations import parse_duration
from fastsac.config.fields import check_range
from fastsac.config.kinds import as_kind, plain_json, shown
from fastsac.config.plugins import GROUPS, place_of

if TYPE_CHECKING:
    from fastsac.config.settings import Config


def check(config: "Config") -> None:
    """Check each value, make it plain so that JSON gives back an equal one, and check the values together."""
    for field in fields(config):
        try:
            value = as_kind(getattr(config, field.name), field.type)
            value = plain_json(value) if isinstance(value, dict) else value
            check_range(value, field.metadata)
        except ValueError as error:
            raise ValueError(f"{field.name} {error}.") from None
        object.__setattr__(config, field.name, value)
    for holds, message in _rules(config):
        if not holds:
            raise ValueError(message)
    for setting in config.settings if config.sweep else ():
        config.replace(sweep=(), **setting)  # checks its values


def _rules(c: "Config") -> Iterator[tuple[bool, str]]:
    """What must hold of values whose types and ranges are right, and the message if it does not."""
    yield from seeds.rules(c.seed, c.seeds)
    yield from _rules_of_networks(c)
    for name in ("adam_beta1", "adam_beta2"):
        yield getattr(c, name) < 1, f"{name} must be below 1, got {getattr(c, name)}. Lower it."
    yield (
        c.target_sigma is None or c.target_entropy is None,
        "target_entropy and target_sigma both set the target entropy. Give one, and none for the preset's.",
    )
    yield (
        not c.reward_norm or c.value_max > 0,
        f"value_max must be above 0 with reward_norm, which scales returns down to it, got {c.value_max}. Raise it.",
    )
    yield from _rules_of_replay(c)
    yield (
        c.max_episode_steps is None or "max_episode_steps" not in c.env_kwargs,
        "max_episode_steps stands in env_kwargs too. Give it once.",
    )
    yield (
        all(c.info_metrics) and len({*c.info_metrics}) == len(c.info_metrics),
        f"info_metrics must be different names, got {shown(c.info_metrics)}.",
    )
    yield (
        re.fullmatch(r"auto|cpu|cuda(:(0|[1-9][0-9]{0,2}))?", c.device) is not None,
        f"device must be auto, cpu, cuda or cuda:N, got {shown(c.device)}.",
    )
    if c.max_wall_time is not None:
        try:
            parse_duration(c.max_wall_time)
        except ValueError as error:
            yield False, f"max_wall_time {error}"


def _rules_of_replay(c: "Config") -> Iterator[tuple[bool, str]]:
    """Those of `_rules` that are of the replay, and of what batches are drawn from."""
    yield (
        c.batch_size <= c.learning_starts,
        f"batch_size must be at most learning_starts ({c.learning_starts}), which fills the replay before the first "
        f"update, got {c.batch_size}. Lower batch_size or raise learning_starts.",
    )
    yield (
        c.prefill_share == 0 or c.prefill is not None,
        f"prefill_share must be 0 without a prefill to draw from, got {c.prefill_share}. Give prefill too.",
    )
    yield (
        c.prefill_share == 0 or 0 < c.num_demonstrated < c.batch_size,
        f"prefill_share must leave at least one of {c.batch_size} rows of a batch to each side, got {c.prefill_share}.",
    )
    yield (
        c.learning_starts <= c.buffer_size,
        f"buffer_size must be at least learning_starts ({c.learning_starts}), got {c.buffer_size}.",
    )
    yield (
        c.buffer_size // c.num_envs > c.n_step,
        f"buffer_size must hold more than n_step = {c.n_step} transitions for each of num_envs = {c.num_envs} "
        f"environments, got {c.buffer_size}. Raise buffer_size or lower num_envs.",
    )


def _rules_of_networks(c: "Config") -> Iterator[tuple[bool, str]]:
    """Those of `_rules` that are of sizes and ranges of networks."""
    for name in GROUPS:
        try:
            place_of(name, getattr(c, name))
        except ValueError as error:
            yield False, str(error)
    for name in ("hidden_dims", "actor_hidden_dims", "critic_hidden_dims"):
        yield getattr(c, name) != (), f"{name} must be one or more widths of at least 1, got ()."
    yield (
        c.log_std_min < c.log_std_max,
        f"log_std_min must be below log_std_max ({c.log_std_max}), got {c.log_std_min}. Lower it.",
    )
    yield (
        c.value_min < c.value_max,
        f"value_min must be below value_max ({c.value_max}), got {c.value_min}. Lower it.",
    )
    for name, widths in (("actor", c.actor_dims), ("critic", c.critic_dims)):
        yield (
            c.network not in ("simba", "flash") or len({*widths}) <= 1,
            f"hidden widths of the {name} must be equal in network {c.network}, whose blocks add up, got {widths}.",
        )
    yield 1 <= len(c.conv_channels) <= 3, f"conv_channels must be one to three widths, got {shown(c.conv_channels)}."
