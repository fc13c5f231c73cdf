"""What the gate finds about a case at a look, and again in fresh forks; and what holds for one case."""

from __future__ import annotations

from enum import StrEnum

from harness.gate.model import Estimate, Policy
from harness.records import Frozen


class Kind(StrEnum):
    """What a look says of a case; all but `go-on` and `contaminated` are decisions."""

    SUSPECTED = "suspected"
    IMPROVED = "improved"
    PASS = "pass"  # noqa: S105 a verdict, no password
    GO_ON = "go-on"
    CONTAMINATED = "contaminated"
    INVALID = "invalid"


UNDECIDED = frozenset({Kind.GO_ON, Kind.CONTAMINATED})


class Terms(Frozen, frozen=True, kw_only=True):
    """What holds for one case.

    Of its own `policy` only the effects count: alpha, looks and forks are those of the suite. The entry `accepted`
    allows an increase `up_to` (0.04 is 4 %).
    """

    policy: Policy
    advisory: bool = False
    accepted: str | None = None
    up_to: float = 0.0


class Finding(Frozen, frozen=True, kw_only=True):
    """What one look says of one case, in one sentence with its estimate.

    `family` is the number of cases that share the promise. `more_blocks` is how many more would likely decide it.
    `unsteady`: the control moved for sure.
    """

    case: str
    kind: Kind
    reason: str
    look: int
    family: int
    estimate: Estimate | None = None
    control_change: float | None = None
    unsteady: bool = False
    more_blocks: int | None = None


class Recurrence(Frozen, frozen=True, kw_only=True):
    """Whether a stage of fresh forks found a regression again; `fault` says why its readings cannot be used."""

    again: bool
    reason: str
    estimate: Estimate | None = None
    fault: str | None = None
