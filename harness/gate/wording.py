"""How the outputs of the gate write numbers and name things, the same way in each of them."""

from __future__ import annotations

import math
import shlex

from harness.gate.exits import Exit, case_exit, is_accepted
from harness.gate.model import CaseResult, GateResult, Verdict
from harness.records import Provenance

UNKNOWN = "?"

_WORDS = {
    Verdict.PASS: "PASS",
    Verdict.REGRESSED: "FAIL",
    Verdict.IMPROVED: "IMPROVED",
    Verdict.INCONCLUSIVE: "INCONCLUSIVE",
    Verdict.INVALID: "INVALID",
    Verdict.WORSE_QUALITY: "WORSE-QUALITY",
    Verdict.VANISHED: "VANISHED",
    Verdict.NEW: "NEW",
}
ORDER = (
    Verdict.INVALID,
    Verdict.VANISHED,
    Verdict.WORSE_QUALITY,
    Verdict.REGRESSED,
    Verdict.INCONCLUSIVE,
    Verdict.NEW,
    Verdict.IMPROVED,
    Verdict.PASS,
)
"""Verdicts, the worst first."""

_UNITS = ((1e6, "MJ"), (1e3, "kJ"), (1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ"))


def word(case: CaseResult) -> str:
    """Return the verdict in one word: `FAIL` fails, `WARN` is advisory, `ACCEPTED` was accepted by an entry."""
    if case.verdict in (Verdict.PASS, Verdict.IMPROVED):
        return _WORDS[case.verdict]
    if case.advisory:
        return "WARN"
    return "ACCEPTED" if is_accepted(case) else _WORDS[case.verdict]


def worst_first(result: GateResult) -> list[tuple[int, CaseResult]]:
    """Return the cases with their numbers: what fails the gate first, then by verdict, then the costliest."""

    def rank(entry: tuple[int, CaseResult]) -> tuple[bool, int, float, int]:
        number, case = entry
        passes = case_exit(case, strict=result.strict) is Exit.PASS
        change = case.estimate.change if case.estimate is not None else 0.0
        return passes, ORDER.index(case.verdict), -change, number

    return sorted(enumerate(result.cases, start=1), key=rank)


def percent(share: float, decimals: int = 1) -> str:
    """Return 0.0412 as `+4.1%`; a minus is the ASCII one, so that logs can be searched."""
    text = f"{share * 100:+.{decimals}f}"
    return f"{text.lstrip('+-') if float(text) == 0 else text}%"


def joules(energy_j: float) -> str:
    """Return joules with three digits: `412 mJ`."""
    size = abs(energy_j)
    if size == 0 or not math.isfinite(size):
        return f"{energy_j:g} J"
    scale, unit = next((each for each in _UNITS if size >= each[0] * 0.9995), _UNITS[-1])
    return f"{_three_digits(energy_j / scale)} {unit}"


def seconds(duration_s: float) -> str:
    """Return a time with three digits: `12.3 ms`, `41.0 s`."""
    if duration_s and abs(duration_s) < 1:
        return f"{_three_digits(duration_s * 1e3)} ms" if abs(duration_s) >= 1e-3 else f"{duration_s * 1e6:.3g} µs"
    return f"{_three_digits(duration_s)} s"


def wall(duration_s: float) -> str:
    """Return a wall time: `48s`, `9m41s`, `1h02m`."""
    whole = round(duration_s)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def more_s(case: CaseResult) -> float | None:
    """Return the seconds that would settle an inconclusive case; None where that is not known, or time is not it."""
    if case.verdict is not Verdict.INCONCLUSIVE or case.more_s is None or case.more_s < 0.5:
        return None
    return case.more_s


def p_value(p: float) -> str:
    """Return a p-value with two digits, never as 0."""
    return f"{p:.2g}" if p >= 1e-9 else "<1e-9"


def metric(case: CaseResult) -> str:
    """Return what was compared. Modelled joules are CPU-seconds × watts, so their change is one of CPU time."""
    return "cpu_time_per_task" if case.provenance is Provenance.MODELLED else "energy_per_task"


def source(case: CaseResult) -> str:
    """Return what measured the case and how its joules are known: `rapl(counter)`, `modelled(cpu-time × W)`."""
    if case.provenance is None:
        return "none"
    if case.provenance is Provenance.MODELLED:
        return "modelled(cpu-time×watts,no-counter)"
    if case.provenance is Provenance.FAKE:
        return "fake(not-a-measurement)"
    names = "+".join(dict.fromkeys(meter.name for meter in case.meters if meter.provenance is case.provenance))
    return f"{names or 'meter'}({case.provenance.value})"


def false_alarms(result: GateResult) -> str:
    """Return the A/A count of this class of runner, as counted by `joulebench calibrate`."""
    counted = result.calibration
    return "none yet" if counted is None or counted.trials == 0 else f"{counted.alarms}/{counted.trials}"


def family(result: GateResult, case: CaseResult) -> int:
    """Return over how many cases the p-values of this one were adjusted: advisory cases are a family of their own.

    Where nothing was looked at block by block (a stored base), all cases that both sides have were compared.
    """
    if case.family:
        return case.family
    there = (other for other in result.cases if other.verdict not in (Verdict.VANISHED, Verdict.NEW))
    return sum(other.advisory is case.advisory for other in there)


def scored(result: GateResult) -> bool:
    """Say whether any case has item scores: calling quality worse is a promise of its own, at alpha again."""
    return any(case.quality is not None for case in result.cases)


def reproduce(result: GateResult) -> str:
    """Return the command that repeats this gate: in a work tree at the head commit, or beside the stored runs."""
    if result.stored:
        return f"joulebench gate --baseline RESULTS --run RESULTS/{result.host_fingerprint[:8]}/{result.head.ref}"
    base = ["--base", result.base.commit or result.base.ref, "--seed", str(result.seed)]
    return shlex.join(["joulebench", "gate", *result.asked, *base, *(["--strict"] if result.strict else [])])


def _three_digits(value: float) -> str:
    size = abs(value)
    decimals = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{value:.{decimals}f}"
