"""The tables about the meters and about what the devices said of themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from harness.records import DeviceState, MeterInfo, SelfTest, WindowKind
from harness.report import formats as f
from harness.report.gather import Gathered, faulty
from harness.report.model import Cell, Column, Table

_WORKING = (WindowKind.BUILD, WindowKind.RUN, WindowKind.PREFILL, WindowKind.TRAIN)


def meter_table(run: Gathered) -> Table | None:
    """Return how each meter knows its joules, what reading it costs and what its self-test showed."""
    if not run.meters:
        return None
    rows = tuple(
        (
            Cell(text=meter.name, detail=", ".join(meter.domains)),
            Cell(text=meter.provenance.value, detail=_billed(meter, run)),
            Cell(text=meter.boundary, detail=meter.coefficients or ""),
            Cell(text=refresh(meter.refresh_s), detail=_window(meter.window_for_1_percent_s)),
            Cell(text=f.si(meter.read_cost_s, "s") if meter.read_cost_s is not None else f.NOTHING),
            Cell(text=verdict(meter), detail=shown(meter.self_test) if meter.self_test else ""),
            Cell(text="; ".join(meter.notes) or f.NOTHING),
        )
        for meter in run.meters
    )
    columns = (
        Column(name="meter", numeric=False),
        Column(name="provenance", numeric=False),
        Column(name="boundary and coefficients", numeric=False),
        Column(name="refresh"),
        Column(name="cost of a read"),
        Column(name="self-test", numeric=False),
        Column(name="notes", numeric=False),
    )
    return Table(key="meters", title="Meters", columns=columns, rows=rows)


def _billed(meter: MeterInfo, run: Gathered) -> str:
    domains = run.billed.get(meter.name)
    if domains == meter.domains:
        return "billed"
    return f"billed: {', '.join(domains)}" if domains else "not billed"


def refresh(refresh_s: float | None) -> str:
    """Return a refresh period for people."""
    if refresh_s is None:
        return f.NOTHING
    return "on demand" if refresh_s == 0 else f.si(refresh_s, "s")


def _window(window_s: float | None) -> str:
    return f"1 % from {f.si(window_s, 's')} on" if window_s else ""


def verdict(meter: MeterInfo) -> str:
    """Return `passed`, `FAILED` or `not tested`."""
    if meter.self_test is None:
        return "not tested"
    return "FAILED" if faulty(meter) else "passed"


def shown(test: SelfTest) -> str:
    """Return what a self-test showed: monotonic, plausible, watts at idle with their noise, faults, when."""
    parts = [
        "monotonic" if test.monotonic else "NOT monotonic",
        "plausible" if test.plausible else "NOT plausible",
        *(f"idle {each.domain} {f.digits(each.mean_w)} ± {f.digits(each.sd_w, 2)} W" for each in test.idle),
        *test.faults,
        f"{test.windows} windows of {f.si(test.window_s, 's')}, {test.tested_utc}",
    ]
    return "; ".join(parts)


def device_table(run: Gathered) -> Table | None:
    """Return what each device said of itself before and after the windows; None where none says anything."""
    states: dict[str, list[DeviceState]] = {}
    windows: Counter[str] = Counter()
    for record in run.records:
        for window in record.windows:
            if window.kind in _WORKING:
                for state in window.measured.states:
                    states.setdefault(state.domain, []).append(state)
                windows.update({state.domain for state in window.measured.states})
    if not states:
        return None
    return Table(
        key="devices",
        title="Devices before and after the windows",
        columns=(
            Column(name="device", numeric=False),
            Column(name="temperature before"),
            Column(name="temperature after"),
            Column(name="core clock after"),
            Column(name="power limit", extra=True),
            Column(name="held down by", numeric=False),
        ),
        rows=tuple(_device_row(domain, states[domain], windows[domain]) for domain in sorted(states)),
    )


def _device_row(domain: str, states: Sequence[DeviceState], windows: int) -> tuple[Cell, ...]:
    before, after = ([state for state in states if state.edge == edge] for edge in ("begin", "end"))
    return (
        Cell(text=domain, detail=f"{windows} window{'' if windows == 1 else 's'}"),
        Cell(text=_range(before, lambda state: state.temperature_c, lambda low, high: _plain(low, high, "°C"))),
        Cell(text=_range(after, lambda state: state.temperature_c, lambda low, high: _plain(low, high, "°C"))),
        Cell(text=_range(after, lambda state: state.core_clock_hz, _si("Hz"))),
        Cell(text=_range(states, lambda state: state.power_limit_w, lambda low, high: _plain(low, high, "W"))),
        Cell(text=_held(states)),
    )


def _range(
    states: Iterable[DeviceState],
    value: Callable[[DeviceState], float | None],
    show: Callable[[float, float], str],
) -> str:
    known = [found for found in map(value, states) if found is not None]
    return show(min(known), max(known)) if known else f.NOTHING


def _plain(low: float, high: float, unit: str) -> str:
    return f"{low:g} {unit}" if low == high else f"{low:g}–{high:g} {unit}"


def _si(unit: str) -> Callable[[float, float], str]:
    return lambda low, high: f.si(low, unit) if low == high else f.si_range((low, high), unit)


def _held(states: Sequence[DeviceState]) -> str:
    """Return the reasons for which clocks were held down, with the share of readings that gave each."""
    told = [state.throttled for state in states if state.throttled is not None]
    if not told:
        return "does not say"
    reasons = Counter(reason for held in told for reason in set(held))
    return ", ".join(f"{reason} ({n / len(told):.0%} of readings)" for reason, n in reasons.most_common()) or "nothing"
