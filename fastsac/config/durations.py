"""Spans of time as people write them."""

import re

from fastsac.config.kinds import shown

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WITH_UNITS = re.compile("".join(rf"(?:([0-9]{{1,9}}){unit})?" for unit in _UNITS))
_CLOCK = re.compile(r"(?:([0-9]{1,9})-)?([0-9]{1,9}):([0-5][0-9]):([0-5][0-9])")


def parse_duration(text: str) -> int:
    """Seconds of `90s`, `30m`, `3h55m`, `2d`, `HH:MM:SS` or `D-HH:MM:SS`; raises ValueError for others and for none."""
    match = _WITH_UNITS.fullmatch(text) or _CLOCK.fullmatch(text)
    seconds = match and sum(int(n or 0) * s for n, s in zip(match.groups(), _UNITS.values(), strict=True))
    if not seconds:
        raise ValueError(f"must be a time above 0 such as 90s, 30m, 3h55m, 2d or 03:55:00, got {shown(text)}.")
    return seconds
