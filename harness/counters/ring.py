"""Energy events sampled by the kernel itself: nothing of this process wakes between two samples.

The leader of a group of perf events is a software clock of one CPU that overflows every so many nanoseconds of
time; at each overflow the kernel writes the time and the counts of the whole group to a ring of memory
(perf_event_open(2): `PERF_SAMPLE_READ`, `PERF_FORMAT_GROUP`). The clock runs while its CPU idles, so a sample
is one interrupt. The ring is read when its owner likes; what it could not hold is counted, never made up.

The group's events are opened anew and begin at zero, so each is put beside the event that the meter reads:
the distance between the two stays the same.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import time
import weakref
from collections.abc import Iterator, Sequence
from errno import EACCES, EPERM
from fcntl import ioctl
from typing import NamedTuple

from harness.counters.perf_events import EnergyCount, open_event, raw_count

ALIGNED_UJ = 61
"""How well the distance of two counts of one register must be known: a step of the coarsest common register."""

# linux/perf_event.h, as far as `clockid`: one of the sizes that kernels know (PERF_ATTR_SIZE_VER3).
_ATTRIBUTES = struct.Struct("=IIQQQQQIIQQQQIi")
_SOFTWARE, _CPU_CLOCK = 1, 0
_TIME, _READ = 1 << 2, 1 << 4
_ENABLED, _RUNNING, _GROUP = 1, 2, 8
_DISABLED, _WATERMARK, _USE_CLOCKID = 1, 1 << 14, 1 << 25
_NEVER_WAKE = 2**31 - 1
_ENABLE = 0x2400
_HEAD, _TAIL = 1024, 1032
_LOST, _THROTTLE, _SAMPLE = 2, 5, 9
_HEADER = struct.Struct("=IHH")
_FIXED = 4
"""Words of a sample before its counts: time, number of counts, time enabled, time counting."""
_FAILED = ctypes.c_void_p(-1).value
_TRIES = 64


class Sample(NamedTuple):
    """The group at one moment: nanoseconds of CLOCK_MONOTONIC, and whole microjoules of each event."""

    monotonic_ns: int
    energies_uj: tuple[int, ...]


class Ring:
    """A group that samples itself from `open_ring` until `close`; one thread at a time may `take` from it.

    `lost` are the samples that found the ring full, `throttled` how often the kernel stopped sampling for a
    tick, `partial` the samples before which an event had not counted all the time; those are left out.
    """

    def __init__(self, fds: Sequence[int], address: int, pages: int, counts: Sequence[EnergyCount]) -> None:
        self.lost = 0
        self.throttled = 0
        self.partial = 0
        self._fds = tuple(fds)
        self._counts = tuple(counts)
        self._offsets: tuple[int, ...] = ()
        self._idle_ns = 0
        self._bytes = pages * mmap.PAGESIZE
        self._data = address + mmap.PAGESIZE
        self._head = ctypes.c_uint64.from_address(address + _HEAD)
        self._tail = ctypes.c_uint64.from_address(address + _TAIL)
        whole = (pages + 1) * mmap.PAGESIZE
        # The memory is not the mmap module's: a forked child does not have it and must not unmap what lies there.
        self._release = weakref.finalize(self, _released, self._fds, address, whole, os.getpid())

    def start(self) -> str | None:
        """Begin to sample, one period from now. Returns why that cannot be, or None."""
        ioctl(self._fds[0], _ENABLE, 0)
        offsets: list[int] = []
        for fd, count in zip(self._fds[1:], self._counts, strict=True):
            offset = distance(count, fd)
            if offset is None:
                return (
                    f"the kernel's own count of {count.event.name} cannot be put beside the meter's to {ALIGNED_UJ} µJ"
                )
            offsets.append(offset)
        self._offsets = tuple(offsets)
        size = 8 * (_FIXED - 1 + len(self._fds))
        _, enabled_ns, running_ns = struct.unpack_from("=QQQ", os.read(self._fds[0], size))
        self._idle_ns = enabled_ns - running_ns
        return None

    def take(self) -> bytes:
        """Return what is in the ring and leave it empty; `samples` understands it. After `close` that is nothing."""
        if not self._release.alive:
            return b""
        # Aligned loads and stores; x86 keeps them in this order, and there is no other machine with this PMU.
        head, tail = self._head.value, self._tail.value
        first, n_bytes = tail % self._bytes, head - tail
        until_end = min(n_bytes, self._bytes - first)
        data = ctypes.string_at(self._data + first, until_end)
        data += ctypes.string_at(self._data, n_bytes - until_end)
        self._tail.value = head
        return data

    def samples(self, data: bytes) -> list[Sample]:
        """Return the samples in what was taken, in the order of time, and count what is missing from them."""
        found: list[Sample] = []
        for kind, body in records(data):
            if kind == _LOST:
                self.lost += struct.unpack_from("=QQ", body)[1]
            elif kind == _THROTTLE:
                self.throttled += 1
            elif kind == _SAMPLE:
                words = struct.unpack(f"={len(body) // 8}Q", body)
                if words[2] - words[3] != self._idle_ns:
                    self.partial += 1
                    continue
                raw = map(int.__add__, words[_FIXED + 1 :], self._offsets)
                found.append(Sample(words[0], tuple(map(EnergyCount.uj, self._counts, raw))))
        return found

    def close(self) -> None:
        """Close the events and give the memory back; in a forked child only its copies of the descriptors."""
        self._release()


def open_ring(counts: Sequence[EnergyCount], period_s: float, rows: int) -> Ring | str:
    """Open a group that samples these events every `period_s` seconds, into a ring for at least `rows` samples.

    Returns:
        The group, which samples already, or in words why the kernel does not do it.
    """
    cpu = counts[0].cpu
    if any(count.cpu != cpu for count in counts):
        return "the counters of several sockets are not read by one CPU, so no one sample holds them all"
    fds: list[int] = []
    for count in (None, *counts):
        fd, error = open_event(_attributes(count, round(period_s * 1e9)), cpu, fds[0] if fds else -1)
        if fd < 0:
            _close(fds)
            return _refusal(count, cpu, error)
        fds.append(fd)
    size = 8 * (1 + _FIXED + len(fds))
    pages = 1 << max(0, (rows * size - 1) // mmap.PAGESIZE).bit_length()
    address = _mapped(fds[0], (pages + 1) * mmap.PAGESIZE)
    if isinstance(address, str):
        _close(fds)
        return f"the kernel gives no ring of {pages} pages: {address} (see kernel.perf_event_mlock_kb)"
    ring = Ring(fds, address, pages, counts)
    try:
        reason = ring.start()
    except OSError as failed:
        reason = f"the kernel does not count what it sampled: {failed}"
    if reason is None:
        return ring
    ring.close()
    return reason


def records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the kind and the body of each record (perf_event_open(2), "MMAP layout")."""
    at = 0
    while at < len(data):
        kind, _, size = _HEADER.unpack_from(data, at)
        yield kind, data[at + _HEADER.size : at + size]
        at += size


