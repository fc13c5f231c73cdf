"""A meter that logs by itself, aligned to our windows by the time of day: what CSV and Prometheus share.

Such a meter is not read at the edges of a window. `read` notes the time of day, and `energies` fetches the
samples that lie around both edges, waiting (bounded) for those after the end. It measures the whole machine
at the wall, so its joules contain those of every counter inside: they are never added to them
(`contains_everything`).
"""

from __future__ import annotations

import difflib
import math
import threading
import time
from collections.abc import Iterable
from typing import NamedTuple, Protocol
from urllib.parse import unquote

from harness.errors import UsageError
from harness.meters.integration import DOMAIN, Trust, awaited_s, energy_between
from harness.meters.seam import REFRESHES_FOR_1_PERCENT
from harness.meters.series import Kind, Series, no_refresh, refresh_s
from harness.records import Doubt, Energy, Frozen, MeterInfo, Missing, Provenance
from harness.units import parse_duration_s

BOUNDARY = "whole machine at the wall, every process"

STEPPED_S = 0.1
"""The time of day and the monotonic clock may part by this much in a window; more is a clock that was set."""
WAIT_PERIODS = 4
WAIT_AT_LEAST_S = 1.0
WAIT_AT_MOST_S = 10.0
"""Unless `wait=` says otherwise a window waits up to this many periods for its last samples, within these limits."""
LONGEST_WAIT_S = 300.0

COMMON_OPTIONS = ("unit", "clock", "accuracy", "refresh", "wait")
SCALE = {
    "W": (Kind.POWER, 1.0),
    "mW": (Kind.POWER, 1e-3),
    "kW": (Kind.POWER, 1e3),
    "J": (Kind.ENERGY, 1.0),
    "Wh": (Kind.ENERGY, 3600.0),
    "kWh": (Kind.ENERGY, 3.6e6),
}
"""Units and what one of them is in watts or joules."""


class Mark(NamedTuple):
    """When a window's edge was, by both clocks."""

    unix_ns: int
    monotonic_ns: int


class Setting(Frozen, frozen=True, kw_only=True):
    """What the options that both meters know say; times in seconds."""

    trust: Trust
    wait_s: float | None = None

    def longest_wait_s(self, refresh_s: float, clock_s: float) -> float:
        """Return how long a window waits for its last samples, in seconds."""
        if self.wait_s is not None:
            return self.wait_s
        return min(WAIT_AT_MOST_S, max(WAIT_AT_LEAST_S, WAIT_PERIODS * refresh_s) + clock_s)


class Source(Protocol):
    """Where the samples come from; `words` say it for the record, `late_s` how long after its time one can be had."""

    provenance: Provenance
    words: str
    late_s: float

    def fetch(self, begin_unix_s: float) -> tuple[Series, Trust] | Missing:
        """Return all samples from some before `begin_unix_s` to the newest, and how far to trust them."""

    def close(self) -> None:
        """Release what is held."""


