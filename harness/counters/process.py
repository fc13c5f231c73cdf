"""A control group (cgroup v2) that holds one case and nothing else, so that its CPU time is exact.

A process's own clock and that of its reaped children miss what still runs and what was orphaned; the
group's `cpu.stat` holds every process that was ever in it. It exists in every group but the root one,
whether or not the cpu controller is enabled. The group is ours only if we made it.
"""

from __future__ import annotations

import os

from harness.counters import groups
from harness.counters.load import pread

_NAME = "joulebench-"


class OwnGroup:
    """A control group that this process made and moved into."""

    def __init__(self, folder: str, parent: str, fd: int) -> None:
        self.folder = folder
        self._parent = parent
        self._fd = fd

    def read(self) -> bytes:
        """Return the group's `cpu.stat`, raw; b"" where it cannot be read."""
        return pread(self._fd, 256)

    def close(self) -> None:
        """Move back to where this process came from and remove the group unless something still runs in it."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        try:
            _write(f"{self._parent}/cgroup.procs", str(os.getpid()))
        except OSError:
            return
        _remove(self.folder)  # if a process of the case outlives it, a later case sweeps the empty folder away


def usage_s(stat: bytes) -> float | None:
    """Return the CPU-seconds a group has used, from its `cpu.stat`."""
    for line in stat.split(b"\n"):
        if line.startswith(b"usage_usec "):
            return int(line[11:]) / 1e6
    return None


def enter_own_group(proc: str = "/proc") -> tuple[OwnGroup | None, str]:
    """Make a control group below this process's own one and move into it.

    Returns:
        The group, or None and the reason: no cgroup v2, or one that this user may not write to.
    """
    mine = groups.folders(proc)
    if not mine:
        return None, "this host mounts no cgroup v2"
    parent = mine[0]
    _sweep(parent)
    folder = f"{parent}/{_NAME}{os.getpid()}"
    try:
        os.mkdir(folder)
    except OSError as error:
        return None, f"no control group of its own below {parent}: {error.strerror}"
    try:
        fd = os.open(f"{folder}/cpu.stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        _remove(folder)
        return None, f"{folder}/cpu.stat: {error.strerror}"
    try:
        _write(f"{folder}/cgroup.procs", str(os.getpid()))
    except OSError as error:
        os.close(fd)
        _remove(folder)
        return None, f"this process may not move into {folder}: {error.strerror}"
    return OwnGroup(folder, parent, fd), f"control group {folder}"


def _sweep(parent: str) -> None:
    """Remove groups that killed cases left behind; one whose maker lives is left alone, it may be about to move in."""
    try:
        names = [entry.name for entry in os.scandir(parent) if entry.name.startswith(_NAME)]
    except OSError:
        return
    for name in names:
        if not os.path.exists(f"/proc/{name.removeprefix(_NAME)}"):
            _remove(f"{parent}/{name}")


def _remove(folder: str) -> None:
    """Remove a group unless something still runs in it, or it is gone."""
    try:
        os.rmdir(folder)
    except OSError:
        return


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
