"""The tables about inference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from harness import stats
from harness.compare import TechniqueComparison
from harness.errors import InvalidMeasurement, NotMeasured
from harness.records import Doubt, Record, WindowKind
from harness.report import formats as f
from harness.report.gather import Entry, Group
from harness.report.model import Cell, Column, Table
from harness.report.provenance import bounds_heading, bounds_note, label
from harness.report.words import quality_state

EMPTY = Cell(text=f.NOTHING)
PROVENANCE = Column(name="provenance", numeric=False)
"""Stands beside joules where not all joules of the run are known in one way."""


def inference_tables(group: Group, margin: float, *, several: bool) -> tuple[Table, ...]:
    """Return what inference costs in energy and quality, in time, memory and building, and by phase of generation."""
    if not group.entries:
        return ()
    where = f" on {group.result.name}" if several else ""
    return (
        _energy_table(group, margin, where),
        _time_table(group, where),
        *_phase_tables(group, where),
    )


def _energy_table(group: Group, margin: float, where: str) -> Table:
    totals = [entry.total for entry in group.entries if entry.total is not None]
    told = any(entry.known for entry in group.entries)
    result = group.result
    measures = measure_names(entry.record for entry in group.entries)
    family = sum(c.ratio is not None for c in result.comparisons)
    together = "s hold together" if family > 1 else " holds"
    notes = [
        (
            f"Energy of a typical block (20 % trimmed mean of logarithms), {result.confidence:.0%} interval; "
            f"{bounds_note(totals)} Provenance: {label(totals)}."
        ),
    ]
    if family:
        notes.append(
            f"Ratios are paired over interleaved blocks; {family} interval{together} "
            f"at {result.confidence:.0%} ({result.each_confidence:.2%} each)."
        )
    if result.comparisons:
        notes.append(
            f"{f.capital(group.metric)} differences are over the same test items; a loss up to {margin * 100:.1f} "
            "points is accepted."
        )
    return Table(
        key=f"inference-energy-{group.result.name}",
        title=f"Inference{where}: energy and quality",
        columns=(
            Column(name="technique", numeric=False),
            Column(name="energy a task"),
            Column(name=bounds_heading(totals), extra=True),
            *((PROVENANCE,) if told else ()),
            Column(name="ratio"),
            Column(name="verdict", numeric=False),
            Column(name=group.metric, extra=True),
            Column(name="difference (points)"),
            *measure_columns(measures),
        ),
        rows=tuple(
            (*_energy_row(entry, margin, group.metric, told=told), *measure_cells(entry.record, measures))
            for entry in group.entries
        ),
        notes=tuple(notes),
    )


def _energy_row(entry: Entry, margin: float, metric: str, *, told: bool) -> tuple[Cell, ...]:
    quality = entry.record.quality
    mine = Cell(text=f.percent(quality.value), detail=f.quality_of(quality)) if quality else EMPTY
    c = entry.comparison
    if c is None:
        compared = (Cell(text="1"), Cell(text="baseline"), mine, EMPTY)
    else:
        ratio = Cell(text=f.ratio(c.ratio.estimate), detail=f.span_of(c)) if c.ratio else EMPTY
        state = quality_state(c, margin)
        verdict = Cell(text=c.verdict.value, detail=f"{metric} {state}")
        difference = (
            Cell(text=f.signed(c.quality.value * 100), detail=f.difference_of(c.quality)) if c.quality else EMPTY
        )
        compared = (ratio, verdict, mine, difference)
    known = (known_cell(entry.known),) if told else ()
    return (Cell(text=entry.record.case.technique), *energy_cells(entry), *known, *compared)


def known_cell(known: str) -> Cell:
    """Return how joules are known: one word, or `mixed` and the shares below it."""
    word, _, shares = known.partition(": ")
    return Cell(text=word or f.NOTHING, detail=shares)


def energy_cells(entry: Entry) -> tuple[Cell, Cell]:
    """Return joules a task with their interval, and the model's bounds where joules are modelled."""
    energy, total = entry.energy, entry.total
    if total is None:
        return Cell(text="not measured", detail=entry.gap), EMPTY
    per_task_j = energy.estimate if energy is not None else total.energy_j
    shown = Cell(
        text=f.si(per_task_j, "J"),
        detail=f.si_range((energy.low, energy.high), "J") if energy is not None else "no interval: one block",
    )
    if not total.bounded:
        return shown, EMPTY
    scale = per_task_j / total.energy_j
    return shown, Cell(text=f.si_range((total.low_j * scale, total.high_j * scale), "J"))


def _time_table(group: Group, where: str) -> Table:
    rests = any(window.kind is WindowKind.IDLE for entry in group.entries for window in entry.record.windows)
    net = (Column(name="energy a task, net of idle"),) if rests else ()
    # Numbers of tokens have no distance; whether they are the same is what can be said of them.
    tokens = any(c.token_agreement is not None for c in group.result.comparisons)
    return Table(
        key=f"inference-time-{group.result.name}",
        title=f"Inference{where}: time, memory, building",
        columns=(
            Column(name="technique", numeric=False),
            Column(name="time a task"),
            Column(name="CPU time a task", extra=True),
            Column(name="peak memory"),
            Column(name="build"),
            Column(name="building paid back after"),
            Column(name="token agreement" if tokens else "largest output difference", extra=True),
            Column(name="blocks × forks"),
            Column(name="doubts", numeric=False, extra=True),
            *net,
        ),
        rows=tuple(_time_row(entry, tokens=tokens) + (_net(entry),) * len(net) for entry in group.entries),
        notes=(
            (
                "Building is everything spent before the first task (loading, exporting, quantising), mean over forks; "
                "it is paid back against the baseline's building."
            ),
            "Peak memory is that of the whole process.",
            *(("Token agreement is the share of the baseline's tokens that stand in the same place.",) * tokens),
        ),
    )


