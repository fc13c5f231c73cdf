"""A meter for tests: deterministic joules that were never measured, and say so everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.records import Doubt, Energy, MeterInfo, Missing, Provenance

BOUNDARY = "fake: for tests, no joules were measured"


class FakeMeter:
    """Joules = a constant power × CPU-seconds (or × duration), or a script of joules by window."""

    name = "fake"
    doubts: tuple[Doubt, ...] = ()

    def __init__(self, power_w: float = 1.0, *, over: str = "cpu", script_j: Sequence[float] = ()) -> None:
        self._power_w = power_w
        self._over = over
        self._script_j = list(script_j)
        self.billed = frozenset({"fake"})

    def read(self) -> None:
        """Return nothing: there is nothing to read."""

    def energies(
        self, begin: Any, end: Any, *, duration_s: float, cpu_s: float
    ) -> tuple[tuple[Energy, ...], tuple[Missing, ...]]:
        """Return the next scripted joules, else the constant power over the window."""
        del begin, end
        energy_j = self._power_w * (cpu_s if self._over == "cpu" else duration_s)
        if self._script_j:
            energy_j = self._script_j.pop(0)
        energy = Energy(
            domain="fake", energy_j=energy_j, provenance=Provenance.FAKE, boundary=BOUNDARY, meter=self.name
        )
        return (energy,), ()

    def info(self) -> MeterInfo:
        """Return that this is a fake."""
        return MeterInfo(
            name=self.name,
            domains=("fake",),
            provenance=Provenance.FAKE,
            boundary=BOUNDARY,
            refresh_s=0.0,
            window_for_1_percent_s=0.0,
            notes=("deterministic, for tests only",),
        )

    def close(self) -> None:
        """Hold nothing, release nothing."""