class AlignedMeter:
    """The wall meter behind the seam of the meters; `refresh_s` is what opening saw, `wait_s` the longest wait."""

    contains_everything = True
    billed = frozenset({DOMAIN})
    doubts: tuple[Doubt, ...] = ()

    def __init__(
        self, name: str, source: Source, *, refresh_s: float, wait_s: float, notes: Iterable[str] = ()
    ) -> None:
        self.name = name
        self._source = source
        self._lock = threading.Lock()
        self._wait_s = wait_s
        self._refresh_s = refresh_s
        self._notes = tuple(notes)

    def read(self) -> Mark:
        """Return the time of day and the monotonic clock; the samples are fetched once the window is over."""
        return Mark(time.time_ns(), time.monotonic_ns())

    def energies(
        self, begin: Mark, end: Mark, *, duration_s: float, cpu_s: float
    ) -> tuple[tuple[Energy, ...], tuple[Missing, ...]]:
        """Return the joules of the machine between two marks, after waiting for the samples behind the end."""
        del duration_s, cpu_s  # the marks' own times are those the samples are aligned to
        result = self._energy(begin, end)
        return ((result,), ()) if isinstance(result, Energy) else ((), (result,))

    def info(self) -> MeterInfo:
        """Return what is read, how often it says something new, and what the user stated of it."""
        return MeterInfo(
            name=self.name,
            domains=(DOMAIN,),
            provenance=self._source.provenance,
            boundary=BOUNDARY,
            refresh_s=self._refresh_s,
            window_for_1_percent_s=REFRESHES_FOR_1_PERCENT * self._refresh_s,
            notes=(*self._notes, f"a window waits up to {self._wait_s:.3g} s for the samples behind its end"),
        )

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _energy(self, begin: Mark, end: Mark) -> Energy | Missing:
        begin_s, end_s = begin.unix_ns / 1e9, end.unix_ns / 1e9
        elapsed_s = (end.monotonic_ns - begin.monotonic_ns) / 1e9
        stepped_s = (end_s - begin_s) - elapsed_s
        if abs(stepped_s) > STEPPED_S:
            reason = f"this host's clock was set by {stepped_s:+.3f} s in the window, so no sample can be aligned to it"
            return Missing(domain=DOMAIN, reason=reason)
        fetched = self._fetched(begin_s, end_s)
        if isinstance(fetched, Missing):
            return fetched
        joules = energy_between(fetched[0], begin_s, end_s, fetched[1])
        if isinstance(joules, Missing):
            return joules
        return Energy(
            domain=DOMAIN,
            energy_j=joules.energy_j,
            low_j=joules.low_j,
            high_j=joules.high_j,
            provenance=self._source.provenance,
            boundary=BOUNDARY,
            meter=self.name,
        )

    def _fetched(self, begin_s: float, end_s: float) -> tuple[Series, Trust] | Missing:
        stop_s = time.monotonic() + self._wait_s
        while True:
            with self._lock:
                fetched = self._source.fetch(begin_s)
            if isinstance(fetched, Missing):
                return fetched
            left_s = stop_s - time.monotonic()
            lacking_s = awaited_s(fetched[0], begin_s, end_s, fetched[1])
            if lacking_s <= 0 or left_s <= 0:
                return fetched
            time.sleep(min(left_s, max(lacking_s, self._refresh_s / 4, 0.01)))


def provenance(kind: Kind) -> Provenance:
    """Return how joules of this kind of series are known."""
    return Provenance.INTEGRATED_POWER if kind is Kind.POWER else Provenance.COUNTER


def opened(name: str, source: Source, chosen: Setting) -> tuple[AlignedMeter | None, tuple[Missing, ...]]:
    """Return the meter over a source that is alive; closes the source where it is not, and says why."""
    fetched = source.fetch(time.time())
    reason = fetched.reason if isinstance(fetched, Missing) else _lifeless(*fetched, chosen, source.late_s)
    if isinstance(fetched, Missing) or reason is not None:
        source.close()
        return None, (Missing(domain=DOMAIN, reason=f"{source.words}: {reason}"),)
    series, trust = fetched
    found_s = refresh_s(series, trust.refresh_s) or 0.0
    refresh = "measured" if trust.refresh_s is None else f"{trust.refresh_s:g} s or longer as stated"
    accuracy = f"±{trust.accuracy * 100:g} % as stated" if trust.accuracy else "not stated, not in the bounds"
    notes = (source.words, f"clocks within {trust.clock_s:.3g} s, refresh {refresh}, accuracy {accuracy}")
    wait_s = chosen.longest_wait_s(found_s, trust.clock_s)
    return AlignedMeter(name, source, refresh_s=found_s, wait_s=wait_s, notes=notes), ()