def _net(entry: Entry) -> Cell:
    net = or_nothing(lambda: f.si(stats.net_energy_per_task_j(entry.record), "J"))
    return Cell(text=net, detail=entry.known.partition(":")[0])


def _time_row(entry: Entry, *, tokens: bool) -> tuple[Cell, ...]:
    record, c = entry.record, entry.comparison
    time_ratio = f"× {f.ratio(c.time_ratio.estimate)} ({f.interval_of(c.time_ratio)})" if c and c.time_ratio else ""
    energy = entry.energy
    return (
        Cell(text=record.case.technique),
        Cell(text=or_nothing(lambda: f.si(stats.duration_per_task_s(record), "s")), detail=time_ratio),
        Cell(text=or_nothing(lambda: f.si(stats.cpu_per_task_s(record), "s"))),
        Cell(text=or_nothing(lambda: f"{stats.peak_memory_bytes(record) / 2**20:,.0f} MiB")),
        total_cell(lambda: stats.build_total(record), told=bool(entry.known)),
        Cell(text=f.payback(c.break_even) if c else f.NOTHING, detail=f.payback_range(c.break_even) if c else ""),
        _outputs_cell(c, tokens=tokens),
        Cell(text=f"{energy.n_blocks} in {energy.n_forks}" if energy else f.NOTHING),
        Cell(text=doubts_of(record)),
    )


def _outputs_cell(c: TechniqueComparison | None, *, tokens: bool) -> Cell:
    found = None if c is None else c.token_agreement if tokens else c.largest_output_difference
    if found is None:
        return EMPTY
    return Cell(text=f.percent(found) if tokens else f"{found:.1e}")


def total_cell(make: Callable[[], stats.Total], *, told: bool) -> Cell:
    """Return joules, with how they are known where that is to be told."""
    try:
        total = make()
    except NotMeasured:
        return EMPTY
    return Cell(text=f.si(total.energy_j, "J"), detail=total.label if told else "")


def doubts_of(record: Record) -> str:
    """Return a record's doubts with the share of its measured windows that carry each."""
    kinds = (WindowKind.RUN, WindowKind.PREFILL, WindowKind.TRAIN)
    windows = [window for window in record.windows if window.kind in kinds]
    shown = []
    for doubt in Doubt:
        carrying = sum(doubt in window.measured.doubts for window in windows)
        if doubt is Doubt.MODELLED:
            continue
        if carrying:
            shown.append(f"{doubt.value} {carrying / len(windows):.0%}")
        elif doubt in record.doubts:
            shown.append(doubt.value)
    return ", ".join(shown) or "none"


def measure_names(records: Iterable[Record]) -> tuple[str, ...]:
    """Return the names of what was found beside the quality."""
    return tuple(dict.fromkeys(name for record in records for name in record.measures))


def measure_columns(names: Sequence[str]) -> tuple[Column, ...]:
    """Return a column for each measure beside the quality."""
    return tuple(Column(name=name.replace("_", " "), extra=True) for name in names)


def measure_cells(record: Record, names: Sequence[str]) -> tuple[Cell, ...]:
    """Return a record's measures beside its quality."""
    return tuple(Cell(text=f.digits(record.measures[name])) if name in record.measures else EMPTY for name in names)


def _phase_tables(group: Group, where: str) -> tuple[Table, ...]:
    """Return what reading the prompt and decoding cost apart, where that was measured."""
    entries = [entry for entry in group.entries if stats.prefills(entry.record)]
    if not entries:
        return ()
    confidence = group.result.confidence
    table = Table(
        key=f"inference-phases-{group.result.name}",
        title=f"Inference{where}: prefill and decode",
        columns=(
            Column(name="technique", numeric=False),
            Column(name="prefill, energy a task"),
            Column(name="decode, energy a task"),
            Column(name="decode, energy a token"),
            Column(name="tokens decoded a task", extra=True),
        ),
        rows=tuple(_phase_row(entry, confidence) for entry in entries),
        notes=(
            (
                "Prefill reads the prompt and produces the first token, in windows of its own beside those of the "
                f"whole task. Decode is the task less its prefill, block by block, with {confidence:.0%} intervals. "
                "A token's share is over all tokens asked for but the first."
            ),
        ),
    )
    return (table,)


def _phase_row(entry: Entry, confidence: float) -> tuple[Cell, ...]:
    record = entry.record
    tokens = stats.decoded_tokens(record)
    return (
        Cell(text=record.case.technique, detail=entry.known.partition(":")[0]),
        _interval_cell(lambda: stats.prefill_interval(record, confidence)),
        _interval_cell(lambda: stats.decode_interval(record, confidence)),
        _interval_cell(lambda: stats.decode_interval(record, confidence), tokens) if tokens else EMPTY,
        Cell(text=f"{tokens:,}" if tokens else f.NOTHING),
    )


def _interval_cell(make: Callable[[], stats.Interval], share: int = 1) -> Cell:
    try:
        found = make()
    except (NotMeasured, InvalidMeasurement) as error:
        return Cell(text="not measured", detail=str(error))
    bounds = [side / share for side in (found.low, found.high)]
    return Cell(text=f.si(found.estimate / share, "J"), detail=f.si_range(bounds, "J"))


def or_nothing(make: object) -> str:
    """Return what `make()` gives, or a dash where it was not measured."""
    try:
        return str(make()) if callable(make) else f.NOTHING
    except NotMeasured:
        return f.NOTHING
