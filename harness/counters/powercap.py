"""RAPL zones of Linux powercap (`/sys/class/powercap/intel-rapl:*`, which also names AMD's).

Zones: `package-N` (on some hosts `package-N-die-M`), inside it `core`, `uncore` and, although it is not
part of the package's energy, `dram`; beside it `psys`, the platform, which contains the package. The
same package shows a second time as `intel-rapl-mmio`, which is therefore not read. On AMD the zone
`core` counts one core only.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from harness.counters.wrapping import Channel, Gap, close, rise_alike

_DOMAINS = {"dram": "dram", "core": "cpu-core", "uncore": "cpu-uncore", "psys": "psys"}
_INSIDE_PACKAGE = ("dram", "cpu-core", "cpu-uncore")
_MIRROR_UJ = 1_000_000
"""Two dies of one socket with sums since boot closer than this are suspected of being one counter."""


class Zone(NamedTuple):
    """One zone as its folder describes it."""

    folder: str
    name: str
    domain: str
    turn_uj: int

    @property
    def label(self) -> str:
        """`intel-rapl:0=package-0`."""
        return f"{os.path.basename(self.folder)}={self.name}"


def open_channels(root: str) -> tuple[list[Channel], list[Gap], frozenset[str]]:
    """Open the zones below `root`, which is `/sys` or a copy of it.

    Returns:
        The channels that can be read, each counter once; what cannot, with what to do; and the domains
        that are listed, readable or not.
    """
    zones, gaps = _find(f"{root}/class/powercap")
    channels, refused = _open(zones)
    channels, mirrors = _without_mirrors(channels)
    # A socket that cannot be read makes the sum over sockets a lie.
    torn = {domain for domain, _ in gaps + refused}
    kept = [channel for _, channel in channels if channel.domain not in torn]
    close([channel for _, channel in channels if channel.domain in torn])
    return kept, gaps + refused + mirrors, frozenset(zone.domain for zone in zones)


def _find(folder: str) -> tuple[list[Zone], list[Gap]]:
    zones: list[Zone] = []
    gaps: list[Gap] = []
    names = _names(folder)
    for name in sorted(names, key=lambda name: [int(part) for part in name.split(":")[1:]]):
        path = f"{folder}/{name}"
        # Without its name a zone may be any that can stand at its place; each of those is then in doubt.
        domains = ("cpu-package",) if name.count(":") == 1 else _INSIDE_PACKAGE
        try:
            label = _text(f"{path}/name")
            domain = "cpu-package" if label.startswith("package") else _DOMAINS.get(label, "")
            domains = (domain,) if domain else (name,)
            turn_uj = int(_text(f"{path}/max_energy_range_uj"))
        except (OSError, ValueError) as error:
            gaps += [(domain, f"{path} cannot be described: {error}") for domain in domains]
            continue
        if domain and turn_uj > 0:
            zones.append(Zone(path, label, domain, turn_uj))
        else:
            what = f"has a range of {turn_uj} µJ" if domain else f"is {label!r}, which joulebench does not know"
            gaps.append((domain or name, f"{path} {what}; not counted"))
    if not names:
        reason = f"no RAPL zones under {folder}: cloud guests and containers rarely expose them; use a bare-metal host"
        gaps.append(("cpu-package", reason))
    return zones, gaps


def _names(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    parts = {name: name.split(":") for name in names}
    return [name for name in names if parts[name][0] == "intel-rapl" and _numbers(parts[name][1:])]


def _numbers(parts: list[str]) -> bool:
    return bool(parts) and all(part.isdecimal() for part in parts)


def _open(zones: list[Zone]) -> tuple[list[tuple[Zone, Channel]], list[Gap]]:
    channels: list[tuple[Zone, Channel]] = []
    gaps: list[Gap] = []
    for zone in zones:
        path = f"{zone.folder}/energy_uj"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            reason = f"{path} may be read by root only (CVE-2020-8694); run `sudo chmod a+r {path}` or run as root"
            gaps.append((zone.domain, reason))
        except OSError as error:
            gaps.append((zone.domain, f"{path}: {error.strerror}"))
        else:
            channel = Channel(zone.label, zone.domain, zone.turn_uj, zone.turn_uj, _reader(fd), fd)
            channels.append((zone, channel))
    return channels, gaps


def _reader(fd: int) -> Callable[[], int]:
    pread = os.pread

    def read() -> int:
        return int(pread(fd, 32, 0))

    return read


def _without_mirrors(channels: list[tuple[Zone, Channel]]) -> tuple[list[tuple[Zone, Channel]], list[Gap]]:
    """Drop dies that repeat their socket's counter (AMD Zen 1 and 2: one counter, one zone a die)."""
    kept: list[tuple[Zone, Channel]] = []
    gaps: list[Gap] = []
    for zone, channel in channels:
        name = os.path.basename(zone.folder)
        package, die, _ = zone.name.partition("-die-")
        twins = [other for known, other in kept if die and known.name.startswith(f"{package}-die-")]
        if any(name.startswith(f"{mirror}:") for mirror, _ in gaps) or any(_mirrors(other, channel) for other in twins):
            os.close(channel.fd)
            gaps.append((name, f"{zone.label} mirrors another die's counter; counted once"))
        else:
            kept.append((zone, channel))
    return kept, gaps


def _mirrors(one: Channel, other: Channel) -> bool:
    try:
        near = abs(one.read() - other.read()) < _MIRROR_UJ
        # Chance alone brings two sums this near once in 100 000 boots, so counters at rest are taken for one.
        return near and rise_alike(one.read, other.read) is not False
    except (OSError, ValueError):
        return False


def _text(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()
