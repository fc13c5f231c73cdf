"""A whole gate: from the slots to one result a case.

Cases are measured side by side, cohort by cohort, looked at as often as the policy says, and leave when they are
decided (`stages.py`). A regression that was found is looked for again in fresh forks and exchanged places. What is
left of the budget then goes to the undecided cases (`overtime.py`).
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness.errors import IncomparableRecords, InvalidMeasurement, NotMeasured
from harness.gate import overtime
from harness.gate.arms import start_control
from harness.gate.cohorts import MAX_WORKERS, Lab
from harness.gate.control import TARGET
from harness.gate.forks import BASE, HEAD, Gated
from harness.gate.guarding import quality
from harness.gate.model import Block, CaseResult, Policy, Quality, Verdict
from harness.gate.slots import Built, Slots
from harness.gate.stages import Deciding, Gate, measure
from harness.gate.suites import SOURCE
from harness.gate.survey import TIMEOUT_S, Folders, survey
from harness.gate.targets import GateConfig, SuiteTarget, unmatched
from harness.gate.terms import expired_notes, result_without_blocks, terms_of
from harness.meters import open_meters
from harness.meters.seam import REFRESHES_FOR_1_PERCENT
from harness.meters.window import MeterWindow
from harness.schedule import Progress

REFRESHES = 20
"""A slot lasts so many refreshes of the coarsest billed meter, at the least."""

_WAITING_S = 10.0
"""However short the budget, a worker is waited for so long before it counts as hung."""


class Outcome(NamedTuple):
    """The results, worst and best alike in the order of the configuration, with notes for people."""

    results: tuple[CaseResult, ...]
    notes: tuple[str, ...]


class Asked(NamedTuple):
    """How a gate is to be run, beside what its configuration says.

    `config_name` is the configuration's file name, `matches` says which cases are wanted; without `overtime` what is
    left of the budget is not spent.
    """

    config_name: str
    budget_s: float
    seed: int
    folders: Folders
    keep: Callable[[Block], None]
    on_progress: Callable[[Progress], None]
    matches: Callable[[str], bool] = lambda _: True
    decide: Deciding = Deciding()
    overtime: bool = True


def run(config: GateConfig, slots: Slots, asked: Asked) -> Outcome:
    """Measure and judge every case of a configuration, within the budget.

    Raises: ConfigError: a target that neither arm has. UsageError: a meter cannot be used. WorkerFailed: the control
        died. NotMeasured: the refresh of a meter is not known.
    """
    deadline_s = time.monotonic() + asked.budget_s
    progress = _Progress(asked.on_progress, deadline_s)
    meters = open_meters(config.meters)
    try:
        found = survey(
            config,
            slots,
            meters,
            asked.folders,
            file_name=asked.config_name,
            matches=asked.matches,
            say=progress.say,
        )
        results = {case.name: case for case in found.settled}
        if found.cases:
            results |= _measured(config, slots, asked, found.cases, meters, progress, deadline_s)
    finally:
        meters.close()
    singles = [case.name for case in config.cases if not isinstance(case, SuiteTarget)]
    names = tuple({*results, *singles})
    strays = tuple(f"{what} fits no case; is it misspelt?" for what in unmatched(config, names))
    notes = (*slots.notes, *found.notes, *strays, *expired_notes(config))
    return Outcome(results=tuple(results.values()), notes=notes)


class _Progress:
    """Tells what happens now, with how many cases are done and how much of the budget is left."""

    def __init__(self, tell: Callable[[Progress], None], deadline_s: float) -> None:
        self.done = self.total = 0
        self._tell = tell
        self._deadline_s = deadline_s

    def say(self, text: str) -> None:
        left_s = max(0.0, self._deadline_s - time.monotonic())
        self._tell(Progress(text=text, done=self.done, total=self.total, left_s=left_s))


def _measured(
    config: GateConfig,
    slots: Slots,
    asked: Asked,
    cases: Sequence[Gated],
    meters: MeterWindow,
    progress: _Progress,
    deadline_s: float,
) -> dict[str, CaseResult]:
    slot_s = _slot_s(meters, config.policy)
    timeout_s = min(TIMEOUT_S, max(_WAITING_S, asked.budget_s))
    here = Built(place=SOURCE, root=SOURCE, python=Path(sys.executable))
    control = start_control(TARGET, here, log=asked.folders.logs / "control.log", meters=meters)
    try:
        control.ready(timeout_s)
        once_s = min(control.run(1, 0, timeout_s).slot.duration_s for _ in range(3))
        lab = Lab(
            slots=slots,
            policy=config.policy,
            control=control,
            control_repeats=max(1, math.ceil(slot_s / once_s)),
            logs=asked.folders.logs,
            seed=asked.seed,
            slot_s=slot_s,
            timeout_s=timeout_s,
            keep=asked.keep,
            say=progress.say,
            deadline_s=deadline_s,
        )
        terms = {case.name: terms_of(config, case.name) for case in cases}
        gate = Gate(lab=lab, policy=config.policy, terms=terms, decide=asked.decide, deadline_s=deadline_s)
        progress.total = len(cases)
        _spend(gate, cases, progress, with_overtime=asked.overtime)
    finally:
        control.close()
    return _concluded(config, gate, cases, meters)


def _spend(gate: Gate, cases: Sequence[Gated], progress: _Progress, *, with_overtime: bool) -> None:
    """Spend the budget: cohort by cohort on what was planned, and what is left on the undecided cases."""

    def count() -> None:
        progress.done = len(gate.decided.keys() | gate.lab.failed.keys())

    size = max(1, MAX_WORKERS // (2 * gate.policy.forks))
    for first in range(0, len(cases), size):
        if first and time.monotonic() >= gate.deadline_s:
            # Of the first cases faults are seen however short the budget; more workers would only overrun it.
            break
        cohort = cases[first : first + size]
        share = len(cohort) / (len(cases) - first)
        until_s = time.monotonic() + share * max(0.0, gate.deadline_s - time.monotonic())
        measure(gate, cohort, until_s)
        count()
    if with_overtime:
        overtime.spend(gate, cases, size, count)


def _slot_s(meters: MeterWindow, policy: Policy) -> float:
    """Return how long a slot must be for the meters' refresh and the policy, in seconds."""
    if not math.isfinite(meters.shortest_s):
        raise NotMeasured("the refresh of a meter is not known, so no slot is long enough; see `joulebench doctor`")
    return max(policy.slot_s, meters.shortest_s / REFRESHES_FOR_1_PERCENT * REFRESHES)


