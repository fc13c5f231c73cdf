"""What a sum of joules is: its bounds, and how each part of it is known."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from harness.errors import NotMeasured
from harness.records import Energy, Frozen, Provenance, Record

_STRENGTH = tuple(Provenance)


class Part(Frozen, frozen=True, kw_only=True):
    """The joules of a total that are known in one way, with what their meters know of their own error."""

    provenance: Provenance
    energy_j: float
    low_j: float
    high_j: float


class Total(Frozen, frozen=True, kw_only=True):
    """A sum of billed joules; `low_j`/`high_j` bound what the meters know of their own error.

    `provenance` is the weakest on the path, `parts` what each provenance contributed (strongest first),
    `domains` what was summed.
    """

    energy_j: float
    low_j: float
    high_j: float
    provenance: Provenance
    domains: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def bounded(self) -> bool:
        """Whether the bounds differ from the value, so that they must be shown beside it."""
        return self.low_j != self.high_j

    @property
    def mixed(self) -> bool:
        """Whether the joules are known in more ways than one."""
        return len(self.parts) > 1

    @property
    def label(self) -> str:
        """How the joules are known: `modelled`, or `mixed: 82 % counter, 18 % modelled`."""
        if not self.mixed:
            return self.provenance.value
        whole_j = math.fsum(part.energy_j for part in self.parts)
        shares = (
            f"{_percent(part.energy_j / whole_j)} {part.provenance.value}" if whole_j > 0 else part.provenance.value
            for part in self.parts
        )
        return f"mixed: {', '.join(shares)}"

    def at_model(self, side: str) -> float:
        """Return the joules if every modelled one lay at its `low` or `high` side; as they are for any other side."""
        if side not in {"low", "high"}:
            return self.energy_j
        return math.fsum(
            (part.low_j if side == "low" else part.high_j) if part.provenance is Provenance.MODELLED else part.energy_j
            for part in self.parts
        )


def pooled(totals: Iterable[Total]) -> Total:
    """Return the sum whatever domains were summed, to say how joules of several totals are known taken together.

    Raises: NotMeasured: there is nothing to add.
    """
    each = list(totals)
    domains = tuple(sorted({domain for one in each for domain in one.domains}))
    return add(msgspec.structs.replace(one, domains=domains) for one in each)


def bill(record: Record) -> dict[str, tuple[str, ...]]:
    """Return how each domain that the record bills is known: provenance, meter, coefficients and boundary.

    A domain with more than one entry was known in more ways than one within the record.
    """
    coefficients = {meter.name: f" with {meter.coefficients}" for meter in record.meters if meter.coefficients}
    known: dict[str, set[str]] = {}
    for window in record.windows:
        for energy in window.measured.energies:
            if energy.billed:
                how = f"{energy.provenance.value} by {energy.meter}{coefficients.get(energy.meter, '')}"
                known.setdefault(energy.domain, set()).add(f"{how} ({energy.boundary})")
    return {domain: tuple(sorted(ways)) for domain, ways in sorted(known.items())}


def weakest(provenances: Iterable[Provenance]) -> Provenance:
    """Return the provenance that a result made of these inherits.

    Raises: NotMeasured: there is none.
    """
    found = list(provenances)
    if not found:
        raise NotMeasured("no joules were measured, so there is no provenance")
    return max(found, key=_STRENGTH.index)


def add(totals: Iterable[Total]) -> Total:
    """Return the sum.

    Raises: NotMeasured: there is nothing to add, or the totals cover unlike domains.
    """
    parts = list(totals)
    if not parts:
        raise NotMeasured("there are no windows to add up")
    domains = {part.domains for part in parts}
    if len(domains) > 1:
        shown = " against ".join(", ".join(names) for names in sorted(domains))
        raise NotMeasured(f"windows that bill unlike domains cannot be added: {shown}")
    return Total(
        energy_j=math.fsum(part.energy_j for part in parts),
        low_j=math.fsum(part.low_j for part in parts),
        high_j=math.fsum(part.high_j for part in parts),
        provenance=weakest(part.provenance for part in parts),
        domains=parts[0].domains,
        parts=parts_of(piece for part in parts for piece in part.parts),
    )


def scaled(whole: Total, factor: float) -> Total:
    """Return the total times a factor (per task, per fork)."""
    return Total(
        energy_j=whole.energy_j * factor,
        low_j=whole.low_j * factor,
        high_j=whole.high_j * factor,
        provenance=whole.provenance,
        domains=whole.domains,
        parts=tuple(
            Part(
                provenance=part.provenance,
                energy_j=part.energy_j * factor,
                low_j=part.low_j * factor,
                high_j=part.high_j * factor,
            )
            for part in whole.parts
        ),
    )


def part_of(energy: Energy) -> Part:
    """Return one domain's joules; where the meter gives no bounds they are the value itself."""
    return Part(
        provenance=energy.provenance,
        energy_j=energy.energy_j,
        low_j=energy.energy_j if energy.low_j is None else energy.low_j,
        high_j=energy.energy_j if energy.high_j is None else energy.high_j,
    )


def parts_of(pieces: Iterable[Part]) -> tuple[Part, ...]:
    """Return the joules of each provenance, strongest first."""
    known: dict[Provenance, list[Part]] = {}
    for piece in pieces:
        known.setdefault(piece.provenance, []).append(piece)
    return tuple(
        Part(
            provenance=provenance,
            energy_j=math.fsum(piece.energy_j for piece in known[provenance]),
            low_j=math.fsum(piece.low_j for piece in known[provenance]),
            high_j=math.fsum(piece.high_j for piece in known[provenance]),
        )
        for provenance in sorted(known, key=_STRENGTH.index)
    )


def _percent(share: float) -> str:
    """Return a share as a percentage that is never rounded to all or nothing."""
    shown = f"{100 * share:.0f}"
    if shown == "0" and share > 0:
        return "<1 %"
    return ">99 %" if shown == "100" and share < 1 else f"{shown} %"
