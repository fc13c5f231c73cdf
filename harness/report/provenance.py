"""What the report says of how its joules are known: on every total, on the axes, and in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness import stats
from harness.records import MeterInfo, Provenance
from harness.report import formats as f
from harness.report.gather import Gathered, Share
from harness.report.model import Kind, Sentence

_MEANING = {
    Provenance.INTEGRATED_POWER: "integrated from readings of power: what happened between two readings is not in them",
    Provenance.ATTRIBUTED: (
        "attributed: the share of the case, by CPU time, in what a counter saw of the whole host, whose idle is in it"
    ),
    Provenance.IMPORTED: "imported as another tool gave them: what it measured and what it modelled, it alone knows",
    Provenance.FAKE: "fake: they come from a meter for tests",
}


def label(totals: Iterable[stats.Total]) -> str:
    """Return how joules that stand side by side are known: one word, or the shares of all taken together."""
    known = list(totals)
    return stats.pooled(known).label if known else "none"


def bounds_heading(totals: Iterable[stats.Total]) -> str:
    """Return whose bounds stand in the column beside the joules."""
    modelled, metered = _bounded(totals)
    if modelled and metered:
        return "low–high of meter and model"
    return "meter low–high" if metered or not modelled else "model low–high"


def bounds_note(totals: Iterable[stats.Total]) -> str:
    """Return what the bounds beside the joules hold."""
    modelled, metered = _bounded(totals)
    if modelled and not metered:
        return "beside it the model's low and high where joules are modelled."
    meter = "what the meter leaves open (a counter: its refresh at both edges of every window, not its gain)"
    return f"beside it {meter}{' and the low and high of the model' if modelled else ''}."


def _bounded(totals: Iterable[stats.Total]) -> tuple[bool, bool]:
    """Say whether modelled joules have bounds, and whether metered ones have."""
    parts = [part for total in totals for part in total.parts if part.low_j != part.high_j]
    return (
        any(part.provenance is Provenance.MODELLED for part in parts),
        any(part.provenance is not Provenance.MODELLED for part in parts),
    )


def provenance_sentence(run: Gathered) -> Sentence:
    """Say how the joules are known, and how far that leaves them open."""
    if run.provenance is None:
        text = "No joule was measured in this run; `joulebench doctor` says what this host offers."
    elif not run.uniform:
        text = _mixed(run)
    elif run.provenance is Provenance.MODELLED:
        model = "; ".join(_model(meter.coefficients, meter.notes) for meter in run.billing if meter.coefficients)
        text = (
            f"The joules are modelled, not metered: W per vCPU × CPU-seconds{f' ({model})' if model else ''}. "
            f"Absolute joules are uncertain by a factor of {_factors(run)}; ratios between techniques on this host "
            "are not, because the error of the model cancels in them."
        )
    elif run.provenance is Provenance.COUNTER:
        text = f"The joules are known by counter from {_names(run.billing)}.{_edges(run)}"
    else:
        sources = f.listed(run.shares[0].sources)
        text = f"The joules are {_MEANING[run.provenance]} ({sources})."
    return Sentence(kind=Kind.PROVENANCE, text=text)


def _mixed(run: Gathered) -> str:
    whole_j = sum(share.energy_j for share in run.shares)
    parts = [_share(share, whole_j, run.billing) for share in run.shares]
    text = f"The joules of this run are mixed, and every total says so: {'; '.join(parts)}."
    factors = _factors(run)
    if any(share.provenance is Provenance.MODELLED for share in run.shares):
        text += (
            f" Absolute joules are uncertain by a factor of {factors}. Beside joules that are not modelled the error "
            "of the model does not cancel in ratios, so it is in their intervals."
        )
    return text + _unlike(run)


def _share(share: Share, whole_j: float, meters: Sequence[MeterInfo]) -> str:
    of_all = f"{100 * share.energy_j / whole_j:.3g} % " if whole_j > 0 else ""
    models = [meter.coefficients for meter in meters if meter.provenance is share.provenance and meter.coefficients]
    return f"{of_all}{share.provenance.value} ({', '.join((*share.sources, *models))})"


def _unlike(run: Gathered) -> str:
    """Name the cases by how their joules are known, where that differs between them."""
    ways: dict[str, list[str]] = {}
    for record in run.records:
        found = [e.provenance for window in record.windows for e in window.measured.energies if e.billed]
        if found:
            known = " and ".join(way.value for way in Provenance if way in found)
            ways.setdefault(known, []).append(run.info.name_of(record.case))
    if len(ways) < 2:
        return ""
    shown = "; ".join(f"{known}: {', '.join(names)}" for known, names in ways.items())
    return (
        f" They are not known in the same way in every case, and cases known in unlike ways are not compared: {shown}."
    )


def _names(meters: Sequence[MeterInfo]) -> str:
    return f.listed([f"{meter.name} ({meter.boundary})" for meter in meters]) if meters else "the host's meters"


def _edges(run: Gathered) -> str:
    if not any(total.bounded for total in _totals(run)):
        return ""
    return (
        f" The refresh of the counters at the edges of the windows leaves a factor of {_factors(run)}; "
        "their gain error is not in that."
    )


def _model(coefficients: str | None, notes: Sequence[str]) -> str:
    return "; ".join(part for part in (coefficients, *notes[:1]) if part)


def _totals(run: Gathered) -> list[stats.Total]:
    totals = [entry.total for group in run.groups for entry in group.entries if entry.total is not None]
    totals += [total for sweep in run.sweeps for total in sweep.totals]
    totals += [training.cost.total for training in run.trainings if training.cost is not None]
    return [total for total in totals if total.energy_j > 0]


def _factors(run: Gathered) -> str:
    known = _totals(run)
    if not known:
        return "unknown size"
    low = min(total.low_j / total.energy_j for total in known)
    high = max(total.high_j / total.energy_j for total in known)
    return f"{f.digits(low)} to {f.digits(high)}"
