"""joulebench's own `harness.measure`, and the raw edges below it; a fake tree takes the place of `/sys`."""

import threading
import time

import probing


def on(root: str | None) -> None:
    """Let `harness.measure` find the host's counters below `root`."""
    if root is not None:
        from functools import partial

        from harness.counters.rapl import open_source
        from harness.measuring import session

        session.open_source = partial(open_source, root)


def pair(what: str, windows: int, apart_s: float, root: str | None = None) -> dict:
    """Begin and end by one of three ways: raw `edges` (`counters`: without the host's load), `public`, `records`."""
    if what in {"counters", "edges"}:
        from harness.counters.edges import Edges
        from harness.counters.rapl import open_source

        source, gaps = open_source(root)
        edges = Edges([source], **({"host": _Unread()} if what == "counters" else {}))
        values = probing.pairs_us(edges.begin, lambda _: edges.end(), windows=windows, warm_up=20, apart_s=apart_s)
        return {"values": values, "domains": [one.domain for one in source.channels], "gaps": gaps}
    if what == "records":
        return _records(windows, apart_s, root)
    on(root)
    values = probing.pairs_us(_begin, _end, windows=windows, warm_up=20, apart_s=apart_s)
    return {"values": values}


def sleep(what: str, seconds: float, root: str | None = None, folder: str | None = None) -> dict:
    """Asleep in a window (`window`), in one that is traced at 10 Hz (`trace`, `kernel`), or in none.

    `kernel` is a trace over perf events, which the kernel samples; a software PMU stands in for RAPL. None is
    `bare`, or `ticks`: beside a thread that wakes ten times a second and does nothing.
    """
    traced = what in {"trace", "kernel"}
    if what == "kernel":
        from perf_tree import describe

        root = describe(f"{folder}/sys")
    if what == "ticks":
        threading.Thread(target=_tick, daemon=True).start()
    if what in {"bare", "ticks"}:
        return probing.sleep_and_weigh(seconds)
    import harness

    on(root)
    with harness.measure("settle"):
        pass
    with harness.measure("asleep", trace=f"{folder}/trace.parquet" if traced else None):
        if traced:
            time.sleep(0.5)  # the first samples load what a trace needs
        found = probing.sleep_and_weigh(seconds)
    return found | _recorded(f"{folder}/trace.parquet", "kernel" if what == "kernel" else "thread") if traced else found


