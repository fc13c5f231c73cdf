"""What the report says about inference: which technique to use, what saved, what did not."""

from __future__ import annotations

from collections.abc import Sequence

from harness.compare import TechniqueComparison, Verdict
from harness.report import formats as f
from harness.report.gather import Entry, Group
from harness.report.model import Kind, Sentence
from harness.stats import Difference, Interval, Payback, items_to_resolve, pooled


def quality_state(comparison: TechniqueComparison, margin: float) -> str:
    """Return `not worse`, `unresolved`, `worse` or `unknown` for a difference of quality against the margin."""
    difference = comparison.quality
    if difference is None:
        return "unknown"
    if difference.low >= -margin:
        return "not worse"
    return "worse" if difference.high < -margin else "unresolved"


def recommended(group: Group, margin: float) -> Entry | None:
    """Return the technique shown to save most among those not shown worse, or None: keep the baseline."""
    good = [
        entry
        for entry in group.entries
        if entry.comparison is not None
        and entry.comparison.verdict is Verdict.SAVES
        and quality_state(entry.comparison, margin) == "not worse"
    ]
    return min(good, key=_ratio, default=None)


def alone(group: Group) -> bool:
    """Return whether the baseline was measured and nothing that it could be compared with."""
    measured = group.baseline is not None and group.baseline.energy is not None
    return measured and all(entry.comparison is None for entry in group.entries)


def alone_sentence(groups: Sequence[Group]) -> Sentence:
    """Return what is to be said about several groups of a baseline alone."""
    names = [group.result.name for group in groups]
    where = f"{', '.join(names[:-1])} and {names[-1]}"
    text = f"On {where} only the baseline of inference ran, so there is nothing to compare it with."
    return Sentence(kind=Kind.UNCOMPARED, text=text)


def group_sentences(group: Group, margin: float, *, several: bool) -> list[Sentence]:
    """Return what is to be said about one group; `several` groups are told apart by name."""
    where = f"On {group.result.name}: " if several else ""
    baseline = group.baseline
    if baseline is None or baseline.energy is None:
        why = baseline.gap if baseline is not None else _no_baseline(group)
        text = f"{where}no technique can be recommended: {why}."
        return [Sentence(kind=Kind.RECOMMEND, text=_capital(text))]
    rivals = [(entry, entry.comparison) for entry in group.entries if entry.comparison is not None]
    if alone(group):
        text = f"{where}only the baseline {baseline.record.case.technique} ran, so there is nothing to compare it with."
        return [Sentence(kind=Kind.UNCOMPARED, text=_capital(text))]
    best = recommended(group, margin)
    sentences = [_recommendation(best, baseline, baseline.energy, group, margin, where)]
    sentences += _cheaper_but_unsettled(rivals, best, margin, group.metric, where)
    sentences += _costs_and_undecided(rivals, where)
    sentences += [
        _payback(entry, c, where) for entry, c in rivals if c.verdict is Verdict.SAVES and c.break_even is not None
    ]
    return sentences


def _recommendation(
    best: Entry | None, baseline: Entry, base_energy: Interval, group: Group, margin: float, where: str
) -> Sentence:
    base = baseline.record.case.technique
    if best is None or best.comparison is None or best.comparison.ratio is None or best.comparison.quality is None:
        text = (
            f"{where}keep {base} ({f.joules(base_energy.estimate, baseline.known)} a task): no technique was shown to "
            f"draw less at {f.with_article(group.metric)} that is not worse by more than {f.percent(margin)[:-2]} "
            "points."
        )
        return Sentence(kind=Kind.RECOMMEND, text=_capital(text))
    c, ratio, quality = best.comparison, best.comparison.ratio, best.comparison.quality
    known = baseline.known
    alike = best.known == baseline.known
    mine = best.energy.estimate if best.energy is not None else base_energy.estimate * ratio.estimate
    text = (
        f"{where}use {c.technique}: it draws {f.change(ratio.estimate)} energy a task than {base}, about "
        f"{f.joules(mine, '' if alike else best.known)} instead of "
        f"{f.joules(base_energy.estimate, f'both {known}' if alike and known else known)} "
        f"(ratio {f.ratio(ratio.estimate)}, {_confidence(group)} interval {f.span_of(c)}), "
        f"{_quality(c, quality, margin, group.metric)}."
    )
    return Sentence(kind=Kind.RECOMMEND, text=_capital(text))


def _quality(c: TechniqueComparison, quality: Difference, margin: float, metric: str) -> str:
    """Say why the quality does not stand in the way."""
    if quality.same_outputs:
        return f"and {_same(c, quality)}"
    return (
        f"and its {metric} is not shown worse: {f.points(quality.value)} on {quality.n:,} test items "
        f"(interval {f.difference_of(quality)}; a loss up to {margin * 100:.1f} points is accepted)"
    )


