"""A million counter wraps through powercap files on a tmpfs: is any window's total wrong?

    python benchmarks/rapl_wraps.py                       # 1,000,000 wraps
    python benchmarks/rapl_wraps.py --wraps 20000 --json

Episode by episode a tree of plain files takes the place of `/sys`: one or two sockets, with or without
DRAM, cores and psys, each with a range, a start and a power of its own. The counters rise below the
ceiling and turn over; the meter reads the files with the code and the descriptors it uses on hardware, at
the pace of its guard or slower. Now and then it is kept from reading while counters turn several times,
or a counter is reset or its file emptied. Windows begin at random, nest and overlap.

A window is *wrong* if it gives joules that are not, to the microjoule, those that were drawn, or zero. It
is *refused* if it gives none; *needlessly* where nothing had happened to it. Both must be zero for exit
code 0.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from harness.counters.rapl import CEILING_W, RaplSource, ceilings, open_channels
from harness.counters.wrapping import SLACK_NS
from harness.meters.rapl import RaplMeter

EPISODE_STEPS = 4000


class Tree:
    """A simulated host; it knows what each domain drew."""

    def __init__(self, folder: Path, rng: random.Random):
        self.root = folder
        self.rng = rng
        self.now_ns = rng.randrange(10**15)
        self.names: list[str] = []
        self.domains: list[str] = []
        self.turns_uj: list[int] = []
        self.raw_uj: list[int] = []
        self.drawn_uj: list[int] = []
        self.fds: list[int] = []
        self.wraps = 0
        base_uj = rng.randrange(10**9, 15 * 10**10)
        for socket in range(rng.choice((1, 1, 2))):
            self._zone(f"intel-rapl:{socket}", f"package-{socket}", "cpu-package", base_uj)
            for index, (name, domain) in enumerate((("core", "cpu-core"), ("dram", "dram"))):
                if rng.random() < 0.6:
                    self._zone(f"intel-rapl:{socket}:{index}", name, domain, base_uj)
        if rng.random() < 0.3:
            self._zone("intel-rapl:9", "psys", "psys", base_uj * 8)
        self.ceilings_w = ceilings(self.domains)
        self.longest_ns = min(
            turn_uj * 1000 // ceiling_w - SLACK_NS
            for turn_uj, ceiling_w in zip(self.turns_uj, self.ceilings_w, strict=True)
        )

    def _zone(self, name: str, label: str, domain: str, base_uj: int) -> None:
        folder = self.root / "class" / "powercap" / name
        folder.mkdir(parents=True)
        turn_uj = int(base_uj * self.rng.uniform(1.0, 1.1))
        (folder / "name").write_text(f"{label}\n")
        (folder / "max_energy_range_uj").write_text(f"{turn_uj}\n")
        self.names.append(name)
        self.domains.append(domain)
        self.turns_uj.append(turn_uj)
        self.raw_uj.append(self.rng.randrange(turn_uj))
        self.drawn_uj.append(0)
        self.fds.append(os.open(folder / "energy_uj", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644))
        self.write()

    def clock_ns(self) -> int:
        return self.now_ns

    def rise(self, elapsed_ns: int) -> None:
        """Let time pass at some power below the ceiling."""
        self.now_ns += elapsed_ns
        for index, ceiling_w in enumerate(self.ceilings_w):
            step_uj = 1 + int(elapsed_ns * ceiling_w * self.rng.uniform(0.8, 0.9999) / 1000)
            self.drawn_uj[index] += step_uj
            turns, self.raw_uj[index] = divmod(self.raw_uj[index] + step_uj, self.turns_uj[index])
            self.wraps += turns
        self.write()

    def write(self) -> None:
        for fd, raw_uj in zip(self.fds, self.raw_uj, strict=True):
            os.pwrite(fd, b"%020d\n" % raw_uj, 0)

    def reset(self, index: int, elapsed_ns: int) -> bool:
        """Begin a counter anew, unless its last value is such that this looks like a wrap to anybody."""
        limit_uj = (elapsed_ns + SLACK_NS) * self.ceilings_w[index] // 1000
        if self.turns_uj[index] - self.raw_uj[index] <= limit_uj + 1:
            return False
        self.raw_uj[index] = 0
        self.write()
        return True

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)


class Tally:
    """What came of the windows."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(
            ("wraps", "windows", "domains", "refused", "needlessly", "wrong", "gaps", "resets"), 0
        )

    def judge(self, meter: RaplMeter, tree: Tree, opened: dict, end: tuple, harmed_at: list[int]) -> None:
        """Set one window against the truth, domain by domain."""
        duration_s = (tree.now_ns - opened["now_ns"]) / 1e9
        energies, missing = meter.energies(opened["mark"], end, duration_s=duration_s, cpu_s=0.0)
        truth_uj: dict[str, int] = {}
        for domain, before, after in zip(tree.domains, opened["drawn_uj"], tree.drawn_uj, strict=True):
            truth_uj[domain] = truth_uj.get(domain, 0) + after - before
        counts = self.counts
        counts["windows"] += 1
        counts["domains"] += len(truth_uj)
        counts["refused"] += len(missing)
        # A chain of readings begins at the second one after harm.
        if missing and not any(step >= opened["step"] - 1 for step in harmed_at):
            counts["needlessly"] += len(missing)
        told = {energy.domain: energy.energy_j for energy in energies}
        counts["wrong"] += sum(round(energy_j * 1e6) != truth_uj[domain] for domain, energy_j in told.items())
        counts["wrong"] += len(truth_uj) - len(told) - len(missing)


