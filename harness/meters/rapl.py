"""RAPL counters of CPU packages and DRAM, through Linux powercap.

Domains: `cpu-package` (sum over sockets) and `dram` are billed. Cores and uncore lie inside the
package, psys contains it: they are kept for the record and not billed. DRAM is not inside the
package. The package counts every process on the socket, not this one alone.

A 32-bit counter turns over within minutes at full power, so a daemon thread reads every zone at a
quarter of the shortest time a turn can take, under the same lock as the windows' own reads.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from harness.meters.counter import WrappingCounter
from harness.meters.seam import REFRESHES_FOR_1_PERCENT, watch_refresh
from harness.records import Doubt, Energy, Frozen, MeterInfo, Missing, Provenance
from harness.units import j_from_uj

ROOT = Path("/sys/class/powercap")
CEILING_W = 1000.0
"""No socket sold draws this much for long (2026: 500 W design power, about 760 W peak limit)."""

_BOUNDARY = {
    "cpu-package": "CPU packages: cores, caches, memory controllers; every process on them; no DRAM",
    "dram": "DRAM of the sockets; every process; not inside the package",
    "cpu-core": "cores; inside the package",
    "cpu-uncore": "uncore or integrated GPU; inside the package",
    "psys": "platform; contains the package",
}
_BILLED = frozenset({"cpu-package", "dram"})

Mark = tuple[tuple[int, int], ...]
"""For each zone: microjoules so far, faults so far."""


class Zone(Frozen, frozen=True, kw_only=True):
    """One powercap zone as its folder describes it."""

    folder: Path
    label: str
    domain: str
    turn_uj: int


class RaplMeter:
    """The zones of one host behind persistent descriptors. Open with `open_rapl`."""

    name = "rapl"
    doubts: tuple[Doubt, ...] = ()

    def __init__(self, zones: list[tuple[Zone, int]], clock_ns: Callable[[], int]) -> None:
        sockets = sum(zone.domain == "cpu-package" for zone, _ in zones)
        self._zones = tuple(zone for zone, _ in zones)
        self._fds = [fd for _, fd in zones]
        self._counters = tuple(WrappingCounter(zone.turn_uj, _ceiling_w(zone, sockets)) for zone, _ in zones)
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.billed = frozenset(zone.domain for zone in self._zones) & _BILLED
        self.refresh_s: float | None = None
        self.poll_s = min(zone.turn_uj / 1e6 / (4 * _ceiling_w(zone, sockets)) for zone in self._zones)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread that keeps turns from being lost."""
        self._thread = threading.Thread(target=self._keep, name="joulebench-rapl", daemon=True)
        self._thread.start()

    def read(self) -> Mark:
        """Read every zone; return the running sums."""
        with self._lock:
            for index, counter in enumerate(self._counters):
                now_ns = self._clock_ns()
                try:
                    counter.advance(int(os.pread(self._fds[index], 32, 0)), now_ns)
                except OSError as error:
                    counter.unreadable(error.strerror or str(error))
                except ValueError:
                    counter.unreadable("the file holds no number")
            return tuple((counter.total_uj, counter.faults) for counter in self._counters)

    def energies(
        self, begin: Mark, end: Mark, *, duration_s: float, cpu_s: float
    ) -> tuple[tuple[Energy, ...], tuple[Missing, ...]]:
        """Return joules by domain, summed over sockets; a fault in one socket makes the domain Missing."""
        del cpu_s
        sums: Counter[str] = Counter()
        lost: dict[str, str] = {}
        for zone, counter, (begin_uj, begin_faults), (end_uj, end_faults) in zip(
            self._zones, self._counters, begin, end, strict=True
        ):
            if begin_faults != end_faults:
                lost[zone.domain] = f"{zone.label}: the energy counter {counter.reason}"
            elif begin_uj == end_uj and zone.domain in _BILLED:
                lost[zone.domain] = f"{zone.label}: the energy counter did not change in {duration_s:.4f} s"
            sums[zone.domain] += end_uj - begin_uj
        energies = tuple(
            Energy(
                domain=domain,
                energy_j=j_from_uj(energy_uj),
                provenance=Provenance.COUNTER,
                boundary=_BOUNDARY[domain],
                meter=self.name,
                billed=domain in _BILLED,
            )
            for domain, energy_uj in sums.items()
            if domain not in lost
        )
        return energies, tuple(Missing(domain=domain, reason=reason) for domain, reason in lost.items())

    def info(self) -> MeterInfo:
        """Return the domains, their zones and the refresh period found at opening."""
        refresh_s = self.refresh_s
        kept = sorted({zone.domain for zone in self._zones} - _BILLED)
        notes = ["zones: " + ", ".join(zone.label for zone in self._zones)]
        notes += [f"not billed: {', '.join(kept)} (same joules as the package)"] if kept else []
        return MeterInfo(
            name=self.name,
            domains=tuple(dict.fromkeys(zone.domain for zone in self._zones)),
            provenance=Provenance.COUNTER,
            boundary="; ".join(_BOUNDARY[domain] for domain in sorted(self.billed)),
            refresh_s=refresh_s,
            window_for_1_percent_s=None if refresh_s is None else REFRESHES_FOR_1_PERCENT * refresh_s,
            notes=tuple(notes),
        )

    def close(self) -> None:
        """Stop the thread and close the descriptors."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            for index, fd in enumerate(self._fds):
                if fd >= 0:
                    os.close(fd)
                self._fds[index] = -1

    def _keep(self) -> None:
        while not self._stop.wait(self.poll_s):
            self.read()


def open_rapl(
    root: Path = ROOT,
    *,
    refresh_s: float | None = None,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> tuple[RaplMeter | None, tuple[Missing, ...]]:
    """Open the zones below `root` and watch them for up to a tenth of a second.

    Args:
        root: the powercap folder.
        refresh_s: the refresh period in seconds if it is known; nothing is watched then.
        clock_ns: a monotonic clock in nanoseconds.

    Returns:
        The meter, or None where no package can be read; and what is missing, with what to do.
    """
    zones, missing = _find(root)
    usable, refused = _open(zones)
    missing += refused
    usable, mirrored = _without_mirrors(usable)
    missing += mirrored
    periods = [refresh_s] * len(usable)
    if refresh_s is None:
        usable, periods, still = _watched(usable)
        missing += still
    if not any(zone.domain == "cpu-package" for zone, _ in usable):
        for _, fd in usable:
            os.close(fd)
        return None, tuple(missing)
    meter = RaplMeter(usable, clock_ns)
    billed = [period for (zone, _), period in zip(usable, periods, strict=True) if zone.domain in _BILLED]
    known = [period for period in billed if period is not None and math.isfinite(period)]
    meter.refresh_s = max(known) if len(known) == len(billed) else None
    meter.read()
    meter.start()
    return meter, tuple(missing)


def _find(root: Path) -> tuple[list[Zone], list[Missing]]:
    # `intel-rapl` also names AMD's zones; `intel-rapl-mmio` shows the same package a second time.
    folders = sorted(root.glob("intel-rapl:*"), key=lambda path: [int(part) for part in path.name.split(":")[1:]])
    zones, missing = [], []
    for folder in folders:
        try:
            label = (folder / "name").read_text(encoding="ascii").strip()
            turn_uj = int((folder / "max_energy_range_uj").read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            missing.append(Missing(domain=folder.name, reason=f"{folder}: cannot be described: {error}"))
            continue
        domain = _domain(label)
        if domain is None or turn_uj <= 0:
            missing.append(Missing(domain=folder.name, reason=f"{folder}: zone {label!r} is not one joulebench knows"))
            continue
        zones.append(Zone(folder=folder, label=f"{folder.name}={label}", domain=domain, turn_uj=turn_uj))
    if not folders:
        reason = f"no RAPL zones under {root}: cloud guests and containers rarely expose them; use a bare-metal host"
        missing.append(Missing(domain="cpu-package", reason=reason))
    return zones, missing


def _open(zones: list[Zone]) -> tuple[list[tuple[Zone, int]], list[Missing]]:
    usable, missing = [], []
    for zone in zones:
        path = zone.folder / "energy_uj"
        try:
            usable.append((zone, os.open(path, os.O_RDONLY | os.O_CLOEXEC)))
        except PermissionError:
            reason = f"{path} may be read by root only (CVE-2020-8694); run `sudo chmod a+r {path}` or run as root"
            missing.append(Missing(domain=zone.domain, reason=reason))
        except OSError as error:
            missing.append(Missing(domain=zone.domain, reason=f"{path}: {error.strerror}"))
    # A socket that cannot be read makes the sum over sockets a lie.
    torn = {gap.domain for gap in missing}
    for _, fd in (pair for pair in usable if pair[0].domain in torn):
        os.close(fd)
    return [pair for pair in usable if pair[0].domain not in torn], missing


def _without_mirrors(zones: list[tuple[Zone, int]]) -> tuple[list[tuple[Zone, int]], list[Missing]]:
    """Drop dies that repeat their socket's counter (AMD Zen 1 and 2: one counter, one zone a die)."""
    kept: list[tuple[Zone, int]] = []
    missing: list[Missing] = []
    seen: dict[str, list[int]] = {}
    for zone, fd in zones:
        package, die, _ = zone.label.split("=", 1)[1].partition("-die-")
        value_uj = _peek_uj(fd)
        twins = seen.setdefault(package, []) if die and value_uj else []
        inside = any(zone.folder.name.startswith(f"{mirror.domain}:") for mirror in missing)
        # Two dies of one socket with sums within 1 J of each other since boot are one counter read twice.
        if inside or any(abs((value_uj or 0) - other_uj) < 1e6 for other_uj in twins):
            os.close(fd)
            reason = f"{zone.label} mirrors another die's counter; counted once"
            missing.append(Missing(domain=zone.folder.name, reason=reason))
            continue
        twins.append(value_uj or 0)
        kept.append((zone, fd))
    return kept, missing