def _same(c: TechniqueComparison, quality: Difference) -> str:
    return (
        f"its outputs are the same as {c.baseline}'s (largest difference {c.largest_output_difference:.1g} "
        f"on {quality.n:,} test items)"
    )


def _cheaper_but_unsettled(
    rivals: Sequence[tuple[Entry, TechniqueComparison]], best: Entry | None, margin: float, metric: str, where: str
) -> list[Sentence]:
    """Name the techniques that save, but whose quality stands in the way."""
    sentences = []
    for entry, c in rivals:
        if entry is best or c.verdict is not Verdict.SAVES or c.ratio is None:
            continue
        saved = f"{where}{c.technique} draws {f.change(c.ratio.estimate)} than {c.baseline} ({f.span_of(c)})"
        state, quality = quality_state(c, margin), c.quality
        if quality is None:
            text = f"{saved}, but its {metric} was not measured."
        elif quality.same_outputs:
            text = f"{saved}, and {_same(c, quality)}."
        elif state == "unresolved":
            shown = f"{f.points(quality.value)} (interval {f.difference_of(quality)})"
            text = f"{saved}, but its {metric} is not settled: {shown}. {_how_many(c, margin)}"
        elif state == "worse":
            text = (
                f"{saved}, but at the price of {metric}: {f.points(quality.value)} (interval "
                f"{f.difference_of(quality)}), a loss beyond the accepted {margin * 100:.1f} points."
            )
        else:
            shown = f"({f.points(quality.value)}, {f.difference_of(quality)})"
            text = f"{saved}, at {f.with_article(metric)} not shown worse {shown}."
        sentences.append(Sentence(kind=Kind.SAVES if state == "not worse" else Kind.UNDECIDED, text=_capital(text)))
    return sentences


def _how_many(c: TechniqueComparison, margin: float) -> str:
    if c.quality is None:
        return ""
    needed = items_to_resolve(c.quality, margin)
    if needed is None:
        return f"The loss seen is itself beyond the accepted {margin * 100:.1f} points."
    return f"About {f.count(needed)} test items would settle it at the rates seen ({c.quality.n:,} were used)."


def _costs_and_undecided(rivals: Sequence[tuple[Entry, TechniqueComparison]], where: str) -> list[Sentence]:
    sentences = []
    for _, c in rivals:
        if c.verdict is Verdict.COSTS_MORE and c.ratio is not None:
            text = (
                f"{where}{c.technique} saved nothing: it draws {f.change(c.ratio.estimate)} than {c.baseline} "
                f"(ratio {f.ratio(c.ratio.estimate)}, {f.span_of(c)})."
            )
            sentences.append(Sentence(kind=Kind.COSTS, text=_capital(text)))
        elif c.verdict is Verdict.NO_DIFFERENCE_SHOWN and c.ratio is not None:
            text = (
                f"{where}{c.technique} showed no saving: its ratio to {c.baseline} is {f.ratio(c.ratio.estimate)}, and "
                f"the interval {f.span_of(c)} contains 1."
            )
            sentences.append(Sentence(kind=Kind.UNDECIDED, text=_capital(text)))
        elif c.verdict is Verdict.NOT_MEASURED:
            text = f"{where}{c.technique} could not be compared: {c.reason}."
            sentences.append(Sentence(kind=Kind.UNDECIDED, text=_capital(text)))
    return sentences


def _payback(entry: Entry, c: TechniqueComparison, where: str) -> Sentence:
    paid = c.break_even
    extra = ""
    if c.build is not None and c.baseline_build is not None:
        known = pooled((c.build, c.baseline_build)).label if entry.known else ""
        extra = f.joules(c.build.energy_j - c.baseline_build.energy_j, known)
    if paid is None or paid.payback is Payback.AT_ONCE:
        text = f"{where}building {c.technique} costs no more than building {c.baseline}: it saves from the first task."
    elif paid.payback is Payback.AFTER:
        text = (
            f"{where}building {c.technique} costs {extra} more than building {c.baseline}, "
            f"paid back after {f.payback(paid)} ({f.payback_range(paid)})."
        )
    else:
        text = f"{where}building {c.technique} costs {extra} more; that it is paid back is not shown."
    return Sentence(kind=Kind.PAYBACK, text=_capital(text))


def _confidence(group: Group) -> str:
    level = f"{group.result.confidence * 100:.0f} %"
    return level if len(group.result.comparisons) < 2 else f"family-wise {level}"


def _no_baseline(group: Group) -> str:
    reasons = [c.reason for c in group.result.comparisons if c.reason]
    return reasons[0] if reasons else "the baseline left no measurement"


def _ratio(entry: Entry) -> float:
    comparison = entry.comparison
    return comparison.ratio.estimate if comparison is not None and comparison.ratio is not None else float("inf")


def _capital(text: str) -> str:
    """Begin with a capital, unless the text begins with the name of a technique."""
    first = text.split(" ", 1)[0]
    return text if "_" in first else f.capital(text)
