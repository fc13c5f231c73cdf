"""From the driver to an open meter: what each GPU can be metered with, watched before it is trusted."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from harness.meters.nvml import readings
from harness.meters.nvml.devices import Gpu, ceiling_w, driver_present, visible
from harness.meters.nvml.meter import LiveSource, NvmlMeter
from harness.meters.nvml.power import PowerIntegrator, PowerSampler, Probe, poll_s
from harness.meters.nvml.readings import PowerReading
from harness.meters.nvml.views import View
from harness.meters.seam import watch_refresh
from harness.records import Missing, Provenance

WATCH_S = 1.5
"""How long counters and powers are watched for their refresh period at most."""
_CHANGES = 6
_PAUSE_S = 5e-4

_NO_LIBRARY = (
    "NVIDIA driver library not found (libnvidia-ml.so.1, /dev/nvidiactl): no NVIDIA GPU here, or its driver is not "
    "installed or not passed into this container"
)


class Time(NamedTuple):
    """The clock that meters are watched by and powers are sampled by; a test brings its own.

    With `background` off nothing is sampled between the edges unless the test does it.
    """

    clock_ns: Callable[[], int] = time.perf_counter_ns
    sleep: Callable[[float], None] = time.sleep
    background: bool = True

    def now_s(self) -> float:
        """Return the clock in seconds."""
        return self.clock_ns() / 1e9


class _Plan(NamedTuple):
    """One GPU with what it offers: its counter (None: none to use, and why) and its powers, best first."""

    gpu: Gpu
    counter: View | None
    powers: tuple[PowerReading, ...]
    why_no_counter: str


def open_nvml(
    *, watch_s: float = WATCH_S, also_power: bool = False, only: str | None = None, clock: Time | None = None
) -> tuple[NvmlMeter | None, tuple[Missing, ...]]:
    """Open the visible GPUs, each by its energy counter or, where that is missing or stands still, its power.

    Counters and powers are watched for up to `watch_s` seconds each. With `also_power` the powers of a GPU
    that has a counter are sampled too, as domains of their own (`gpu0-power-instant` …) that are not billed:
    a second view of the same joules, to set the two against each other. With `only`, a domain, the other
    GPUs are left alone, unless their order is doubtful: then the meter is of all of them.

    Returns:
        The meter, or None where no GPU can be metered; and what is missing, with reasons.
    """
    clock = clock or Time()
    nvml = _started()
    if isinstance(nvml, str):
        return None, (Missing(domain="gpu", reason=nvml),)
    gpus, missing, notes = visible(nvml, os.environ)
    if only is not None and notes:  # they doubt which GPU is which, so none may be left out
        notes = (*notes, "so all are metered, though the case runs on one")
    elif only is not None:
        gpus, missing, notes = _one(only, gpus, missing)
    plans = _plans(nvml, gpus, watch_s, clock)
    chosen, lost = _chosen(plans, also_power=also_power)
    missing += lost
    if not chosen:
        nvml.nvmlShutdown()
        return None, tuple(missing) or (Missing(domain="gpu", reason="no GPU is visible to this process"),)
    metered = {plan.gpu.domain: plan.gpu for plan, _ in chosen}
    views, sampler = _sampled(nvml, chosen, watch_s, clock)
    handles = [plan.gpu.handle if power is None else None for plan, power in chosen]
    source = LiveSource(nvml, handles, [(gpu.domain, gpu.handle) for gpu in metered.values()], sampler)
    if sampler is not None:
        notes = (*notes, _cost_note(sampler))
        if clock.background:
            sampler.start()
    return NvmlMeter(views, source, notes), tuple(missing)


def _started() -> Any:
    """Return `pynvml` with NVML initialised, or why it cannot be."""
    if not driver_present():
        return _NO_LIBRARY
    try:
        import pynvml as nvml
    except ImportError:
        return "pynvml is not installed: `pip install nvidia-ml-py`"
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return f"NVML does not start: {error}; check that `nvidia-smi` works here"
    return nvml


def _one(only: str, gpus: list[Gpu], missing: list[Missing]) -> tuple[list[Gpu], list[Missing], tuple[str, ...]]:
    """Return what `visible` found of one GPU, with a note that names the others."""
    others = [gpu.domain for gpu in gpus if gpu.domain != only]
    gpus = [gpu for gpu in gpus if gpu.domain == only]
    missing = [gap for gap in missing if gap.domain in {"gpu", only}]
    if not gpus and not missing:
        missing = [
            Missing(domain=only, reason=f"there is no {only} among the GPUs that NVML shows: {', '.join(others)}")
        ]
    notes = (f"{', '.join(others)}: not metered, because the case runs on {only}",) if others else ()
    return gpus, missing, notes


def _plans(nvml: Any, gpus: list[Gpu], watch_s: float, clock: Time) -> list[_Plan]:
    """Return each GPU with its counter as a view, if it has one that moves, and the powers it offers."""
    refusals = [_why_no_counter(nvml, gpu) for gpu in gpus]
    reads = [
        partial(_peek, nvml, partial(nvml.nvmlDeviceGetTotalEnergyConsumption, gpu.handle))
        for gpu, refusal in zip(gpus, refusals, strict=True)
        if refusal is None
    ]
    periods = iter(_watch(reads, watch_s, clock))
    plans = []
    for gpu, refusal in zip(gpus, refusals, strict=True):
        powers = readings.offered(nvml, gpu.handle)
        counter = refusal or _counter(nvml, gpu, next(periods), powers, watch_s, clock)
        if isinstance(counter, str):
            plans.append(_Plan(gpu, None, powers, counter))
        else:
            plans.append(_Plan(gpu, counter, powers, ""))
    return plans


def _why_no_counter(nvml: Any, gpu: Gpu) -> str | None:
    try:
        nvml.nvmlDeviceGetTotalEnergyConsumption(gpu.handle)
    except nvml.NVMLError as error:
        return f"no energy counter ({error}; NVML counts from Volta on)"
    return None


def _counter(
    nvml: Any, gpu: Gpu, period_s: float | None, powers: tuple[PowerReading, ...], watch_s: float, clock: Time
) -> View | str:
    """Return a watched energy counter as a view, or why it is of no use."""
    if period_s is None:
        return f"the energy counter stood still for {watch_s} s"
    try:
        scope = readings.counter_scope(nvml, gpu.handle, powers, now_s=clock.now_s, sleep=clock.sleep)
    except nvml.NVMLError as error:
        return f"the energy counter could not be read: {error}"
    notes = ["energy counter"]
    if not math.isfinite(period_s):
        notes.append("it changed only once while it was watched: no window can be called long enough")
    if scope != readings.GPU:
        notes.append("its joules may hold those of the module's CPU: do not add a CPU domain to them")
    return View(
        domain=gpu.domain,
        provenance=Provenance.COUNTER,
        name=f"{gpu.name}, {gpu.uuid}",
        boundary=readings.boundary(scope),
        ceiling_w=ceiling_w(nvml, gpu.handle, module=scope != readings.GPU),
        refresh_s=period_s if math.isfinite(period_s) else None,
        contains_cpu=scope != readings.GPU,
        notes=tuple(notes),
    )


def _chosen(plans: list[_Plan], *, also_power: bool) -> tuple[list[tuple[_Plan, PowerReading | None]], list[Missing]]:
    """Return what to open: a plan with None for its counter, with a reading for its power."""
    chosen: list[tuple[_Plan, PowerReading | None]] = []
    missing = []
    for plan in plans:
        if plan.counter is not None:
            chosen.append((plan, None))
            chosen += [(plan, power) for power in plan.powers if also_power]
        elif plan.powers:
            chosen.append((plan, plan.powers[0]))
        else:
            reason = f"{plan.gpu.name}: {plan.why_no_counter}, and no power reading answers either"
            missing.append(Missing(domain=plan.gpu.domain, reason=reason))
    return chosen, missing


def _sampled(
    nvml: Any, chosen: list[tuple[_Plan, PowerReading | None]], watch_s: float, clock: Time
) -> tuple[list[View], PowerSampler | None]:
    """Return the views of what was chosen, and the sampler of those that are powers."""
    powers = [power for _, power in chosen if power is not None]
    periods = iter(_watch([partial(_peek, nvml, power.read_mw) for power in powers], watch_s, clock))
    views, probes, quickest_s = [], [], math.inf
    for plan, power in chosen:
        if power is None:
            if plan.counter is not None:
                views.append(plan.counter)
            continue
        period_s = next(periods)
        refresh_s = period_s if period_s is not None and math.isfinite(period_s) else None
        quickest_s = min(quickest_s, poll_s(refresh_s))
        view = _power_view(nvml, plan, power, refresh_s)
        views.append(view)
        probes.append(Probe(power.read_mw, PowerIntegrator(refresh_s, view.ceiling_w)))
    if not probes:
        return views, None
    return views, PowerSampler(probes, quickest_s, nvml.NVMLError, clock.clock_ns)


def _power_view(nvml: Any, plan: _Plan, power: PowerReading, refresh_s: float | None) -> View:
    beside = plan.counter is not None
    notes = [power.about if beside else f"{plan.why_no_counter}; {power.about} is integrated instead"]
    if refresh_s is None:
        notes.append("it changed at most once while it was watched: no window can be called long enough")
    notes.append(
        "swings quicker than the refresh are not seen, and some GPUs sense only a part of each refresh "
        "(a quarter of it on A100 and H100: Yang et al., SC 2024)"
    )
    if beside:
        notes.append("not billed: the energy counter measures the same joules")
    module = power.scope != readings.GPU
    return View(
        domain=f"{plan.gpu.domain}-power-{_suffix(power)}" if beside else plan.gpu.domain,
        provenance=Provenance.INTEGRATED_POWER,
        name=f"{plan.gpu.name}, {plan.gpu.uuid}",
        boundary=readings.boundary(power.scope, power),
        ceiling_w=ceiling_w(nvml, plan.gpu.handle, module=module),
        refresh_s=refresh_s,
        averaging_s=power.averaging_s,
        billed=not beside,
        contains_cpu=power.scope != readings.GPU,
        notes=tuple(notes),
    )


def _suffix(power: PowerReading) -> str:
    return power.kind if power.scope == readings.GPU else f"{power.scope}-{power.kind}"


def _watch(reads: Sequence[Callable[[], int | None]], watch_s: float, clock: Time) -> list[float | None]:
    if not reads:
        return []
    return watch_refresh(
        reads, at_most_s=watch_s, changes=_CHANGES, pause_s=_PAUSE_S, clock_s=clock.now_s, sleep=clock.sleep
    )


def _peek(nvml: Any, read: Callable[[], Any]) -> int | None:
    try:
        return int(read())
    except nvml.NVMLError:
        return None


def _cost_note(sampler: PowerSampler) -> str:
    share = sampler.cost_s() / sampler.period_s
    return (
        f"power is read every {sampler.period_s * 1e3:.3g} ms by a thread of this process, which takes about "
        f"{share:.2%} of a core; the CPU time of every window contains it"
    )