def interrupts(pairs: int, folder: str, period_s: float = 1e-4, block_s: float = 0.02) -> dict:
    """Return by how much one sample of the kernel shortens what a loop on the sampled CPU gets done, in µs.

    The loop runs in blocks, every other one beside a group of two software counters that samples far more often
    than a trace does; a pair of neighbouring blocks gives one value. Nothing here is RAPL: reading its register
    adds to every sample, about a microsecond a domain on a real CPU, and so does waking a CPU that idles.
    """
    import os

    from perf_tree import describe

    from harness.counters.perf_events import open_channels
    from harness.counters.ring import open_ring

    channels, gaps = open_channels(describe(f"{folder}/sys"))
    if not channels:
        return {"error": gaps[0][1]}
    os.sched_setaffinity(0, {0})
    values = []
    for _ in range(pairs):
        alone = _loops(block_s)
        ring = open_ring([channel.read for channel in channels], period_s, 4 * round(block_s / period_s))
        if isinstance(ring, str):
            return {"error": ring}
        ring.take()
        beside = _loops(block_s)
        samples = len(ring.samples(ring.take()))
        ring.close()
        values.append(1e6 * block_s * (1 - beside / alone) / max(samples, 1))
    middle = sorted(values)[len(values) // 2]
    return {"values": values, "percent_at_10_hz": 100 * 10 * middle / 1e6, "samples_of_last": samples}


def _loops(seconds: float) -> int:
    stop_ns = time.perf_counter_ns() + round(1e9 * seconds)
    count = 0
    while time.perf_counter_ns() < stop_ns:
        count += 1
    return count


def _recorded(path: str, sampler: str) -> dict:
    """Return how many rows without CPU time a trace has, or that it was not sampled as it should have been."""
    from pyarrow.parquet import read_table

    from harness.meters.tracefile import Trace

    header = Trace(path).header
    if header.sampler != sampler:
        return {"error": f"sampled by the {header.sampler}: {'; '.join(header.sampler_notes)}"}
    return {"rows": read_table(path)["cpu_ns"].null_count, "sampler_notes": list(header.sampler_notes)}


def first(root: str | None = None) -> dict:
    import harness

    measure = harness.measure
    on(root)
    start_s = time.perf_counter()
    with measure("first"):
        pass
    took_s = time.perf_counter() - start_s
    return {"value": 1e3 * took_s, "helpers": len(probing.helpers())}


def loaded() -> dict:
    import sys

    import harness

    assert harness.measure
    heavy = [name for name in ("msgspec", "numpy", "torch") if name in sys.modules]
    return {"value": len(heavy), "loaded": heavy, "modules": len(sys.modules)}


def share(sizes_cpu_s: list[float]) -> dict:
    """The share of its children's CPU-seconds in a window, less what this process used itself."""
    import harness

    with harness.measure("children") as window:
        own_s = time.process_time()
        truth_cpu_s = probing.burn(sizes_cpu_s, at_once=False)
        own_s = time.process_time() - own_s
    captured_s = window.cpu_s - own_s
    return {"value": 100 * captured_s / truth_cpu_s, "truth_cpu_s": truth_cpu_s, "own_cpu_s": own_s} | _told(window)


def idle(seconds: float) -> dict:
    import harness

    with harness.measure("asleep", meters=_of_this_process()) as window:
        time.sleep(seconds)
    return {"value": window.energy_j} | _told(window)


def shape(cpu_s: float) -> dict:
    """The same CPU-seconds in one process and in two at once."""
    import harness

    windows = []
    for sizes in ([cpu_s], [cpu_s / 2, cpu_s / 2]):
        with harness.measure("children", meters=_of_this_process()) as window:
            probing.burn(sizes, at_once=True)
        windows.append(window)
    one, two = (window.energy_j for window in windows)
    return {"value": max(one / two, two / one), "one_j": one, "two_j": two} | _told(windows[0])


def wraps(folder: str, after_s: list[float]) -> dict:
    from powercap_tree import PERIOD_S, windows_across_a_wrap

    from harness.counters.rapl import open_source
    from harness.meters.rapl import RaplMeter

    def open_meter(tree):
        source, _ = open_source(tree.root)
        meter = RaplMeter(source, refresh_s=PERIOD_S)

        def end(mark):
            duration_s = time.perf_counter() - mark[1]
            energies, missing = meter.energies(mark[0], meter.read(), duration_s=duration_s, cpu_s=0.0)
            joules = [energy.energy_j for energy in energies if energy.domain == "cpu-package"]
            return joules[0] if joules else "; ".join(gap.reason for gap in missing)

        return lambda: (meter.read(), time.perf_counter()), end, meter.close

    return windows_across_a_wrap(folder, after_s, open_meter)


class _Unread:
    """The load of the host, not asked for."""

    @staticmethod
    def read() -> bytes:
        return b""


def _records(windows: int, apart_s: float, root: str) -> dict:
    """The public call and `measured`; the counters rise between the edges, so that there is something to say."""
    from powercap_tree import PowercapTree

    tree = PowercapTree(root)
    tree.run(power_w=50.0)
    on(root)
    last = []

    def end(measurement) -> None:
        measurement.__exit__(None, None, None)
        last[:] = [measurement.windows[-1].measured]

    end(_begin())  # the first interpretation tests the meters
    tree.stand_still()
    values = probing.pairs_us(
        _begin, end, windows=windows, warm_up=20, apart_s=apart_s, meanwhile=lambda: tree.add(550_000, 55_000)
    )
    found = {energy.domain: energy.energy_j for energy in last[0].energies}
    return {"values": values, "energies_j": found, "missing": [gap.reason for gap in last[0].missing]}


def _tick() -> None:
    while True:
        time.sleep(0.1)


def _begin():
    import harness

    measurement = harness.measure("empty")
    measurement.__enter__()
    return measurement


def _end(measurement) -> None:
    measurement.__exit__(None, None, None)


def _of_this_process() -> tuple[str, ...]:
    """Return the meters that bill this process alone: its share of the package where that is counted."""
    from harness.counters.rapl import open_source

    source, _ = open_source()
    if source is None:
        return ("auto",)
    source.close()
    return ("attributed",)


def _told(window) -> dict:
    return {"provenance": window.provenance, "doubts": list(window.doubts), "cpu_s": window.cpu_s}


if __name__ == "__main__":
    probing.answer({
        "pair": pair, "sleep": sleep, "interrupts": interrupts, "first": first, "loaded": loaded,
        "share": share, "idle": idle, "shape": shape, "wraps": wraps,
    })  # fmt: skip
