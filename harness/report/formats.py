"""Numbers for people: three significant digits, an SI prefix, a unit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from harness.compare import TechniqueComparison
from harness.records import Quality, Record, Trivial
from harness.stats import BreakEven, Difference, Interval, Payback

_PREFIXES = {-9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
NOTHING = "–"


def si(value: float, unit: str) -> str:
    """Return `0.0123, "J"` as `12.3 mJ`."""
    power = _power(value)
    return f"{digits(value / 10.0**power)} {_PREFIXES[power]}{unit}"


def joules(energy_j: float, known: str = "") -> str:
    """Return `12.3 mJ`, followed by how the joules are known if that is to be said: `12.3 mJ [modelled]`."""
    return f"{si(energy_j, 'J')} [{known}]" if known else si(energy_j, "J")


def si_range(values: Sequence[float], unit: str) -> str:
    """Return a low and a high with one prefix: `11.9–12.8 mJ`."""
    power = _power(max(values, key=abs))
    return "–".join(digits(value / 10.0**power) for value in values) + f" {_PREFIXES[power]}{unit}"


def tick(value: float, unit: str) -> str:
    """Return a round number for an axis, without needless zeros: `8 mJ`."""
    if value == 0:
        return "0"
    power = _power(value)
    return f"{value / 10.0**power:.3g} {_PREFIXES[power]}{unit}"


def digits(value: float, significant: int = 3) -> str:
    """Return a number with three significant digits and no exponent."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    decimals = significant - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    return f"{rounded:,.{max(0, decimals if abs(rounded) < 10.0 ** (significant - decimals) else decimals - 1)}f}"


def count(value: float) -> str:
    """Return a number of things: exact up to four digits, then three significant ones (`12,300`, `4.56 million`)."""
    if abs(value) < 10_000:
        return f"{value:,.0f}"
    for size, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if abs(value) >= size:
            return f"{digits(value / size)} {name}"
    return f"{float(f'{value:.3g}'):,.0f}"


def power_of_ten(value: int) -> str:
    """Return 1000000 as `1 million`."""
    for size, name in ((10**9, "billion"), (10**6, "million")):
        if value >= size:
            return f"{value // size:,} {name}"
    return f"{value:,}"


def percent(share: float, decimals: int = 1) -> str:
    """Return 0.123 as `12.3 %`."""
    return f"{share * 100:.{decimals}f} %"


def points(difference: float) -> str:
    """Return 0.0123 as `+1.2 points`."""
    return f"{signed(difference * 100)} points"


def signed(value: float) -> str:
    """Return a number with its sign, a true minus, and one decimal; zero has no sign."""
    text = f"{value:+.1f}".replace("-", "−")
    return "0.0" if text in ("+0.0", "−0.0") else text


def ratio(value: float) -> str:
    """Return a ratio with three decimals (two from 10 on)."""
    return f"{value:.3f}" if value < 10 else digits(value)


def interval_of(interval: Interval) -> str:
    """Return the bounds of a ratio."""
    return f"{ratio(interval.low)} to {ratio(interval.high)}"


def span_of(comparison: TechniqueComparison) -> str:
    """Return the bounds of a comparison's ratio, the error of the model in them where it does not cancel."""
    widest = comparison.widest
    if widest is None:
        return NOTHING
    return interval_of(widest) + (" with the model's error" if comparison.at_model_bounds else "")


def difference_of(difference: Difference) -> str:
    """Return the bounds of a paired difference of qualities, or that there is nothing to bound."""
    if difference.same_outputs:
        return "same outputs"
    return f"{signed(difference.low * 100)} to {signed(difference.high * 100)}"


def metric_of(qualities: Iterable[Quality | None]) -> str:
    """Return what the quality of cases on one workload is called: `accuracy`, `token accuracy`, else `quality`."""
    return next((quality.metric for quality in qualities if quality is not None), "quality")


def with_article(noun: str) -> str:
    """Return `an accuracy`, `a token accuracy`."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def capital(text: str) -> str:
    """Return the text with a capital at its beginning, and nothing else changed."""
    return text[:1].upper() + text[1:]


def quality_of(quality: Quality) -> str:
    """Return the bounds of a quality from 0 to 1."""
    return f"{quality.low * 100:.1f}–{quality.high * 100:.1f} %"


def quality_by_seed(records: Sequence[Record]) -> str:
    """Return the test quality of a training, the least and the greatest where it had several seeds."""
    values = [record.quality.value for record in records if record.quality is not None]
    if len(values) < 2:
        return percent(values[0]) if values else NOTHING
    return f"{min(values) * 100:.1f}–{max(values) * 100:.1f} %"


def trivial_of(record: Record, split: str, quality: Quality | None) -> Trivial | None:
    """Return what takes no model on a split, by the measure of a quality; None where that is not known."""
    if record.data is None or quality is None:
        return None
    known = (each for each in record.data.trivial if (each.split, each.metric) == (split, quality.metric))
    return next(known, None)


def change(value: float) -> str:
    """Return a ratio as a change in words: `45 % less`, `12 % more`."""
    shift = value - 1
    size = abs(shift) * 100
    shown = f"{size:.0f}" if size >= 10 else f"{size:.1f}"
    return f"{shown} % {'less' if shift < 0 else 'more'}"


def payback(paid: BreakEven | None) -> str:
    """Return when a one-off cost is paid back, in a few words."""
    if paid is None:
        return NOTHING
    if paid.payback is Payback.NEVER:
        return "never"
    if paid.payback is Payback.NOT_SHOWN or paid.tasks is None:
        return "not shown"
    if paid.payback is Payback.AT_ONCE:
        return "at once"
    tasks = math.ceil(paid.tasks)
    return "1 task" if tasks == 1 else f"{count(tasks)} tasks"


def payback_range(paid: BreakEven | None) -> str:
    """Return the interval of the number of tasks, where there is one."""
    if paid is None or paid.payback is not Payback.AFTER or paid.low is None or paid.high is None:
        return ""
    return f"{count(math.ceil(paid.low))} to {count(math.ceil(paid.high))}"


def listed(names: Sequence[str]) -> str:
    """Return `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _power(value: float) -> int:
    if value == 0 or not math.isfinite(value):
        return 0
    exponent = math.floor(math.log10(abs(float(f"{value:.3g}"))) / 3) * 3
    return min(12, max(-9, exponent))
