"""A wall-power meter that a Prometheus server scrapes: `prometheus:http://localhost:9090?query=plug_power_watts`.

A query that is a plain selector is asked for as a range vector (`query[60s]`), which gives the raw samples
with the times at which they were scraped. Any other expression (`sum(node_hwmon_power_average_watt)`) is
evaluated on a grid (`query_range`), where each point repeats what was last scraped; so it needs `step=`, the
slowest scrape interval of what it reads, and no edge is known better than that. The result must be one series
and must be the whole machine. Prometheus asks every 15 s to 60 s unless it is told otherwise, and a window must
be three such periods long at the least: set `scrape_interval: 1s` for the meter.

Options, as in `prometheus:http://host:9090?query=sum(psu_watts)&step=5s&accuracy=2%`; write `&` as %26:

    query=          the selector or expression, of watts unless `unit=` says otherwise
    unit=J          W, mW or kW; or J, Wh or kWh for a running sum such as `…_joules_total`
    step=5s         for expressions: the scrape interval
    clock=0.5s      how far the scraped times may be off, beside the difference to the server's clock
    accuracy=1%     the meter's stated error; widens the bounds
    refresh=1s      the meter's own period; without it a repeated value counts as no new sample
    wait=5s         how long a window waits for the samples behind its end
"""

from __future__ import annotations

import math
import re
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec

from harness.errors import UsageError
from harness.meters.aligned import COMMON_OPTIONS, AlignedMeter, duration_s, opened, parsed, provenance, scale, setting
from harness.meters.integration import DOMAIN, Trust
from harness.meters.plugins.prometheus_api import Refusal, answered, decoded
from harness.meters.series import Kind, Recording, Series
from harness.records import Frozen, Missing

OPTIONS = ("query", "step", *COMMON_OPTIONS)

SKEW_S = 0.5
"""The server's clock may differ from ours by this much (or by `clock=`); less than that widens the bounds."""
HISTORY_S = 300.0
"""What is asked for from before a window, to find the period."""

_RANGE = re.compile(r"\[\s*((?:\d+(?:ms|[smhdwy]))+)\s*[\]:]")
_SHIFTED = re.compile(r"\boffset\b|@")
_RANGE_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_RANGE_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
_ENERGY_NAME = re.compile(r"_(joules|kwh|wh|watt_?hours)(_total)?$|_total$")
_POWER_NAME = re.compile(r"_(milli|kilo)?watts?$")


class ResultType(msgspec.Struct, frozen=True):
    """What kind of result the data holds."""

    resultType: str  # noqa: N815 -- the name on the wire


class One(msgspec.Struct, frozen=True):
    """One series: its labels and its samples (unix seconds, value as text)."""

    metric: dict[str, str]
    values: tuple[tuple[float, str], ...] = ()
    histograms: tuple[Any, ...] = ()


class Matrix(msgspec.Struct, frozen=True):
    """The result of a range."""

    result: tuple[One, ...]


class Scalar(msgspec.Struct, frozen=True):
    """The result of `time()`: the moment of evaluation, and the same as text."""

    result: tuple[float, str]


class Asked(Frozen, frozen=True, kw_only=True):
    """What is asked of which server; `step_s` is None where raw samples are to be had."""

    url: str
    query: str
    unit: str
    kind: Kind
    scale: float
    step_s: float | None


class PrometheusSource:
    """One query on one server. Open with `open_meter`."""

    def __init__(self, asked: Asked, trust: Trust) -> None:
        self.provenance = provenance(asked.kind)
        how = "raw samples" if asked.step_s is None else f"evaluated every {asked.step_s:g} s"
        self.words = f"{asked.url}: {asked.query} in {asked.unit}, {how}"
        self.late_s = asked.step_s or 0.0
        self._asked = asked
        self._trust = trust

    def fetch(self, begin_unix_s: float) -> tuple[Series, Trust] | Missing:
        """Ask for the samples from some before `begin_unix_s` to now, and compare the clocks."""
        skew_s = clock_skew_s(self._asked.url)
        if isinstance(skew_s, Refusal):
            return Missing(domain=DOMAIN, reason=skew_s.reason)
        if skew_s > max(SKEW_S, self._trust.clock_s):
            reason = (
                f"the clock of {self._asked.url} and ours are up to {skew_s:.3f} s apart; set both by NTP, or state it "
                "with `clock=`"
            )
            return Missing(domain=DOMAIN, reason=reason)
        one = samples(self._asked, begin_unix_s)
        if isinstance(one, Refusal):
            return Missing(domain=DOMAIN, reason=one.reason)
        recording = Recording(self._asked.kind)
        where = f"{self._asked.query} on {self._asked.url}"
        for unix_s, text in one.values:
            recording.add(unix_s, float(text) * self._asked.scale, f"{where} at {unix_s:.3f}")
        if recording.refused is not None:
            return Missing(domain=DOMAIN, reason=recording.refused)
        trust = msgspec.structs.replace(self._trust, clock_s=self._trust.clock_s + skew_s)
        return recording.part(begin_unix_s), trust

    def close(self) -> None:
        """Hold nothing, release nothing: every question is a connection of its own."""