def _concluded(config: GateConfig, gate: Gate, cases: Sequence[Gated], meters: MeterWindow) -> dict[str, CaseResult]:
    lab = gate.lab
    names = [case.name for case in cases]
    unseen = [name for name in names if name not in gate.latest]
    if unseen:
        gate.look(1, {name: gate.share(name) for name in unseen})
    qualities, worthless = _qualities(gate, cases)
    infos = meters.infos()
    said = gate.decide.verdicts(
        gate.latest,
        {name: lab.blocks.get(name, []) for name in names},
        gate.policy,
        terms=gate.terms,
        recurrences=gate.recurrences,
        qualities=qualities,
        meters=dict.fromkeys(names, infos),
    )
    results = {result.name: result for result in said}
    for name, more_s in gate.missing_s().items():
        if results[name].verdict is Verdict.INCONCLUSIVE:
            results[name] = msgspec.structs.replace(results[name], more_s=more_s)
    for name, reason in {**worthless, **lab.failed}.items():
        results[name] = result_without_blocks(config, name, Verdict.INVALID, reason)
    return {name: results[name] for name in names}


def _qualities(gate: Gate, cases: Sequence[Gated]) -> tuple[dict[str, Quality], dict[str, str]]:
    """Return the quality of the cases that have item scores, and why that of a case cannot be told."""
    found: dict[str, Quality] = {}
    lost: dict[str, str] = {}
    scored = [case for case in cases if any(gate.lab.scores.get(case.name, {}).values())]
    for case in scored:
        base, head = (gate.lab.scores[case.name].get(arm, {}) for arm in (BASE, HEAD))
        items = sorted(base.keys() | head.keys())
        try:
            if base.keys() != head.keys():
                raise IncomparableRecords(f"base scored {len(base)} items and head {len(head)} of {len(items)}")  # noqa: TRY301
            found[case.name] = quality(
                [base[item] for item in items],
                [head[item] for item in items],
                gate.terms[case.name].policy.quality_loss,
                metric=case.metric,
                alpha=gate.policy.alpha,
                cases=len(scored),
            )
        except (IncomparableRecords, InvalidMeasurement, NotMeasured) as error:
            lost[case.name] = str(error)
    return found, lost
