"""What the meters of this host showed when they were tested, kept until it boots again.

The file is a cache: without it, or where it cannot be read or written, the meters are tested anew.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.records import Frozen, MeterInfo

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Memory(Frozen, frozen=True, kw_only=True):
    """The meters tested since a boot."""

    boot_id: str
    infos: tuple[MeterInfo, ...]


def path() -> Path:
    """Return where the memory lies: `$XDG_CACHE_HOME/joulebench/meters.json`, `~/.cache` by default."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "joulebench" / "meters.json"


def refresh_s(name: str) -> float | None:
    """Return the refresh period in seconds that a meter of this name showed since this boot, or None."""
    return next((info.refresh_s for info in _read() if info.name == name), None)


def recall(info: MeterInfo) -> MeterInfo | None:
    """Return the meter as it is now with the self-test it had since this boot, or None if it had none."""
    for known in _read():
        if _same(known, info):
            return msgspec.structs.replace(
                info,
                refresh_s=info.refresh_s if info.refresh_s is not None else known.refresh_s,
                read_cost_s=known.read_cost_s,
                window_for_1_percent_s=known.window_for_1_percent_s,
                self_test=known.self_test,
            )
    return None


def remember(infos: Sequence[MeterInfo]) -> None:
    """Keep the self-tests that found no fault; a meter with a fault is tested again next time."""
    boot_id = _boot_id()
    if boot_id is None:
        return
    good = [info for info in infos if info.self_test is not None and not info.self_test.faults]
    others = [known for known in _read() if not any(_same(known, info) for info in infos)]
    text = msgspec.json.encode(Memory(boot_id=boot_id, infos=(*others, *good)))
    target = path()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
            file.write(text)
        Path(file.name).replace(target)
    except OSError:
        return


def _same(a: MeterInfo, b: MeterInfo) -> bool:
    return all(
        getattr(a, field) == getattr(b, field)
        for field in ("name", "domains", "provenance", "boundary", "coefficients")
    )


def _read() -> tuple[MeterInfo, ...]:
    try:
        memory = msgspec.json.decode(path().read_bytes(), type=Memory)
    except (OSError, msgspec.MsgspecError):
        return ()
    return memory.infos if memory.boot_id == _boot_id() else ()


def _boot_id() -> str | None:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip() or None
    except OSError:
        return None
