"""What the rest of the host did during a window, from two raw lines of `/proc/stat`."""

from __future__ import annotations

import os

from harness.counters.edges import Span
from harness.counters.load import jiffies_s
from harness.records import HostLoad

SHORTEST_S = 0.2
"""The kernel counts in jiffies of 10 ms a core; in a shorter window they are mostly rounding."""


def busy_s(span: Span) -> float | None:
    """Return the CPU-seconds that all processes of the host used; None where jiffies cannot say."""
    begin, end = jiffies_s(span.begin.stat), jiffies_s(span.end.stat)
    if begin is None or end is None or span.duration_s < SHORTEST_S:
        return None
    return end[0] - begin[0]


def host_load(span: Span, *, load_1m: float | None, cores: int | None = None) -> HostLoad:
    """Return the shares of the host's capacity that others used and the hypervisor took.

    Shares are None in windows shorter than `SHORTEST_S` and where `/proc/stat` is missing. Children that
    this process has not reaped yet count as others, unless the case has a control group of its own.
    """
    other = steal = None
    begin, end = jiffies_s(span.begin.stat), jiffies_s(span.end.stat)
    cores = cores or span.cores or os.cpu_count()
    if begin is not None and end is not None and cores and span.duration_s >= SHORTEST_S:
        capacity_s = span.duration_s * cores
        other = min(max((end[0] - begin[0] - span.cpu_s) / capacity_s, 0.0), 1.0)
        steal = min(max((end[1] - begin[1]) / capacity_s, 0.0), 1.0)
    return HostLoad(busy_other_share=other, steal_share=steal, load_1m=load_1m)
