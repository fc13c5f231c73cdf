"""The share of one case in a counter that sees the whole host, by CPU time.

A package counter counts every process on the socket. What the kernel knows of each of them exactly is
CPU time, so the case is given the share `cpu_s / busy_s`: its own CPU-seconds over those of all processes
of the host in the same window. CPU time is the only key that every host, guest and container has. It
cannot see that a CPU-second at a higher clock, with wider vectors or on a core of its own draws more than
one that waits for memory or shares its core with a sibling thread: neighbours of another kind of work
are billed as if they were of the same kind.

What is shared is the *gross* energy, the idle of the node included: a case alone on its host carries all
of it, as Kepler and Scaphandre found when they tried to take it out by utilisation (Kepler issue 2465: idle
falls to zero at full load). Net of idle comes from idle windows, not from here.

Shares never exceed the node: a share is at most 1, and those of several processes sum to at most 1 as
long as `busy_s` is not below the sum of their CPU-seconds. By rounding it can be, by as much as jiffies
do not resolve; the low ends of the intervals still sum to at most the node then.
"""

from __future__ import annotations

from harness.records import Energy, Missing, Provenance

JIFFY_S = 0.01
"""The kernel counts the host's CPU time in steps of 10 ms on each core (`USER_HZ` is 100)."""

ATTRIBUTABLE = frozenset({"cpu-package", "dram"})
"""Domains whose energy follows CPU time; a GPU's does not, and a wall's only in part."""


def resolution_s(cores: int) -> float:
    """Return by how much the host's busy CPU-seconds can be out: two jiffies on each core.

    One is the rounding of the count; the other is the age that a line of `/proc/stat` may have when it
    is used (`counters.load` reads it once a jiffy).
    """
    return 2 * JIFFY_S * cores


def attributed(energy: Energy, *, cpu_s: float, busy_s: float | None, cores: int) -> Energy | Missing:
    """Return the case's share of a counter's energy over the same window, or why there is none.

    E · cpu_s / max(busy_s, cpu_s). The interval holds the resolution of `busy_s` and the counter's own low and
    high; it is None where the counter's is. The result is not billed: the window bills it where the suite
    asks for `attributed` instead of the counter.

    Args:
        energy: what the counter of the whole host counted, in joules.
        cpu_s: CPU-seconds of the case.
        busy_s: CPU-seconds of all processes of the host, the case included; None where the kernel does not say
            or the window was too short for it.
        cores: logical cores of the host, of which each may be out by its jiffies.
    """
    domain = f"{energy.domain}-share"
    refused = _refused(energy, cpu_s, busy_s, cores)
    if refused is not None or busy_s is None:
        return Missing(domain=domain, reason=refused or "")
    error_s = resolution_s(cores)
    node_s = max(busy_s, cpu_s)
    low, high = cpu_s / (node_s + error_s), min(1.0, cpu_s / max(busy_s - error_s, cpu_s)) if cpu_s else 0.0
    return Energy(
        domain=domain,
        energy_j=energy.energy_j * (cpu_s / node_s),
        low_j=None if energy.low_j is None else energy.low_j * low,
        high_j=None if energy.high_j is None else energy.high_j * high,
        provenance=Provenance.ATTRIBUTED,
        boundary=f"share by CPU time, idle of the node included, of: {energy.boundary}",
        meter="attributed",
        billed=False,
    )


def _refused(energy: Energy, cpu_s: float, busy_s: float | None, cores: int) -> str | None:
    if energy.domain not in ATTRIBUTABLE:
        return f"the energy of {energy.domain} does not follow CPU time, so no share of it can be told"
    if busy_s is None:
        return (
            "the CPU time of the host is not known for this window: it was too short for the kernel's 10 ms jiffies "
            "(put more tasks into one window), or there is no /proc/stat"
        )
    if max(busy_s, cpu_s) <= resolution_s(cores):
        return (
            f"all processes of the host used {busy_s:.3g} CPU-seconds, of which jiffies on {cores} cores resolve "
            f"{resolution_s(cores):.3g}; put more tasks into one window"
        )
    return None
