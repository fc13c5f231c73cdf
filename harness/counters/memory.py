"""How much memory this process can still have, by the host and by every control group it is in."""

from __future__ import annotations

import re
from pathlib import Path

from harness.counters import groups

_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""By controller as `groups.folders` takes it: limit, use, and the part of the use that the kernel gives back first."""


def free_bytes(root: Path = Path("/")) -> int | None:
    """Return the memory that can be had without swapping and without being killed; None where the host does not say.

    A process is killed that takes more than its control group or one above it may, whatever the host has free.
    `root` is where `/proc` and `/sys` lie (tests give a tree of their own).
    """
    found = [_of_host(root)]
    for controller, files in _FILES.items():
        folders = groups.folders(str(root / "proc"), controller)
        found += [_of_group(root / folder.lstrip("/"), *files) for folder in folders]
    return min((each for each in found if each is not None), default=None)


def _of_host(root: Path) -> int | None:
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _of_group(folder: Path, limit_file: str, use_file: str, given_back: str) -> int | None:
    """Return what a group may still take; None where it has no limit ("max") or no memory controller."""
    limit, use = _text(folder / limit_file).strip(), _text(folder / use_file).strip()
    if not (limit.isdecimal() and use.isdecimal()):
        return None
    found = re.search(rf"^{given_back} (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
    return max(0, int(limit) - int(use) + (int(found[1]) if found else 0))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