def episode(folder: Path, rng: random.Random, tally: Tally, wraps: int) -> None:
    """One host: thousands of readings, a window for every few of them."""
    tree = Tree(folder, rng)
    channels, _, notes = open_channels(folder)
    meter = RaplMeter(RaplSource(channels, tree.clock_ns, notes))
    order = {channel.label.partition("=")[0]: index for index, channel in enumerate(channels)}
    if sorted(order) != sorted(tree.names):
        raise SystemExit(f"the meter opened {sorted(order)} of {sorted(tree.names)}")
    meter.read()
    windows: list[dict] = []
    harmed_at: list[int] = []
    for step in range(EPISODE_STEPS):
        if tally.counts["wraps"] + tree.wraps >= wraps:
            break
        if rng.random() < 0.4:
            windows.append({"mark": meter.read(), "now_ns": tree.now_ns, "drawn_uj": list(tree.drawn_uj), "step": step})
        happen(tree, rng, tally, harmed_at, step)
        end = meter.read()
        while windows and rng.random() < 0.3:
            tally.judge(meter, tree, windows.pop(rng.randrange(len(windows))), end, harmed_at)
    tally.counts["wraps"] += tree.wraps
    meter.close()
    tree.close()


def happen(tree: Tree, rng: random.Random, tally: Tally, harmed_at: list[int], step: int) -> None:
    """Let one stretch of time pass between two readings."""
    elapsed_ns = int(tree.longest_ns * rng.choice((1.0, 1.0, 1.0, rng.uniform(0.001, 1.0))))
    if rng.random() < 0.004:
        tree.rise(int(tree.longest_ns * rng.uniform(1.1, 12.0)))
        tally.counts["gaps"] += 1
        harmed_at.append(step)
    elif rng.random() < 0.001:
        elapsed_ns = tree.longest_ns // 20
        index = rng.randrange(len(tree.fds))
        tally.counts["resets"] += tree.reset(index, elapsed_ns)
        harmed_at.append(step)  # the other counters stand still
        tree.now_ns += elapsed_ns
    elif rng.random() < 0.001:
        os.truncate(tree.fds[rng.randrange(len(tree.fds))], 0)
        harmed_at.append(step)
    else:
        tree.rise(elapsed_ns)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wraps", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--root", type=Path, default=None, help="folder for the trees (default: a new one in /dev/shm)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    base = arguments.root or (Path("/dev/shm") if Path("/dev/shm").is_dir() else None)
    rng = random.Random(arguments.seed)
    tally = Tally()
    start_s = time.perf_counter()
    episodes = 0
    while tally.counts["wraps"] < arguments.wraps:
        with tempfile.TemporaryDirectory(dir=base) as folder:
            episode(Path(folder), rng, tally, arguments.wraps)
        episodes += 1
    result = {**tally.counts, "episodes": episodes, "seed": arguments.seed, "ceiling_w": CEILING_W}
    result["wall_s"] = round(time.perf_counter() - start_s, 1)
    if arguments.json:
        print(json.dumps(result))
    else:
        print("\n".join(f"{name:>12} {value:,}" for name, value in result.items()))
    return 1 if result["wrong"] or result["needlessly"] else 0


if __name__ == "__main__":
    sys.exit(main())
