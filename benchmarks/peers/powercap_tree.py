"""A powercap tree of plain files whose joules the script knows: one package with its DRAM, laid out as in `/sys`.

ROOT/class/powercap/intel-rapl/intel-rapl:0/{name,energy_uj,max_energy_range_uj}     package-0
ROOT/class/powercap/intel-rapl/intel-rapl:0/intel-rapl:0:0/{...}                     dram
ROOT/class/powercap/intel-rapl:0, intel-rapl:0:0                                     links to them
"""

import os
import threading
import time
from pathlib import Path

TURN_UJ = 262_143_328_850
"""The range that Intel servers report which count in units of 61 µJ."""

PERIOD_S = 0.001
"""How often real counters change, about; the script steps as often."""


class PowercapTree:
    """The tree; counters are written in place, so that a descriptor kept open sees them move."""

    def __init__(self, root: str | Path, *, package_uj: int = 1_000_000_000, dram_uj: int = 500_000_000):
        self.root = str(root)
        powercap = Path(root) / "class" / "powercap"
        self.true_uj = [0, 0]
        self._raw_uj = [package_uj, dram_uj]
        package = powercap / "intel-rapl" / "intel-rapl:0"
        dram = package / "intel-rapl:0:0"
        dram.mkdir(parents=True)
        self._fds = [self._zone(package, "package-0"), self._zone(dram, "dram")]
        for zone in (package, dram):
            (powercap / zone.name).symlink_to(zone)
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self.add(0, 0)

    def add(self, package_uj: int, dram_uj: int) -> None:
        """Let the counters rise, and turn over at the end of their range."""
        for index, step_uj in enumerate((package_uj, dram_uj)):
            self.true_uj[index] += step_uj
            self._raw_uj[index] = (self._raw_uj[index] + step_uj) % TURN_UJ
            os.pwrite(self._fds[index], b"%020d\n" % self._raw_uj[index], 0)

    def run(self, power_w: float) -> None:
        """Let a thread raise the package at `power_w` and the DRAM at a tenth of it, until `stand_still`."""
        step_uj = round(power_w * PERIOD_S * 1e6)

        def keep_on() -> None:
            while not self._stop.wait(PERIOD_S):
                self.add(step_uj, step_uj // 10)

        self._stop.clear()
        self._thread = threading.Thread(target=keep_on, daemon=True)
        self._thread.start()

    def stand_still(self) -> None:
        """End the thread that `run` began."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Stop and close the files; the folder stays."""
        self.stand_still()
        for fd in self._fds:
            os.close(fd)

    @staticmethod
    def _zone(folder: Path, name: str) -> int:
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text(f"{TURN_UJ}\n")
        return os.open(folder / "energy_uj", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def windows_across_a_wrap(folder: str, after_s: list[float], open_meter) -> dict:
    """Measure windows in each of which the package counter wraps once; return joules less the truth.

    A window begins 40 J below the end of the range, rises at about 200 W in steps of a millisecond and
    ends `after_s` after the wrap. `open_meter(tree)` returns `(begin, end, close)`; `end(mark)` returns
    the joules of the package, or a text that says why there are none.
    """
    results = []
    for index, seconds in enumerate(after_s):
        tree = PowercapTree(f"{folder}/wrap{index}", package_uj=TURN_UJ - 40_000_000)
        begin, end, close = open_meter(tree)
        started_uj, mark = tree.true_uj[0], begin()
        for _ in range(200 + round(seconds / PERIOD_S)):
            time.sleep(PERIOD_S)
            tree.add(200_000, 20_000)
        energy = end(mark)
        truth_j = (tree.true_uj[0] - started_uj) / 1e6
        close()
        tree.close()
        found = {"refused": energy} if isinstance(energy, str) else {"energy_j": energy, "error_j": energy - truth_j}
        results.append({"after_s": seconds, "truth_j": truth_j} | found)
    values = [found["error_j"] for found in results if "error_j" in found]
    wrong = sum(abs(found.get("error_j", 0.0)) > 0.01 * found["truth_j"] for found in results)
    return {"values": values, "wrong": wrong, "refused": len(results) - len(values), "windows": results}
