"""A third party's meter, for tests: a counter that goes wrong as its argument says, once five blocks are on disk.

`meters: ["scripted:nan"]`. The meter lives in the process of the gate, whose working directory has the results.
"""

import math
from pathlib import Path

import msgspec

from harness.meters.plugins.counted import Channel, CountedMeter
from harness.records import Provenance

SOUND_BLOCKS = 5
COUNTS_A_READ = 1000
GROWTH = {"drift": 1.01, "drifting-cpu": 1.002, "soaring-cpu": 1.01}


class Scripted(CountedMeter):
    """Counts the same in every window, unless its script says otherwise; 1 W of CPU where the script ends in `cpu`."""

    def __init__(self, script):
        refresh_s = None if script == "unknown-refresh" else 0.0
        channel = Channel(domain="scripted", label="counter", boundary="a test", j_per_count=1e-6, ceiling_w=1e9,
                          refresh_s=refresh_s)  # fmt: skip
        super().__init__("scripted", [channel], self._count)
        self.script = script
        self.reads = self.count = self.resets = 0

    def _count(self):
        self.reads += 1
        self.count += 0 if self.script == "stuck" and _late() else COUNTS_A_READ
        # Two readings in a row fall, for one of them ends a window, whichever it is.
        if (self.script == "resets" or (self.script == "one-reset" and self.resets < 2)) and _late():
            self.resets += 1
            self.count -= 10 * COUNTS_A_READ
        return (self.count,)

    def energies(self, begin, end, *, duration_s, cpu_s):
        energies, missing = super().energies(begin, end, duration_s=duration_s, cpu_s=cpu_s)
        return tuple(self._scripted(energy, cpu_s) for energy in energies), missing

    def _scripted(self, energy, cpu_s):
        energy_j = cpu_s if self.script.endswith("cpu") else energy.energy_j
        energy_j *= GROWTH.get(self.script, 1.0) ** self.reads
        if self.script == "nan" and _late():
            energy_j = math.nan
        if self.script == "other-provenance" and _late():
            energy = msgspec.structs.replace(energy, provenance=Provenance.INTEGRATED_POWER)
        return msgspec.structs.replace(energy, energy_j=energy_j, low_j=None, high_j=None)


def _late():
    return any(
        path.read_bytes().count(b"\n") >= SOUND_BLOCKS for path in Path("results").glob("*/*-gate*/blocks.jsonl")
    )


def open_meter(argument, device):
    return Scripted(argument), ()
