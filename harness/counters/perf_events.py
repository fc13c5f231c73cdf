"""RAPL through Linux perf events: the `power` PMU, which needs no root where the administrator allows it.

The kernel adds up 64-bit counts in units of 2^-32 J from the moment of opening, so the value never turns
over. The register behind it still does: the kernel takes its rise as a signed 32-bit number, and by itself
only as often as is right up to 200 W a socket (`rapl_timer_ms` in arch/x86/events/rapl.c); above that it
loses half turns or counts backwards. Each reading makes it look, so here too a channel must be read in
time: its `span_uj` is half a turn in the finest unit found in the field.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from math import gcd
from typing import NamedTuple

from harness.counters.wrapping import Channel, Gap, close, rise_alike

if os.path.isdir("/sys/bus/event_source/devices/power"):
    import ctypes as _  # noqa: F401 takes 3 ms, which the first window should not

SPAN_UJ = 2**31 * 1_000_000 // 2**16
"""Half of the 32-bit register in units of 2^-16 J: 32.8 kJ. Coarser units only leave more room."""

PARANOID = "/proc/sys/kernel/perf_event_paranoid"
_SYSCALLS = {"x86_64": 298}
"""`perf_event_open` by machine; no other machine has this PMU."""
_CLOSE_ON_EXEC = 8
_ATTR_BYTES = 64
_DOMAINS = {
    "energy-pkg": "cpu-package",
    "energy-ram": "dram",
    "energy-cores": "cpu-core",
    "energy-gpu": "cpu-uncore",
    "energy-psys": "psys",
}


class Event(NamedTuple):
    """One energy event of the PMU; microjoules are `count * numerator // denominator`."""

    name: str
    domain: str
    config: int
    numerator: int
    denominator: int


class EnergyCount:
    """One energy event, open on one CPU: called, it gives whole microjoules since opening, rounded down."""

    __slots__ = ("_denominator", "_numerator", "cpu", "event", "fd", "kind")

    def __init__(self, fd: int, kind: int, cpu: int, event: Event) -> None:
        self.fd = fd
        self.kind = kind
        self.cpu = cpu
        self.event = event
        self._numerator = event.numerator
        self._denominator = event.denominator

    def __call__(self) -> int:
        """Return the microjoules. Raises: OSError: the kernel has taken the event off its CPU."""
        return raw_count(self.fd) * self._numerator // self._denominator

    def uj(self, count: int) -> int:
        """Return the microjoules of a count."""
        return count * self._numerator // self._denominator


class Pmu(NamedTuple):
    """What the `power` folder says: the number of the PMU and one CPU for each socket or die."""

    kind: int
    cpus: tuple[int, ...]
    events: tuple[Event, ...]


def open_channels(root: str) -> tuple[list[Channel], list[Gap]]:
    """Open the energy events below `root`, which is `/sys` or a copy of it.

    Returns:
        The channels, each counter once; and what cannot be counted this way, with what to do.
    """
    folder = f"{root}/bus/event_source/devices/power"
    if not os.path.isdir(folder):
        return [], [("cpu-package", f"this kernel has no {folder}")]
    machine = os.uname().machine
    if machine not in _SYSCALLS or sys.maxsize < 2**32:
        return [], [("cpu-package", f"perf_event_open is known for 64-bit {', '.join(_SYSCALLS)}, not for {machine}")]
    try:
        pmu, gaps = _describe(folder)
    except (OSError, ValueError) as error:
        return [], [("cpu-package", f"{folder} cannot be understood: {error}")]
    channels: list[tuple[int, Channel]] = []
    for event in pmu.events:
        opened, refused = _open(pmu, event, _SYSCALLS[machine])
        channels += opened
        gaps += refused
    return _without_mirrors(root, channels, gaps)


def exact_ratio(scale: str) -> tuple[int, int]:
    """Return microjoules per count as a fraction from a decimal number of joules, without rounding.

    Raises: ValueError: the text is not a positive decimal number.
    """
    digits, _, exponent = scale.lower().partition("e")
    whole, _, decimals = digits.partition(".")
    power = int(exponent or "0") - len(decimals) + 6
    numerator, denominator = int(whole + decimals) * 10 ** max(power, 0), 10 ** max(-power, 0)
    if numerator <= 0:
        raise ValueError(f"{scale!r} is not a scale")
    common = gcd(numerator, denominator)
    return numerator // common, denominator // common


def _describe(folder: str) -> tuple[Pmu, list[Gap]]:
    events: list[Event] = []
    gaps: list[Gap] = []
    listed = os.listdir(f"{folder}/events")
    for name, domain in _DOMAINS.items():
        if name not in listed:
            continue
        path = f"{folder}/events/{name}"
        try:
            unit = _text(f"{path}.unit")
            if unit != "Joules":
                gaps.append((domain, f"{path}.unit is {unit!r}, not Joules; not counted"))
                continue
            config = int(_text(path).removeprefix("event="), 16)
            events.append(Event(name, domain, config, *exact_ratio(_text(f"{path}.scale"))))
        except (OSError, ValueError) as error:
            gaps.append((domain, f"{path} cannot be understood: {error}"))
    if not events and not gaps:
        gaps.append(("cpu-package", f"{folder}/events lists no energy"))
    return Pmu(int(_text(f"{folder}/type")), _cpus(_text(f"{folder}/cpumask")), tuple(events)), gaps


def _open(pmu: Pmu, event: Event, syscall: int) -> tuple[list[tuple[int, Channel]], list[Gap]]:
    """Open the event on every CPU of the mask, or on none: a sum over some of the sockets is a lie."""
    channels: list[tuple[int, Channel]] = []
    for cpu in pmu.cpus:
        fd, error = _perf_event_open(syscall, pmu.kind, event.config, cpu)
        if fd < 0:
            close([channel for _, channel in channels])
            return [], [(event.domain, _refusal(event.name, cpu, error))]
        label = f"perf:cpu{cpu}={event.name}"
        count = EnergyCount(fd, pmu.kind, cpu, event)
        channels.append((cpu, Channel(label, event.domain, None, SPAN_UJ, count, fd)))
    return channels, []


def _perf_event_open(syscall: int, kind: int, config: int, cpu: int) -> tuple[int, int]:
    """Count an event of a whole CPU, all processes. Returns the descriptor, or -1 and the error number."""
    # type, size, config; the rest zero: no sampling, value alone, enabled, nothing excluded, not inherited.
    return _opened(syscall, struct.pack("=IIQ", kind, _ATTR_BYTES, config).ljust(_ATTR_BYTES, b"\0"), cpu, -1)


def open_event(attributes: bytes, cpu: int, leader: int = -1) -> tuple[int, int]:
    """Open an event of a whole CPU in the group of `leader`. Returns the descriptor, or -1 and the error number.

    Args:
        attributes: a `struct perf_event_attr` with its size in it.
        cpu: the CPU, all of whose processes count.
        leader: the descriptor of the group's leader, -1 for none.
    """
    return _opened(_SYSCALLS[os.uname().machine], attributes, cpu, leader)


def _opened(syscall: int, attributes: bytes, cpu: int, leader: int) -> tuple[int, int]:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(
        ctypes.c_long(syscall), ctypes.create_string_buffer(attributes, len(attributes)), ctypes.c_int(-1),
        ctypes.c_int(cpu), ctypes.c_int(leader), ctypes.c_ulong(_CLOSE_ON_EXEC),
    )  # fmt: skip
    return fd, ctypes.get_errno()


def _refusal(name: str, cpu: int, error: int) -> str:
    said = f"{name} on CPU {cpu} was refused ({os.strerror(error)})"
    if error not in {errno.EACCES, errno.EPERM}:
        return f"{said}; this kernel does not count it"
    try:
        paranoid = _text(PARANOID)
    except OSError:
        paranoid = "unknown"
    return (
        f"{said}: it needs CAP_PERFMON (Linux 5.8 or later) or kernel.perf_event_paranoid at 0 or below, here "
        f"{paranoid}; run `sudo sysctl kernel.perf_event_paranoid=0`, or `sudo setcap cap_perfmon=ep` on the real "
        "path of this Python, and in a container allow perf_event_open in its seccomp profile"
    )


def raw_count(fd: int) -> int:
    """Return the count of an event. Raises: OSError: the kernel has taken it off its CPU."""
    count = os.read(fd, 8)
    if len(count) != 8:
        raise OSError(errno.ENODEV, "the perf event is in error")
    return int.from_bytes(count, sys.byteorder)


def _without_mirrors(
    root: str, channels: list[tuple[int, Channel]], gaps: list[Gap]
) -> tuple[list[Channel], list[Gap]]:
    """Count a register once that several CPUs of one socket show (AMD dies, on older kernels).

    Counts begin at 0, so nothing but their rise can tell: it is watched, for a few milliseconds, only
    where the mask names two CPUs of a socket.
    """
    kept: list[tuple[int, Channel]] = []
    unsure: set[str] = set()
    for cpu, channel in channels:
        twins = [
            other for known, other in kept
            if other.domain == channel.domain and _package(root, known) == _package(root, cpu)
        ]  # fmt: skip
        alike = [_alike(other, channel) for other in twins]
        if None in alike:
            unsure.add(channel.domain)
        if True in alike:
            os.close(channel.fd)
            gaps.append((channel.label, f"{channel.label} rises with another die's counter; counted once"))
        else:
            kept.append((cpu, channel))
    reason = "several CPUs of one socket show it, and watching could not tell whether as one counter or as several"
    gaps += [(domain, reason) for domain in sorted(unsure)]
    close([channel for _, channel in kept if channel.domain in unsure])
    return [channel for _, channel in kept if channel.domain not in unsure], gaps


def _alike(one: Channel, other: Channel) -> bool | None:
    try:
        return rise_alike(one.read, other.read)
    except OSError:
        return None


def _package(root: str, cpu: int) -> str:
    try:
        return _text(f"{root}/devices/system/cpu/cpu{cpu}/topology/physical_package_id")
    except OSError:
        return "unknown"


def _cpus(mask: str) -> tuple[int, ...]:
    """Return the CPUs of a list such as `0,18-19`."""
    cpus: list[int] = []
    for part in mask.split(","):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return tuple(cpus)


def _text(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()
