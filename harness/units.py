"""Conversions at the edges. Inside, everything is SI: joules, watts, seconds, bytes."""

from __future__ import annotations

import re

from harness.errors import UsageError

JOULES_PER_KWH = 3.6e6
"""1 kWh = 3.6 MJ, by definition of the watt-hour."""

_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)?\s*$")
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, None: 1.0}


def j_from_uj(energy_uj: int) -> float:
    """Return joules from the microjoules of a powercap counter."""
    return energy_uj / 1e6


def j_from_mj(energy_mj: int) -> float:
    """Return joules from the millijoules of an NVML counter."""
    return energy_mj / 1e3


def kwh_from_j(energy_j: float) -> float:
    """Return kilowatt-hours from joules."""
    return energy_j / JOULES_PER_KWH


def s_from_ns(duration_ns: int) -> float:
    """Return seconds from nanoseconds."""
    return duration_ns / 1e9


def parse_duration_s(text: str | float) -> float:
    """Return seconds from `90`, `"90s"`, `"5m"`, `"1.5h"` or `"200ms"`.

    Raises: UsageError: the text is not a positive duration.
    """
    match = _DURATION.match(str(text))
    if match is None:
        raise UsageError(f"{text!r} is not a duration; write a number with ms, s, m or h, for example 90s or 5m")
    duration_s = float(match[1]) * _SECONDS[match[2]]
    if duration_s <= 0:
        raise UsageError(f"a duration must be longer than zero, not {text!r}")
    return duration_s
