"""What the rest of the host did during a window, from `/proc/stat` and `/proc/loadavg`.

Both files stay open and are read in place. Where they do not exist the answer is None.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.records import Frozen, HostLoad

SHORTEST_S = 0.2
"""The kernel counts in jiffies of 10 ms a core; in a shorter window they are mostly rounding."""


class Jiffies(Frozen, frozen=True, kw_only=True):
    """CPU time of the whole host since boot, in seconds summed over cores."""

    busy_s: float
    steal_s: float


class HostReader:
    """Persistent descriptors of the two files."""

    def __init__(self, proc: Path = Path("/proc"), cores: int | None = None) -> None:
        self._stat_fd = _opened(proc / "stat")
        self._load_fd = _opened(proc / "loadavg")
        self._tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
        self._cores = cores or os.cpu_count()

    def read(self) -> Jiffies | None:
        """Return the host's CPU time, or None where it cannot be read.

        Busy is user + nice + system + irq + softirq; guest time is already inside user.
        """
        line = _pread(self._stat_fd, 512)
        fields = line.split(b"\n", 1)[0].split() if line else []
        if len(fields) < 9 or fields[0] != b"cpu":
            return None
        user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[1:9])
        return Jiffies(busy_s=(user + nice + system + irq + softirq) * self._tick_s, steal_s=steal * self._tick_s)

    def load(self, begin: Jiffies | None, end: Jiffies | None, *, duration_s: float, cpu_s: float) -> HostLoad:
        """Return the shares of the host's capacity that others used and the hypervisor took.

        Shares are None in windows shorter than `SHORTEST_S` and where `/proc/stat` is missing.
        Children that this process has not reaped yet count as others.
        """
        other = steal = None
        if begin is not None and end is not None and self._cores and duration_s >= SHORTEST_S:
            capacity_s = duration_s * self._cores
            other = min(max((end.busy_s - begin.busy_s - cpu_s) / capacity_s, 0.0), 1.0)
            steal = min(max((end.steal_s - begin.steal_s) / capacity_s, 0.0), 1.0)
        return HostLoad(busy_other_share=other, steal_share=steal, load_1m=self._load_1m())

    def close(self) -> None:
        """Close the descriptors."""
        for fd in (self._stat_fd, self._load_fd):
            if fd is not None:
                os.close(fd)
        self._stat_fd = self._load_fd = None

    def _load_1m(self) -> float | None:
        text = _pread(self._load_fd, 64)
        return float(text.split(b" ", 1)[0]) if text else None


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _pread(fd: int | None, n: int) -> bytes:
    if fd is None:
        return b""
    try:
        return os.pread(fd, n, 0)
    except OSError:
        return b""
