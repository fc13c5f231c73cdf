"""One sample from its beginning to its end: refuse, build, plan, measure, extrapolate, keep."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from harness import device, host, store
from harness.accounting import Target, published_overhead
from harness.contract import WindowMeter
from harness.errors import InvalidMeasurement, ModelError, NotMeasured, UsageError
from harness.records import Measured
from harness.sampling import result
from harness.sampling.asking import Asked, AskedPhase
from harness.sampling.extrapolating import Aim, domains_of, extrapolate
from harness.sampling.planning import CYCLES_LEAST, Part, PhasePlan, plan
from harness.sampling.result import About, Options, Sample, Taken
from harness.sampling.taking import Cycle, Series, take, timer, window
from harness.schedule import utc_now
from harness.stats.totals import billed_total
from harness.stats.wander import SHARED
from harness.workloads.architectures import counting
from harness.workloads.architectures.steps import Steps, accelerator, departures, model_length

Tell = Callable[[str, float, float], None]
"""Told what happens now, how many seconds of the measuring are done, and of how many."""

_IDLE_S = 1.0
_IDLE_SHARE = 0.02
_LATE = 2.0
"""A phase that has not the fewest cycles goes on until this many times its share of the time."""
_TOLD = 10
_SHARED = (
    "this host is virtual or does not say: neighbours come and go, so it is taken to wander at least as much as such "
    f"machines did over an hour ({SHARED:.1%} of the level)"
)


def hardware(machine: host.Host, name: str, threads: int) -> str:
    """Return the name of what trains: an accelerator, or a CPU with the threads it was given."""
    found = accelerator(name)
    if found is not None:
        return found
    generation = f" ({machine.microarchitecture})" if machine.microarchitecture else ""
    return f"{machine.cpu_brand or machine.arch}{generation}, {threads} thread{'' if threads == 1 else 's'}"


def aim(options: Options, sampled: str, *, shared: bool = False) -> Aim:
    """Return what the full run is extrapolated with; on a CPU that is `shared` others wander it too.

    Raises: UsageError: a ratio without a target, a source or a meaning; or a confidence that is none.
    """
    if not 0 < options.confidence < 1:
        raise UsageError(f"confidence must lie between 0 and 1, not {options.confidence}")
    if options.ratio is None and options.ratio_source:
        raise UsageError("--ratio-source says where a ratio is from; give the ratio with --ratio")
    if options.ratio is not None and options.target in (None, sampled):
        raise UsageError(
            f"--ratio compares other hardware with {sampled}, which is sampled here; name the other with --target"
        )
    target = Target(
        sampled=sampled,
        target=options.target or sampled,
        ratio=options.ratio,
        ratio_source=options.ratio_source,
    )
    least = SHARED if shared else 0.0
    return Aim(overhead=published_overhead(), target=target, confidence=options.confidence, least_wander=least)


def run(
    asked: Asked, options: Options, about: About, meters: WindowMeter, *, shortest_s: float, root: Path, tell: Tell
) -> tuple[Sample, Path]:
    """Sample a recipe and return what was found and its folder; what ends it after the first window is kept with it.

    Args:
        asked: What to sample.
        options: How.
        about: Where.
        meters: All meters, open.
        shortest_s: How long a window must last for them.
        root: The results folder.
        tell: Told the progress.

    Raises: KeyboardInterrupt: before anything was measured. ModelError: it does not fit the memory. UsageError: the
        time is too short. InvalidMeasurement: the steps that were tried are not those of a training.
    """
    started = utc_now()
    # A GPU is a tenant's own; the cores of a virtual machine may be others' too.
    shared = options.device == "cpu" and about.host["vm"] is not False
    extrapolated = aim(options, about.hardware, shared=shared)
    name = result.sample_id(asked.recipe, started)
    free = {phase.name: _fitting(asked, phase, options.micro_batch or 1, options.device) for phase in asked.phases}
    tell("building the model", 0.0, options.for_s)
    build, steps = window(meters, options.device, lambda: Steps(asked.spec, options.device))
    tell("trying micro-batches", 0.0, options.for_s)

    def check(phase: AskedPhase, micro_batch: int) -> None:
        if micro_batch == (options.micro_batch or 1):
            return
        # The model lies in memory by now, so what was free before it counts.
        _fitting(asked, phase, micro_batch, options.device, free[phase.name])

    plans = plan(
        asked.phases,
        options.for_s,
        timed=timer(steps, options.device, check),
        shortest_s=shortest_s,
        micro_batch=options.micro_batch,
    )
    folder = result.make_folder(root, about.host_fingerprint, name)
    rest_s = max(shortest_s, min(_IDLE_S, _IDLE_SHARE * options.for_s))
    series, idle, interrupted = _measure(steps, plans, options, meters, rest_s, folder, tell)
    found, phases = extrapolate(series, build, extrapolated)
    sample = Sample(
        sample_id=name,
        recipe=asked.recipe,
        spec=asked.spec,
        options=options,
        about=about,
        parameters=steps.parameters(),
        meters=meters.infos(),
        missing=meters.missing(),
        started_utc=started,
        finished_utc=utc_now(),
        interrupted=interrupted,
        build=build,
        idle=idle,
        idle_w=_idle_w(idle),
        phases=phases,
        full_run=found,
        domains=domains_of(phases),
        notes=(*asked.notes, *departures(asked.spec), *((_SHARED,) if shared else ())),
    )
    result.write(sample, folder)
    return sample, folder


def _fitting(asked: Asked, phase: AskedPhase, micro_batch: int, name: str, free_bytes: int | None = None) -> int | None:
    """Return the memory that is free, if a micro-batch fits it; Adam's two states are counted for any optimizer.

    Raises: ModelError: it does not.
    """
    preset = asked.spec.preset()
    length = model_length(preset, phase.tokens)
    return counting.refuse_unless_fits(
        preset, phase="train", batch=micro_batch, length=length, device=name, free_bytes=free_bytes
    ).free_bytes


def _measure(
    steps: Steps,
    plans: tuple[PhasePlan, ...],
    options: Options,
    meters: WindowMeter,
    rest_s: float,
    folder: Path,
    tell: Tell,
) -> tuple[tuple[Series, ...], tuple[Measured, ...], str]:
    """Return the series of all phases, the windows of rest, and what came between, if anything did."""
    cycles: list[list[Cycle]] = [[] for _ in plans]
    peaks: list[int | None] = [None for _ in plans]
    idle: list[Measured] = []
    interrupted = ""
    try:
        idle.append(window(meters, options.device, lambda: time.sleep(rest_s))[0])
        for number, each in enumerate(plans):
            device.reset_peak_memory(options.device)
            take(
                steps,
                each,
                meters,
                options.device,
                into=cycles[number],
                enough=_enough(plans, number, tell),
                kept=_keeper(each, folder),
            )
            peaks[number] = device.peak_memory_bytes(options.device)
        idle.append(window(meters, options.device, lambda: time.sleep(rest_s))[0])
    except KeyboardInterrupt:
        interrupted = result.BY_USER
    except (ModelError, NotMeasured) as error:  # the windows until then are whole, and may have cost hours
        interrupted = str(error)
    series = tuple(
        Series(plan=each, cycles=tuple(done), peak_memory_bytes=peak)
        for each, done, peak in zip(plans, cycles, peaks, strict=True)
    )
    return series, tuple(idle), interrupted


def _enough(plans: tuple[PhasePlan, ...], number: int, tell: Tell) -> Callable[[int], bool]:
    """Return what ends a phase: its share of the time, or twice that where it has not the fewest cycles by then."""
    mine = plans[number]
    before_s = sum(each.for_s for each in plans[:number])
    total_s = sum(each.for_s for each in plans)
    begun_s = time.monotonic()
    told = -1

    def enough(done: int) -> bool:
        nonlocal told
        spent_s = time.monotonic() - begun_s
        mark = int(_TOLD * spent_s / mine.for_s)
        if mark > told:
            told = mark
            tell(_words(mine, done), before_s + min(spent_s, mine.for_s), total_s)
        late = spent_s + mine.cycle_s / 2 > mine.for_s
        return late and (done >= CYCLES_LEAST or spent_s > _LATE * mine.for_s)

    return enough


def _words(each: PhasePlan, done: int) -> str:
    what = "whole steps" if each.whole else "pairs of windows"
    return f"phase {each.phase.name}: {done} {what}, micro-batches of {each.micro_batch} x {each.phase.tokens} tokens"


def _keeper(each: PhasePlan, folder: Path) -> Callable[[Part, int, Measured], None]:
    def kept(part: Part, cycle: int, measured: Measured) -> None:
        taken = Taken(
            phase=each.phase.name,
            part=part.name,
            times=part.times,
            weight=part.weight,
            cycle=cycle,
            measured=measured,
        )
        store.append_line(folder / "windows.jsonl", taken)

    return kept


def _idle_w(idle: tuple[Measured, ...]) -> float | None:
    """Return the mean watts at rest of what is counted; None where nothing is, or a window lacks some of it."""
    counted = [result.counted(each) for each in idle]
    try:
        for each in idle:
            billed_total(each.energies, each.missing, "a window of rest")
    except (NotMeasured, InvalidMeasurement):
        return None
    duration_s = sum(each.duration_s for each in idle)
    if duration_s <= 0 or not all(counted):
        return None
    return sum(energy.energy_j for each in counted for energy in each) / duration_s
