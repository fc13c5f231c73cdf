"""A neighbour that keeps one core busy on and off: phases of 0.2 to 3 s by a seed, written down as they happen.

As a program (`python neighbour.py SEED FILE`) it is the neighbour itself; it ends with the process that began it.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

SHORTEST_S, LONGEST_S = 0.2, 3.0


class Neighbour:
    """What the neighbour did: `phases_s` are lengths in seconds, busy ones positive and idle ones negative."""

    def __init__(self) -> None:
        self.phases_s: list[float] = []
        self.cpu_s = 0.0
        self.wall_s = 0.0

    def record(self) -> dict[str, object]:
        """Return it for a line of JSON."""
        return {"cpu_s": round(self.cpu_s, 2), "wall_s": round(self.wall_s, 2), "phases": len(self.phases_s)}


def phases(seed: int) -> Iterator[float]:
    """Yield the lengths of phases, busy ones positive and idle ones negative, without an end."""
    rng = random.Random(seed)
    sign = rng.choice((1, -1))
    while True:
        yield sign * rng.uniform(SHORTEST_S, LONGEST_S)
        sign = -sign


@contextlib.contextmanager
def neighbour(seed: int, log: Path) -> Iterator[Neighbour]:
    """Keep a neighbour beside the block; what it did is known afterwards."""
    seen, began_s = Neighbour(), time.monotonic()
    process = subprocess.Popen([sys.executable, "-I", "-S", __file__, str(seed), str(log)])
    try:
        yield seen
    finally:
        process.kill()
        process.wait()
        seen.wall_s = time.monotonic() - began_s
        lines = log.read_text(encoding="ascii").splitlines() if log.exists() else []
        for line in lines:
            phase_s, cpu_s = (float(field) for field in line.split())
            seen.phases_s.append(round(phase_s, 2))
            seen.cpu_s = cpu_s
    if process.returncode != -9:
        raise SystemExit(f"the neighbour ended by itself with exit code {process.returncode}: the trial does not count")


def main() -> None:
    parent = os.getppid()
    with Path(sys.argv[2]).open("w", encoding="ascii") as log:
        for phase_s in phases(int(sys.argv[1])):
            if phase_s < 0:
                time.sleep(-phase_s)
            else:
                _burn(phase_s)
            usage = resource.getrusage(resource.RUSAGE_SELF)
            log.write(f"{phase_s:.3f} {usage.ru_utime + usage.ru_stime:.3f}\n")
            log.flush()
            if os.getppid() != parent:
                return


def _burn(for_s: float) -> None:
    end_s = time.monotonic() + for_s
    while time.monotonic() < end_s:
        pass


if __name__ == "__main__":
    main()