def distance(count: EnergyCount, fd: int) -> int | None:
    """Return by how much the meter's count is ahead of another event on the same register; None if too vague.

    Exact where the meter's count stands still around the reading of the other, as registers that change once
    in a millisecond do; else the middle of what all tries allow.
    """
    low = high = None
    for _ in range(_TRIES):
        before, other, after = raw_count(count.fd), raw_count(fd), raw_count(count.fd)
        if before == after:
            return before - other
        low = before - other if low is None else max(low, before - other)
        high = after - other if high is None else min(high, after - other)
    if low is None or high is None or count.uj(abs(high - low)) > ALIGNED_UJ:
        return None
    return (low + high) // 2


def _attributes(count: EnergyCount | None, period_ns: int) -> bytes:
    """Return the attributes of an event of the group: a sampling clock that is off for None, else a plain count."""
    # All events of a group must tell the time by the same clock.
    if count is None:
        flags, kind, config = _DISABLED | _WATERMARK | _USE_CLOCKID, _SOFTWARE, _CPU_CLOCK
        sampling = (period_ns, _TIME | _READ, _GROUP | _ENABLED | _RUNNING, flags, _NEVER_WAKE)
    else:
        kind, config = count.kind, count.event.config
        sampling = (0, 0, 0, _USE_CLOCKID, 0)
    unused = (0, 0, 0, 0, 0, 0)
    return _ATTRIBUTES.pack(kind, _ATTRIBUTES.size, config, *sampling, *unused, time.CLOCK_MONOTONIC)


def _refusal(count: EnergyCount | None, cpu: int, error: int) -> str:
    what = f"samples of CPU {cpu}" if count is None else f"{count.event.name} in samples of CPU {cpu}"
    if error in {EACCES, EPERM}:
        return f"the kernel does not permit {what} ({os.strerror(error)}): it needs CAP_PERFMON"
    return f"the kernel does not give {what} ({os.strerror(error)})"


def _mapped(fd: int, size: int) -> int | str:
    """Map the ring; return its address, or why there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    address = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
    return os.strerror(ctypes.get_errno()) if address in (None, _FAILED) else int(address)


def _released(fds: Sequence[int], address: int, size: int, pid: int) -> None:
    if os.getpid() == pid:
        libc = ctypes.CDLL(None)
        libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
        libc.munmap(address, size)
    _close(fds)


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
