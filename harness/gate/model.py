"""The frozen data of the gate: what is gated, what was measured block by block, and what was decided.

Words: an *arm* is one version of the code (`base`, `head`), or the `control`, a fixed kernel that no
repository can change. A *slot* is one measured window of one arm. A *block* is one visit to both arms, in the
order ABBA or BAAB, with a control slot. A *fork* is a fresh pair of worker processes. A *stage* is `main`, or
`confirm`: fresh forks in swapped places, after the main stage found a regression. *Overtime* is evidence of the main
stage beyond what was planned.
"""

from __future__ import annotations

import math
from enum import StrEnum

from harness.records import Doubt, Frozen, MeterInfo, Provenance

SCHEMA = 1
"""Version of `gate.json` and `blocks.jsonl`. 1: first format (2026-11)."""


class Verdict(StrEnum):
    """What the gate says of one case, or of all of them."""

    PASS = "pass"  # noqa: S105 a verdict, no password
    REGRESSED = "regressed"
    IMPROVED = "improved"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"
    WORSE_QUALITY = "worse-quality"
    VANISHED = "vanished"
    NEW = "new"


class Stage(StrEnum):
    """Whether a block looks for a regression or confirms one."""

    MAIN = "main"
    CONFIRM = "confirm"


class Policy(Frozen, frozen=True, kw_only=True):
    """The promises of a gate. Effects are relative: 0.02 is 2 % more energy a task.

    `alpha` is the chance of any false alarm in a suite run whose code is unchanged. A regression is an adjusted
    p below it, an estimate of `min_effect` or more, and recurrence in each of `confirmations` fresh stages. A
    pass is an upper bound below `tolerance`. `blocks` is what is planned for a case in the main stage, over all
    `forks`; `looks` is how often the evidence is looked at on the way. Where time is left after that, what is
    undecided goes into *overtime*: as many blocks again in fresh forks, and a look. A control that drifts by more than
    `control_drift` keeps what is smaller, and changed with it, from being decided; a loss of quality beyond
    `quality_loss` (in the metric's unit) fails a case.
    """

    alpha: float = 0.01
    min_effect: float = 0.02
    tolerance: float = 0.03
    looks: int = 4
    forks: int = 8
    blocks: int = 160
    confirmations: int = 1
    control_drift: float = 0.05
    quality_loss: float = 0.0
    slot_s: float = 0.02

    @property
    def most_blocks(self) -> int:
        """`blocks`, rounded up so that every fork gets as many."""
        return math.ceil(self.blocks / self.forks) * self.forks

    def overtime(self, look: int) -> int:
        """Return how many overtimes had been played at this look: 0 for the planned ones."""
        return max(0, look - self.looks)


class Slot(Frozen, frozen=True, kw_only=True):
    """One measured window of one arm; `gap` says why `energy_j` is None."""

    arm: str
    tasks: int
    duration_s: float
    cpu_s: float
    energy_j: float | None = None
    gap: str | None = None
    provenance: Provenance | None = None
    checksum: str | None = None
    doubts: tuple[Doubt, ...] = ()


class Block(Frozen, frozen=True, kw_only=True):
    """One visit to both arms of a case. `void` says why it does not count (a wrong answer, a lost reading)."""

    case: str
    stage: Stage
    fork: int
    index: int
    order: str
    slots: tuple[Slot, ...]
    control: tuple[Slot, ...] = ()
    void: str | None = None


class Estimate(Frozen, frozen=True, kw_only=True):
    """How head compares with base: a relative change of energy a task with its interval, 0.041 being +4.1 %.

    `p_value` is one-sided for "head costs more", `p_adjusted` over all gated cases (Holm). `same_sign` of
    `forks` point the way of the estimate. `detectable` is the smallest change that this much evidence would
    have found with 95 % power; None where that cannot be told.
    """

    change: float
    low: float
    high: float
    confidence: float
    p_value: float
    p_adjusted: float
    forks: int
    same_sign: int
    blocks: int
    detectable: float | None


class Quality(Frozen, frozen=True, kw_only=True):
    """Head against base item by item; `difference` is head − base in the metric's unit, with its interval."""

    metric: str
    n: int
    base: float
    head: float
    difference: float
    low: float
    high: float
    worse: bool


class CaseResult(Frozen, frozen=True, kw_only=True):
    """What the gate says of one case and on what grounds; `reason` is one sentence for people.

    Joules are medians a task. `family` is over how many cases its p-values were adjusted. `confirmed` of
    `confirmations` stages found the regression again. `more_s` and `more_blocks` would likely settle it.
    `advisory` cases are reported and never fail the gate; `accepted` names the entry that accepts a known cost.
    """

    name: str
    verdict: Verdict
    reason: str
    estimate: Estimate | None = None
    base_j: float | None = None
    head_j: float | None = None
    base_s: float | None = None
    head_s: float | None = None
    look: int = 0
    looks: int = 0
    family: int = 0
    blocks_allowed: int = 0
    confirmed: int = 0
    confirmations: int = 0
    control_change: float | None = None
    provenance: Provenance | None = None
    meters: tuple[MeterInfo, ...] = ()
    quality: Quality | None = None
    doubts: tuple[Doubt, ...] = ()
    advisory: bool = False
    accepted: str | None = None
    more_s: float | None = None
    more_blocks: int | None = None


class Arm(Frozen, frozen=True, kw_only=True):
    """One version of the code: what was asked for, and what it was."""

    ref: str
    commit: str | None
    dirty: bool
    lock_sha256: str | None


class Calibration(Frozen, frozen=True, kw_only=True):
    """False alarms counted on this class of runner: `alarms` in `trials` comparisons of identical code."""

    alarms: int
    trials: int


class GateResult(Frozen, frozen=True, kw_only=True):
    """`gate.json`: everything that a run of the gate decided.

    `notes` are what else a reader should know: unlike dependencies, entries that expired or fit no case. Where
    `stored`, base is a run of another time: nothing was interleaved, and verdicts are trends without the promise of
    `alpha`. `asked` are the command's other arguments (configuration, cases, budget …), which repeat it.
    """

    schema: int = SCHEMA
    gate_id: str
    base: Arm
    head: Arm
    policy: Policy
    seed: int
    started_utc: str
    wall_s: float
    host_fingerprint: str
    code_version: str
    cases: tuple[CaseResult, ...]
    calibration: Calibration | None = None
    stored: bool = False
    strict: bool = False
    asked: tuple[str, ...] = ()
    exit_code: int
    exit_reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