def open_meter(argument: str, device: str | None = None) -> tuple[AlignedMeter | None, tuple[Missing, ...]]:
    """Open the query on the server that `argument` names, with its options (see the top of this file).

    Raises: UsageError: an option is unknown or makes no sense, the address is not http(s), or the query does
        not fit its unit.
    """
    del device  # the wall feeds every device
    url, options = parsed("prometheus", argument, OPTIONS)
    chosen = setting("prometheus", options)
    step_s = duration_s("prometheus", options, "step")
    unit = options.get("unit", "W")
    kind, factor = scale("prometheus", unit)
    query = options.get("query", "").strip()
    if not query:
        raise UsageError("prometheus: no query; write prometheus:http://host:9090?query=plug_power_watts")
    raw = Asked(url=_address(url), query=query, unit=unit, kind=kind, scale=factor, step_s=None)
    first = samples(raw, time.time())
    if isinstance(first, Refusal):
        if first.kind != "bad_data":
            return None, (Missing(domain=DOMAIN, reason=first.reason),)
        # No selector, so there is no range of it: an expression, which the server evaluates on a grid.
        asked = msgspec.structs.replace(raw, step_s=_grid_s(raw, step_s, first))
        return opened("prometheus", PrometheusSource(asked, chosen.trust), chosen)
    _refuse_wrong_unit(raw, first.metric.get("__name__", ""))
    return opened("prometheus", PrometheusSource(raw, chosen.trust), chosen)


def samples(asked: Asked, begin_unix_s: float) -> One | Refusal:
    """Return the one series from `HISTORY_S` before `begin_unix_s` to now, or why the server gives none."""
    now_s, from_s = time.time(), begin_unix_s - HISTORY_S
    if asked.step_s is None:
        query = f"{asked.query}[{math.ceil(now_s - from_s)}s]"
        data = answered(asked.url, "query", {"query": query, "time": f"{now_s:.3f}"})
    else:
        # A point younger than one step may be evaluated before the scrape it stands for has arrived.
        start_s = math.floor(from_s / asked.step_s) * asked.step_s
        spread = {"start": f"{start_s:.3f}", "end": f"{now_s - asked.step_s:.3f}", "step": f"{asked.step_s:.3f}"}
        data = answered(asked.url, "query_range", {"query": asked.query, **spread})
    if isinstance(data, Refusal):
        return data
    kind = decoded(data, ResultType)
    if isinstance(kind, ResultType) and kind.resultType != "matrix":
        return Refusal(f"{asked.query!r} gives a {kind.resultType}, not a range of samples", "bad_data")
    matrix = decoded(data, Matrix)
    return matrix if isinstance(matrix, Refusal) else _only(asked, matrix)


def clock_skew_s(url: str) -> float | Refusal:
    """Return how far the server's clock and ours may be apart, in seconds: the difference and half the journey."""
    before_s, start_s = time.time(), time.monotonic()
    data = answered(url, "query", {"query": "time()"})
    journey_s = time.monotonic() - start_s
    scalar = data if isinstance(data, Refusal) else decoded(data, Scalar)
    if isinstance(scalar, Refusal):
        return scalar
    return abs(float(scalar.result[1]) - (before_s + journey_s / 2)) + journey_s / 2


def _only(asked: Asked, matrix: Matrix) -> One | Refusal:
    """Return the one series of a result; several are never added up behind the user's back."""
    if not matrix.result:
        return Refusal(
            f"{asked.query!r} gives no series on {asked.url}: check its name and labels, and that it is scraped"
        )
    if len(matrix.result) > 1:
        shown = "; ".join(_labels(one) for one in matrix.result[:5])
        return Refusal(
            f"{asked.query!r} gives {len(matrix.result)} series ({shown}): name one by its labels, or add them up with "
            f"sum({asked.query}) if together they are the whole machine"
        )
    (one,) = matrix.result
    if one.histograms:
        return Refusal(f"{asked.query!r} is a histogram, not a power or a sum of energy")
    try:
        for _, text in one.values:
            float(text)
    except ValueError:
        return Refusal(f"{asked.query!r} holds {text!r}, which is no number")
    return one


def _labels(one: One) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(one.metric.items()))


def _grid_s(asked: Asked, step_s: float | None, refusal: Refusal) -> float:
    """Return the step of an expression, refused where it would hide how old the values are."""
    if step_s is None:
        raise UsageError(
            f"prometheus: {asked.query!r} is no plain selector ({refusal.reason}); if it is an expression write step=, "
            "the slowest scrape interval of what it reads"
        )
    if _SHIFTED.search(asked.query):
        raise UsageError(
            f"prometheus: {asked.query!r} asks for another time (offset, @) than the window's; leave it out"
        )
    for match in _RANGE.finditer(asked.query):
        range_s = sum(int(number) * _RANGE_S[unit] for number, unit in _RANGE_PART.findall(match[1]))
        if range_s > step_s:
            raise UsageError(
                f"prometheus: {asked.query!r} looks {range_s:g} s back, so no edge is known better than that; write "
                f"step={range_s:g}s or more, or query the running sum itself with unit=J"
            )
    return step_s


def _refuse_wrong_unit(asked: Asked, name: str) -> None:
    """Refuse a metric whose name says that it is the other kind of quantity."""
    wrong = _ENERGY_NAME if asked.kind is Kind.POWER else _POWER_NAME
    if wrong.search(name):
        instead = "J (or Wh, kWh)" if asked.kind is Kind.POWER else "W (or mW, kW)"
        raise UsageError(f"prometheus: by its name {name!r} is not in {asked.unit}; write unit={instead}")


def _address(url: str) -> str:
    """Return the address without a slash at its end.

    Raises: UsageError: it is not http(s), has no host, or holds credentials, which would stand in every record.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.fragment:
        raise UsageError(f"prometheus: {url!r} is no address; write for example http://localhost:9090")
    if "@" in parts.netloc:
        raise UsageError("prometheus: no credentials in the address, they would stand in every record")
    return url.rstrip("/")
