"""Finds and loads meter plug-ins: functions under the entry-point group `joulebench.meters`.

A distribution offers a meter by an entry point whose value is a function:
`mine = "my_package.my_meter:open_meter"`. Nothing is imported before a suite names the meter. A name
belongs to one distribution: one that is built in, or that two distributions claim, is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from harness.errors import UsageError
from harness.meters.seam import BilledMeter
from harness.records import Missing

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "joulebench.meters"

BUILT_IN = ("auto", "rapl", "attributed", "nvml", "modelled", "fake")
"""Names that no plug-in may take (`opening.NAMES`)."""

OpenMeter = Callable[[str, str | None], tuple[BilledMeter | None, tuple[Missing, ...]]]
"""`open_meter(argument, device)`: the meter, or None; and what is missing, with reasons.

`argument` is what follows the colon in `meters: [wall:power.csv]` ('' if nothing), `device` the device
of the case (None where it is not known). An argument that makes no sense raises UsageError.
"""

_BROKEN = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, OSError)
_BROKEN_TOO = (RuntimeError, SyntaxError, TypeError, ValueError)
"""What importing a stranger's module may raise; together with the above all but the exits."""


def names() -> tuple[str, ...]:
    """Return the names of the installed meter plug-ins, sorted; none is imported."""
    return tuple(sorted({entry.name for entry in _entries()} - set(BUILT_IN)))


def load(name: str) -> OpenMeter:
    """Return the `open_meter` function of the plug-in.

    Raises: UsageError: no such plug-in (the nearest and all are named), its name is taken or claimed
        twice, or it cannot be imported.
    """
    claims = [entry for entry in _entries() if entry.name == name]
    owners = ", ".join(sorted(_distribution(entry) for entry in claims))
    if claims and name in BUILT_IN:
        raise UsageError(
            f"the meter {name!r} is built into joulebench, and a plug-in of {owners} claims the same name; "
            f"uninstall that plug-in or rename its entry point in group {ENTRY_POINT_GROUP}"
        )
    if not claims:
        raise UsageError(_unknown(name))
    if len(claims) > 1:
        raise UsageError(f"the meter {name!r} is claimed by several distributions: {owners}; uninstall all but one")
    return _function(claims[0])


def _entries() -> list[EntryPoint]:
    from importlib import metadata

    return list(metadata.entry_points(group=ENTRY_POINT_GROUP))


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unknown distribution"


def _unknown(name: str) -> str:
    import difflib

    known = names()
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"there is no meter plug-in {name!r}{hint} installed plug-ins: {', '.join(known) or 'none'}"


def _function(entry: EntryPoint) -> OpenMeter:
    where = f"the meter plug-in {entry.name!r} ({entry.value}) of {_distribution(entry)}"
    try:
        function = entry.load()
    except (*_BROKEN, *_BROKEN_TOO) as error:
        raise UsageError(
            f"{where} cannot be imported: {type(error).__name__}: {error}; repair or uninstall that distribution"
        ) from error
    if not callable(function):
        raise UsageError(f"{where} is a {type(function).__name__}, not a function open_meter(argument, device)")
    return cast("OpenMeter", function)
