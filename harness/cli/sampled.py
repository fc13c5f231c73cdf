"""A sample in words: what a published step costs here, the full run, and the published runs it is not."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from harness.accounting import Estimate, Hardware
from harness.accounting.recipes import Fact, PublishedRun
from harness.records import Doubt, Missing
from harness.report import formats as f
from harness.sampling import PhaseFound, Sample, counted, means_of
from harness.sampling.planning import UPDATE
from harness.stats.totals import billed_total
from harness.units import kwh_from_j

_WIDTH = 110
_SECONDS_AN_HOUR = 3600.0


def lines(sample: Sample) -> list[str]:
    """Return what a person reads of a sample, a line each."""
    recipe, about = sample.recipe, sample.about
    interrupted = ""
    if sample.interrupted:
        interrupted = f" INTERRUPTED ({sample.interrupted}): of a shorter sample than asked for."
    return [
        f"{recipe.name}: {recipe.title}",
        *_wrapped(
            f"{sample.parameters / 1e6:,.1f}M parameters, {sample.spec.optimizer}, {sample.spec.precision}; sampled on "
            f"{about.hardware} for {sample.options.for_s:g} s.{interrupted}"
        ),
        "",
        *_table(_HEAD, [_phase_row(each, sample.options.confidence) for each in sample.phases]),
        "",
        *_full_run(sample),
        "",
        *_published(sample),
        "",
        *_doubts(sample),
        "how it was run, and what differs from the published work:",
        *(line for note in (*sample.full_run.notes, *sample.notes, *recipe.notes) for line in _wrapped(note, "  - ")),
    ]


_HEAD = (
    "phase",
    "steps",
    "tokens",
    "run as",
    "cycles",
    "energy a step",
    "in this sample",
    "time a step",
    "in this sample",
    "update",
)


def _phase_row(each: PhaseFound, confidence: float) -> tuple[str, ...]:
    plan = each.plan
    means = means_of(each.energy)
    energy = ("not measured", "") if means is None else (f.si(means.mean, "J"), _span(means, "J", confidence))
    duration = ("not measured", "")
    if not isinstance(each.duration, Missing):
        duration = (f.si(each.duration.mean, "s"), _span(each.duration, "s", confidence))
    return (
        plan.phase.name,
        f.count(plan.phase.steps.number),
        f"{plan.phase.tokens:,}",
        f"{plan.accumulations:,.6g} x {plan.micro_batch:,}",
        str(each.cycles),
        *energy,
        *duration,
        _update_share(each),
    )


def _span(means: Any, unit: str, confidence: float) -> str:
    return f"{f.si_range((means.low, means.high), unit)} ({confidence:.0%})"


def _update_share(each: PhaseFound) -> str:
    """Return the update's share of a step's energy, where it was measured apart."""
    means = means_of(each.energy)
    mean_j = next((part.mean_j for part in each.parts if part.name == UPDATE), None)
    if means is None or mean_j is None or means.mean <= 0:
        return f.NOTHING
    return f.percent(mean_j / means.mean)


def _full_run(sample: Sample) -> list[str]:
    run = sample.full_run
    said = [f"the full run on this hardware ({run.hardware.value if run.hardware is Hardware.SAME else 'sampled'}):"]
    if isinstance(run.energy_j, Missing):
        said += _wrapped(f"energy: not known: {run.energy_j.reason}", "  ")
    else:
        known = billed_total(sample.domains, (), f"the full run of {sample.recipe.name}").label
        said.append(f"  energy  {_kwh(run.energy_j)}, {known}")
    if isinstance(run.duration_s, Missing):
        said += _wrapped(f"time: not known: {run.duration_s.reason}", "  ")
    else:
        said.append(f"  time    {_hours(run.duration_s)}")
    said += _joules_of(sample)
    said += _wrapped(
        f"the interval holds {run.confidence:.0%} for sampling a machine that wanders, and in full the bounds of the "
        f"meter and of the overhead ({f.percent(run.overhead.low)} to {f.percent(run.overhead.high)} beyond the steps; "
        f"{run.overhead.source}); not another day, another host, or a drift that goes on",
        "  ",
    )
    if sample.idle_w is not None:
        parts = ", ".join(dict.fromkeys(energy.domain for each in sample.idle for energy in counted(each)))
        said.append(
            f"  at rest, with the model in memory, {parts} drew {f.si(sample.idle_w, 'W')}; the energy holds it"
        )
    moved = [each for each in run.influences if each.high > each.low]
    if moved:
        said.append("  what each source of error does alone:")
        said += [f"    {each.source:<10}{_range_kwh(each.low, each.high)}" for each in moved]
    return [*said, *_target(sample)]


def _joules_of(sample: Sample) -> list[str]:
    """Return what the joules are of, domain by domain, and what is not in them."""
    whole_j = math.fsum(each.energy_j for each in sample.domains)
    said = []
    for each in sorted(sample.domains, key=lambda each: -each.energy_j):
        share = f.percent(each.energy_j / whole_j) if whole_j > 0 else f.NOTHING
        said += _wrapped(f"{share} {each.domain}, {each.provenance.value}: {each.boundary}", "    ")
    if said:
        said.insert(0, "  the joules are those of")
    for gap in sample.missing:
        if gap.billed:
            said += _wrapped(f"not measured: {gap.domain}: {gap.reason}", "    ")
    if sample.domains:
        said += _wrapped(
            "without PUE: what a data centre takes beside its machines is not in them; it is in a published energy "
            "where that says so",
            "    ",
        )
    return said


def _target(sample: Sample) -> list[str]:
    run = sample.full_run
    if run.hardware is Hardware.SAME:
        return []
    if isinstance(run.target_energy_j, Missing):
        return ["", *_wrapped(f"for {run.target}: nothing is claimed: {run.target_energy_j.reason}")]
    known = "" if run.target_provenance is None else f", {run.target_provenance.value}"
    options = sample.options
    return [
        "",
        *_wrapped(
            f"for {run.target} (other-hardware, the weaker claim): {_kwh(run.target_energy_j)}{known}; "
            f"{options.ratio:g} times the joules here, by {options.ratio_source}"
        ),
    ]


def _published(sample: Sample) -> list[str]:
    runs = sample.recipe.runs
    if not runs:
        return _wrapped("published runs of this recipe: none is known to us")
    said = ["published runs of this recipe, on their hardware; the full run above is no estimate of them:"]
    for each in runs:
        said += _wrapped(_published_run(each), "  - ")
    if sample.full_run.hardware is Hardware.SAME:
        said += _wrapped(
            "joules differ between processors by what they are built for, many times over: set a figure of this "
            "hardware beside one of another only as what it is",
            "  ",
        )
    return said


def _published_run(run: PublishedRun) -> str:
    energy = "no energy published" if run.energy_kwh is None else _fact(run.energy_kwh, "kWh")
    note = f"; {run.note}" if run.note else ""
    return (
        f"{run.devices.value or 'unknown number of'} x {_fact(run.hardware, '')}: {_fact(run.duration_h, 'h')}, "
        f"{energy}{note}"
    )


def _fact(fact: Fact[Any], unit: str) -> str:
    if fact.value is None:
        return f"not published ({fact.note})"
    value = f"{fact.value:,.10g}" if isinstance(fact.value, int | float) else fact.value
    note = f"; {fact.note}" if fact.note else ""
    return f"{value}{' ' if unit else ''}{unit} ({fact.level.value}{note})"


def _doubts(sample: Sample) -> list[str]:
    said = []
    for each in sample.phases:
        windows = each.cycles * len(each.parts)
        found = [f"{name} in {count} of {windows} windows" for name, count in each.window_doubts.items()]
        # That joules are modelled is said by their provenance.
        found = [text for text in found if not text.startswith(Doubt.MODELLED.value)]
        found += [f"{name} (the series)" for name in each.series_doubts]
        if found:
            said += _wrapped(f"phase {each.plan.phase.name}: {', '.join(found)}", "  ! ")
    return ["doubts:", *said, ""] if said else []


def _kwh(energy_j: Estimate) -> str:
    return f"{f.digits(kwh_from_j(energy_j.value))} kWh ({_range_kwh(energy_j.low, energy_j.high)})"


def _range_kwh(low_j: float, high_j: float) -> str:
    return f"{f.digits(kwh_from_j(low_j))} to {f.digits(kwh_from_j(high_j))} kWh"


def _hours(duration_s: Estimate) -> str:
    value, low, high = (
        f.digits(seconds / _SECONDS_AN_HOUR) for seconds in (duration_s.value, duration_s.low, duration_s.high)
    )
    return f"{value} h ({low} to {high} h)"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]


def _wrapped(text: str, mark: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=mark,
        subsequent_indent=" " * len(mark),
        break_long_words=False,
        break_on_hyphens=False,
    )
