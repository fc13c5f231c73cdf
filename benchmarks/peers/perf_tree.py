"""A `power` PMU in plain files, as `/sys` describes it, whose events are the kernel's software clocks: 1 J a second."""

from pathlib import Path

_SOFTWARE = 1
"""PERF_TYPE_SOFTWARE, of which event 0 is a CPU clock in nanoseconds."""


def describe(root: str) -> str:
    """Write the files of a PMU with a package and a DRAM event on CPU 0 below `root`; return `root`."""
    folder = Path(root) / "bus" / "event_source" / "devices" / "power"
    (folder / "events").mkdir(parents=True)
    (folder / "type").write_text(f"{_SOFTWARE}\n")
    (folder / "cpumask").write_text("0\n")
    for event in ("energy-pkg", "energy-ram"):
        (folder / "events" / event).write_text("event=0x00\n")
        (folder / "events" / f"{event}.scale").write_text("1e-9\n")
        (folder / "events" / f"{event}.unit").write_text("Joules\n")
    return root