def _watched(
    zones: list[tuple[Zone, int]],
) -> tuple[list[tuple[Zone, int]], list[float | None], list[Missing]]:
    """Watch the counters change; drop domains in which one stands still."""
    reads = [partial(_peek_uj, fd) for _, fd in zones]
    periods = watch_refresh(reads, at_most_s=0.1, changes=9, pause_s=0.0)
    still = {zone.domain: zone.label for (zone, _), period in zip(zones, periods, strict=True) if period is None}
    for _, fd in (pair for pair in zones if pair[0].domain in still):
        os.close(fd)
    kept = [(pair, period) for pair, period in zip(zones, periods, strict=True) if pair[0].domain not in still]
    missing = [
        Missing(domain=domain, reason=f"{label}: the energy counter stood still for 0.1 s, so it says nothing")
        for domain, label in still.items()
    ]
    return [pair for pair, _ in kept], [period for _, period in kept], missing


def _domain(label: str) -> str | None:
    if label.startswith("package"):
        return "cpu-package"
    return {"dram": "dram", "core": "cpu-core", "uncore": "cpu-uncore", "psys": "psys"}.get(label)


def _ceiling_w(zone: Zone, sockets: int) -> float:
    return CEILING_W * (4 * sockets if zone.domain == "psys" else 1)


def _peek_uj(fd: int) -> int | None:
    try:
        return int(os.pread(fd, 32, 0))
    except (OSError, ValueError):
        return None
