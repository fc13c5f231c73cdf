"""After how many tasks a one-off cost has paid for itself."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from harness.records import Frozen


class Payback(StrEnum):
    """Whether a one-off cost comes back."""

    AT_ONCE = "at once"
    AFTER = "after"
    NOT_SHOWN = "not shown"
    NEVER = "never"


class BreakEven(Frozen, frozen=True, kw_only=True):
    """Number of tasks after which the extra one-off joules are saved again, with its interval.

    `tasks` is None if it never happens or nothing was shown; `high` is None where the interval has no upper end.
    """

    payback: Payback
    tasks: float | None = None
    low: float | None = None
    high: float | None = None


def break_even(extra_j: float, saving_per_task_j: float, saving_low_j: float, saving_high_j: float) -> BreakEven:
    """Return N* = extra / saving per task.

    The interval comes from the interval of the saving; both come from the same meters, so a modelled
    meter's error of scale cancels. A saving whose interval contains zero is not shown, one that is
    wholly negative never pays. Nothing extra to pay back: it pays at once if it saves.
    """
    if saving_high_j <= 0:
        return BreakEven(payback=Payback.NEVER)
    if saving_low_j <= 0:
        return BreakEven(payback=Payback.NOT_SHOWN, low=max(0.0, extra_j) / saving_high_j)
    if extra_j <= 0:
        return BreakEven(payback=Payback.AT_ONCE, tasks=0.0, low=0.0, high=0.0)
    return BreakEven(
        payback=Payback.AFTER,
        tasks=extra_j / saving_per_task_j,
        low=extra_j / saving_high_j,
        high=extra_j / saving_low_j,
    )


def widest(paid: Sequence[BreakEven]) -> BreakEven:
    """Return the first break-even with an interval that holds all of them; if they do not agree, none is shown."""
    first = paid[0]
    lows = [each.low for each in paid if each.low is not None]
    if any(each.payback is not first.payback for each in paid):
        return BreakEven(payback=Payback.NOT_SHOWN, low=min(lows, default=None))
    if first.payback is not Payback.AFTER:
        return first
    highs = [each.high for each in paid if each.high is not None]
    return BreakEven(
        payback=Payback.AFTER, tasks=first.tasks, low=min(lows, default=None), high=max(highs, default=None)
    )
