"""From meter names to open meters: what is offered, what is billed, what is missing and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from harness.counters.edges import Edges
from harness.counters.rapl import BILLED
from harness.errors import UsageError
from harness.meters import memory, modelled
from harness.meters.fake import FakeMeter
from harness.meters.nvml import open_nvml
from harness.meters.plugins import loading
from harness.meters.rapl import RaplMeter, open_rapl, refresh_of
from harness.meters.seam import BilledMeter, Survey
from harness.meters.selftest import self_test, tested
from harness.meters.window import MeterWindow, billing_of
from harness.records import MeterInfo, Missing

if TYPE_CHECKING:
    from harness.counters.process import OwnGroup
    from harness.counters.rapl import RaplSource

NAMES = ("auto", "rapl", "attributed", "nvml", "modelled", "fake")
"""The meters of joulebench itself; plug-ins add theirs. `fake` may carry watts, as in `fake:2.5`."""


def open_meters(
    names: Sequence[str] = ("auto",), device: str | None = None, group: OwnGroup | None = None
) -> MeterWindow:
    """Open the meters named and put them behind one begin/end pair.

    `auto` opens everything the host offers and bills each joule once: the package counter (and DRAM)
    where it works, the modelled process share otherwise; GPUs beside either. `attributed` bills this
    process's share of the package counter instead. A case whose `device` is the CPU is not billed for
    GPUs that idle beside it, unless `nvml` is named, and one on a GPU is not billed for the other GPUs. With
    `group`, CPU time is that control group's.

    Raises: UsageError: a name is unknown, a meter named explicitly cannot be used here, fake joules
        would be mixed with real ones, or nothing would bill the GPU that the case runs on.
    """
    meters, missing = _open(names, device)
    unbilled = _unbilled(meters, missing, device)
    if unbilled is not None:
        for meter in meters:
            meter.close()
        raise UsageError(unbilled)
    return MeterWindow(
        meters,
        missing,
        infos=[_with_group(info, group) for info in tested(meters)],
        edges=Edges(meters, group=group),
        attribute="attributed" in names,
    )


def around(source: RaplSource | None, gaps: Sequence[tuple[str, str]], edges: Edges, *, test: bool) -> MeterWindow:
    """Return the meters that `auto` gives without a GPU, around a RAPL source and edges that are already open.

    With `test`, meters that were not tested since this boot are tested now, which takes a tenth of a second.
    """
    missing = [Missing(domain=domain, reason=reason, billed=domain in BILLED) for domain, reason in gaps]
    meters: list[BilledMeter] = []
    if source is not None:
        refresh_s = memory.refresh_s("rapl")
        if refresh_s is None and test:
            refresh_s = refresh_of(source)
        meters.append(RaplMeter(source, refresh_s))
    meters.append(modelled.for_host(billed=source is None))
    infos = tested(meters) if test else [memory.recall(meter.info()) or meter.info() for meter in meters]
    return MeterWindow(meters, missing, infos=infos, edges=edges)


def survey(names: Sequence[str] = ("auto",)) -> Survey:
    """Open and self-test the meters anew, close them again, and return what was found.

    Raises: UsageError: as for `open_meters`.
    """
    meters, missing = _open(names, None)
    try:
        infos = self_test(meters)
        memory.remember(infos)
    finally:
        for meter in meters:
            meter.close()
    billed = tuple(meter.name for meter in billing_of(meters))
    return Survey(meters=tuple(infos), missing=tuple(missing), billed=billed)


def _open(names: Sequence[str], device: str | None) -> tuple[list[BilledMeter], list[Missing]]:
    wanted = _checked(names)
    if wanted == {"fake"}:
        return [_fake(name) for name in names], []
    auto = "auto" in wanted
    meters: list[BilledMeter] = []
    missing: list[Missing] = []
    counted = False
    try:
        if wanted & {"auto", "rapl", "attributed"}:
            rapl, gaps = open_rapl(refresh_s=memory.refresh_s("rapl"))
            missing += gaps
            counted = rapl is not None
            asked = next((name for name in ("rapl", "attributed") if name in wanted), None)
            _take(rapl, gaps, meters, asked)
        if auto or "modelled" in wanted:
            meters.append(modelled.for_host(billed=not counted))
        if "nvml" in wanted or (auto and device != "cpu"):
            nvml, gaps = open_nvml(only=_gpu_of(device))
            missing += gaps
            _take(nvml, gaps, meters, "nvml" if "nvml" in wanted else None)
        for name in names:
            stem, _, argument = name.partition(":")
            if stem not in NAMES:
                plugged, gaps = loading.load(stem)(argument, device)
                missing += gaps
                _take(plugged, gaps, meters, stem)
        _no_twice(meters)
    except BaseException:
        for meter in meters:
            meter.close()
        raise
    return meters, missing


def _take(meter: BilledMeter | None, gaps: Sequence[Missing], meters: list[BilledMeter], asked: str | None) -> None:
    """Add the meter; one that was asked for by name and cannot be used is an error."""
    if meter is not None:
        meters.append(meter)
    elif asked is not None:
        reasons = "; ".join(gap.reason for gap in gaps)
        raise UsageError(f"meter {asked!r} cannot be used on this host: {reasons}. Use `auto` to take what there is")


def _gpu_of(device: str | None) -> str | None:
    """Return the domain of the GPU that a case runs on; None on the CPU, and where the device is not known."""
    if device is None or device == "cpu":
        return None
    return f"gpu{device.partition(':')[2] or 0}"


def _unbilled(meters: Sequence[BilledMeter], missing: Sequence[Missing], device: str | None) -> str | None:
    """Return why a case on a GPU would be billed for everything but the GPU, or None."""
    gpu = _gpu_of(device)
    billing = billing_of(meters)
    whole = any(getattr(each, "contains_everything", False) for each in billing)
    fake = any(isinstance(each, FakeMeter) for each in billing)
    if gpu is None or whole or fake or any(gpu in each.billed for each in billing):
        return None
    reasons = "; ".join(gap.reason for gap in missing if gap.domain in {"gpu", gpu})
    return (
        f"no meter counts the joules of {device} ({gpu}), so its total would hold those of other parts only: "
        f"{reasons or 'none of the meters named is of a GPU'}. Repair that (`joulebench doctor` shows what there is) "
        "or name a meter that counts it: nvml or amd, or wall or prometheus for the whole machine"
    )


def _no_twice(meters: Sequence[BilledMeter]) -> None:
    """Refuse two meters that would bill the same domain: its joules would be counted twice."""
    owners: dict[str, BilledMeter] = {}
    for meter in billing_of(meters):
        for domain in sorted(meter.billed):
            other = owners.setdefault(domain, meter)
            if other is not meter:
                raise UsageError(f"meters {other.name!r} and {meter.name!r} would both bill {domain}; name one of them")


def _checked(names: Sequence[str]) -> set[str]:
    """Return the names without their arguments."""
    plugins = loading.names()
    every = (*NAMES, *plugins)
    if not names:
        raise UsageError(f"no meter is named; valid meters: {', '.join(every)}")
    for name in names:
        stem, colon, _ = name.partition(":")
        if stem not in every or (colon and stem not in {"fake", *plugins}):
            import difflib

            near = difflib.get_close_matches(stem, every, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise UsageError(f"unknown meter {name!r}{hint} Valid meters: {', '.join(every)} (fake:2.5 sets its watts)")
    wanted = {name.split(":", 1)[0] for name in names}
    if "fake" in wanted and len(names) > 1:
        raise UsageError("the fake meter is for tests and is never mixed with others; name it alone")
    if {"rapl", "attributed"} <= wanted:
        raise UsageError("`rapl` bills the package and `attributed` a share of the same joules; name one of them")
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


def _with_group(info: MeterInfo, group: OwnGroup | None) -> MeterInfo:
    if group is None or info.name != "modelled":
        return info
    return msgspec.structs.replace(info, notes=(*info.notes, "CPU-seconds of a control group of its own"))
