"""CPU time of the whole host, from `/proc/stat`, as the raw line.

The kernel counts in jiffies of 10 ms a core and makes the whole file anew for every read (8 µs on two
cores, more on many), so a line younger than one jiffy is given again: it could hardly have changed.
"""

from __future__ import annotations

import os
from time import perf_counter_ns

JIFFY_NS = 10_000_000


class HostReader:
    """A persistent descriptor of `/proc/stat`; reads give b"" where the file does not exist."""

    def __init__(self, proc: str = "/proc") -> None:
        self._fd = _opened(f"{proc}/stat")
        self._load_fd = _opened(f"{proc}/loadavg")
        self._line = b""
        self._stale_ns = 0

    def read(self) -> bytes:
        """Return the line of all cores together, at most one jiffy old."""
        now_ns = perf_counter_ns()
        if now_ns >= self._stale_ns:
            self._line = pread(self._fd, 512)
            self._stale_ns = now_ns + JIFFY_NS
        return self._line

    def load_1m(self) -> float | None:
        """Return the load average of the last minute."""
        text = pread(self._load_fd, 64)
        return float(text.split(b" ", 1)[0]) if text else None

    def close(self) -> None:
        """Close the descriptors."""
        for fd in (self._fd, self._load_fd):
            if fd is not None:
                os.close(fd)
        self._fd = self._load_fd = None


def jiffies_s(line: bytes) -> tuple[float, float] | None:
    """Return (busy, steal) CPU-seconds of the host since boot, summed over cores, or None for no such line.

    Busy is user + nice + system + irq + softirq; guest time is already inside user (proc_stat(5)).
    """
    fields = line.split(b"\n", 1)[0].split() if line else []
    if len(fields) < 9 or fields[0] != b"cpu":
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[1:9])
    tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) * tick_s, steal * tick_s


def pread(fd: int | None, n: int) -> bytes:
    """Return up to `n` bytes from the start of a file, b"" where that fails."""
    if fd is None:
        return b""
    try:
        return os.pread(fd, n, 0)
    except OSError:
        return b""


def _opened(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
