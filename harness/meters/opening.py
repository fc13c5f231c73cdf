"""From meter names to open meters: what is offered, what is billed, what is missing and why."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import UsageError
from harness.host import read_cpu
from harness.meters.fake import FakeMeter
from harness.meters.modelled import ModelledMeter
from harness.meters.nvml import open_nvml
from harness.meters.rapl import open_rapl
from harness.meters.seam import BilledMeter, Survey
from harness.meters.selftest import costed, self_test
from harness.meters.window import MeterWindow
from harness.records import Missing

NAMES = ("auto", "rapl", "nvml", "modelled", "fake")
"""What `meters:` in a suite may say; `fake` may carry watts, as in `fake:2.5`."""


def open_meters(names: Sequence[str] = ("auto",), device: str | None = None) -> MeterWindow:
    """Open the meters named and put them behind one begin/end pair.

    `auto` opens everything the host offers and bills each joule once: the package counter (and DRAM)
    where it works, the modelled process share otherwise; GPUs beside either. A case whose `device` is
    the CPU is not billed for GPUs that idle beside it, unless `nvml` is named.

    Raises: UsageError: a name is unknown, a meter named explicitly cannot be used here, or fake joules
        would be mixed with real ones.
    """
    meters, missing = _open(names, device)
    return MeterWindow(meters, missing, infos=[costed(meter) for meter in meters])


def survey(names: Sequence[str] = ("auto",)) -> Survey:
    """Open and self-test the meters, close them again, and return what was found.

    Raises: UsageError: as for `open_meters`.
    """
    window = open_meters(names)
    try:
        return Survey(meters=tuple(self_test(meter) for meter in window.meters), missing=window.missing())
    finally:
        window.close()


def _open(names: Sequence[str], device: str | None) -> tuple[list[BilledMeter], list[Missing]]:
    wanted = _checked(names)
    if wanted == {"fake"}:
        return [_fake(name) for name in names], []
    auto = "auto" in wanted
    meters: list[BilledMeter] = []
    missing: list[Missing] = []
    package_counted = False
    if auto or "rapl" in wanted:
        rapl, gaps = open_rapl()
        missing += gaps
        package_counted = rapl is not None
        _take(rapl, gaps, meters, required="rapl" in wanted)
    if auto or "modelled" in wanted:
        meters.append(ModelledMeter(read_cpu().microarchitecture, billed=not package_counted))
    if "nvml" in wanted or (auto and device != "cpu"):
        nvml, gaps = open_nvml()
        missing += gaps
        _take(nvml, gaps, meters, required="nvml" in wanted)
    return meters, missing


def _take(meter: BilledMeter | None, gaps: Sequence[Missing], meters: list[BilledMeter], *, required: bool) -> None:
    if meter is not None:
        meters.append(meter)
    elif required:
        for opened in meters:
            opened.close()
        name = "nvml" if gaps and gaps[0].domain.startswith("gpu") else "rapl"
        reasons = "; ".join(gap.reason for gap in gaps)
        raise UsageError(f"meter {name!r} cannot be used on this host: {reasons}. Use `auto` to take what there is")


def _checked(names: Sequence[str]) -> set[str]:
    """Return the names without their arguments."""
    if not names:
        raise UsageError(f"no meter is named; valid meters: {', '.join(NAMES)}")
    wanted = {name.split(":", 1)[0] for name in names}
    for name in names:
        stem, colon, _ = name.partition(":")
        if stem not in NAMES or (colon and stem != "fake"):
            import difflib

            near = difflib.get_close_matches(stem, NAMES, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise UsageError(f"unknown meter {name!r}{hint} Valid meters: {', '.join(NAMES)} (fake:2.5 sets its watts)")
    if "fake" in wanted and len(names) > 1:
        raise UsageError("the fake meter is for tests and is never mixed with others; name it alone")
    return wanted


def _fake(name: str) -> FakeMeter:
    _, colon, watts = name.partition(":")
    if not colon:
        return FakeMeter()
    try:
        power_w = float(watts)
    except ValueError:
        raise UsageError(f"{name!r}: {watts!r} is not a number of watts; write for example fake:2.5") from None
    return FakeMeter(power_w)