def _lifeless(series: Series, trust: Trust, chosen: Setting, late_s: float) -> str | None:
    """Return why the samples so far give no hope of a window, or None."""
    if not series.unix_s:
        return series.faults[-1].reason if series.faults else "no sample yet; start the logger before the measurement"
    found_s = refresh_s(series, trust.refresh_s)
    if found_s is None:
        return no_refresh(series)
    wait_s = chosen.longest_wait_s(found_s, trust.clock_s)
    age_s = time.time() - series.unix_s[-1]
    if age_s > wait_s + found_s + trust.clock_s + late_s:
        return (
            f"the newest sample is {age_s:.1f} s old and a window waits {wait_s:.3g} s: the logger has stopped or "
            "writes late, or its clock or zone is wrong; start it, or wait longer with `wait=`"
        )
    needed_s = 2 * found_s + trust.clock_s + late_s
    if wait_s < needed_s:
        return (
            f"it says something new every {found_s:.3g} s and a window waits {wait_s:.3g} s for the samples behind its "
            f"end, which take up to {needed_s:.3g} s; write wait={math.ceil(needed_s) + 1}s or more"
        )
    return None


def parsed(meter: str, argument: str, known: Iterable[str]) -> tuple[str, dict[str, str]]:
    """Return the target and the options of `target?name=value&name=value`.

    Percent-escapes are decoded; a `+` stays a `+`, as queries hold them.

    Raises: UsageError: no target, an option that is unknown (the nearest is named), empty or given twice.
    """
    target, _, query = argument.partition("?")
    options: dict[str, str] = {}
    known = tuple(known)
    for pair in query.split("&") if query else ():
        name, equals, value = pair.partition("=")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise UsageError(f"{meter}:{argument}: unknown option {name!r}{hint} Valid options: {', '.join(known)}")
        if not equals or not value or name in options:
            what = "is given twice" if name in options else f"has no value; write {name}=…"
            raise UsageError(f"{meter}:{argument}: option {name!r} {what}")
        options[name] = unquote(value)
    if not target:
        raise UsageError(f"the meter {meter!r} needs an argument: what to read its samples from")
    return target, options


def setting(meter: str, options: dict[str, str]) -> Setting:
    """Return what `clock`, `accuracy`, `refresh` and `wait` say.

    Raises: UsageError: one of them is no duration, no percentage, or out of range.
    """
    wait_s = duration_s(meter, options, "wait")
    if wait_s is not None and wait_s > LONGEST_WAIT_S:
        raise UsageError(f"{meter}: wait={options['wait']}: at most {LONGEST_WAIT_S:.0f} s")
    return Setting(
        trust=Trust(
            clock_s=duration_s(meter, options, "clock") or 0.0,
            accuracy=_share(meter, options.get("accuracy", "0%")),
            refresh_s=duration_s(meter, options, "refresh"),
        ),
        wait_s=wait_s,
    )


def duration_s(meter: str, options: dict[str, str], name: str) -> float | None:
    """Return an option in seconds, None where it is not given.

    Raises: UsageError: it is no duration.
    """
    if name not in options:
        return None
    try:
        return parse_duration_s(options[name])
    except UsageError as error:
        raise UsageError(f"{meter}: {name}={options[name]}: {error}") from None


def scale(meter: str, unit: str) -> tuple[Kind, float]:
    """Return what a unit measures, and one of it in watts or joules.

    Raises: UsageError: the unit is not known.
    """
    if unit not in SCALE:
        near = difflib.get_close_matches(unit.casefold(), {name.casefold(): name for name in SCALE}, n=1)
        hint = f"; did you mean {next(name for name in SCALE if name.casefold() == near[0])!r}?" if near else "."
        raise UsageError(f"{meter}: unknown unit {unit!r}{hint} Valid units: {', '.join(SCALE)}")
    return SCALE[unit]


def _share(meter: str, text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not text.endswith("%") or not 0 <= share < 0.5:
        raise UsageError(f"{meter}: accuracy={text} is not a percentage below 50 %; write for example accuracy=1%")
    return share
