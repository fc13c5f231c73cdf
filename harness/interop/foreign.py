"""Any pytest-benchmark file, read for display. It is never gated: nothing in it says how it was interleaved."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from harness.errors import ResultsError
from harness.interop.energy_info import KEY
from harness.records import Frozen

NOTICE = (
    "read from a pytest-benchmark file, for display only: it names no host fingerprint and holds no paired blocks, "
    "so joulebench gives no verdict on it"
)


class ForeignRow(Frozen, frozen=True, kw_only=True):
    """One benchmark; seconds a call. What the file does not hold is None. `energy` is told in words."""

    name: str
    median_s: float | None
    mean_s: float | None
    stddev_s: float | None
    rounds: int | None
    iterations: int | None
    energy_j: float | None = None
    energy: str | None = None


class Foreign(Frozen, frozen=True, kw_only=True):
    """One file of pytest-benchmark."""

    path: str
    machine: str | None
    datetime: str | None
    version: str | None
    notice: str = NOTICE
    rows: tuple[ForeignRow, ...]


def is_pytest_benchmark(path: Path) -> bool:
    """Return whether this is a JSON file that is not one of ours (`run.json`, `gate.json`)."""
    return path.suffix == ".json" and path.name not in {"run.json", "gate.json"} and path.is_file()


def read(path: Path) -> Foreign:
    """Return the benchmarks of a pytest-benchmark file of any version.

    Raises: ResultsError: it cannot be read, or is not such a file.
    """
    try:
        document = json.loads(path.read_bytes())  # unlike msgspec it accepts the NaN that pytest-benchmark may write
        rows = tuple(_row(entry) for entry in document["benchmarks"])
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} cannot be read: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ResultsError(
            f"{path} is not a file of pytest-benchmark (its `benchmarks` lack {error}); write one with "
            "`pytest --benchmark-json=FILE`"
        ) from error
    machine = document.get("machine_info") or {}
    cpu = machine.get("cpu") or {}
    named = [machine.get("node"), cpu.get("brand_raw") or cpu.get("brand") or machine.get("processor")]
    return Foreign(
        path=str(path),
        machine=", ".join(str(part) for part in named if part) or None,
        datetime=document.get("datetime"),
        version=document.get("version"),
        rows=rows,
    )


def _row(entry: dict[str, Any]) -> ForeignRow:
    stats = entry["stats"]
    energy_j, energy = _energy((entry.get("extra_info") or {}).get(KEY))
    return ForeignRow(
        name=str(entry.get("fullname") or entry["name"]),
        median_s=_number(stats.get("median")),
        mean_s=_number(stats.get("mean")),
        stddev_s=_number(stats.get("stddev")),
        rounds=stats.get("rounds"),
        iterations=stats.get("iterations"),
        energy_j=energy_j,
        energy=energy,
    )


def _energy(info: Any) -> tuple[float | None, str | None]:
    """Return joules a call and how they are known, from what the `energy` fixture or our own export left."""
    if not isinstance(info, dict):
        return None, None
    energy_j = _number(info.get("mean_j", info.get("energy_j")))
    if energy_j is None:
        return None, str(info["gap"]) if info.get("gap") else None
    return energy_j, str(info.get("known"))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
