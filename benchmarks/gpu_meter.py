"""NVIDIA's meters against each other on this machine: energy counter, instantaneous power, averaged power.

    python benchmarks/gpu_meter.py --out results/reference/gpu_meter.json

For each visible GPU: how often the counter and each power reading refresh, idle and under load; what reading
them costs; the joules of the counter beside those of the integrated powers over windows of `--seconds`,
idle and under load in mirrored order; and the energy of one bf16 matrix product. Temperature, clocks, power
limit and clock reasons are taken at both edges of every window. Without an NVIDIA GPU it says why and ends
with exit code 2.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import msgspec

from harness.meters.nvml import NvmlMeter, open_nvml
from harness.meters.nvml.devices import Gpu, visible
from harness.meters.nvml.readings import offered
from harness.meters.nvml.state import device_state
from harness.meters.seam import watch_refresh

Run = Callable[[float], int]
"""Works (or sleeps) for about so many seconds, waits for the GPU, and returns how many products it did."""


def spread(values: list[float]) -> dict[str, float]:
    """Return p05, p50, p95 and how many there were; the percentiles of few values are their ends."""
    cuts = quantiles(values, n=20, method="inclusive") if len(values) > 1 else values * 19
    return {"p05": cuts[0], "p50": median(values), "p95": cuts[-1], "n": len(values)}


def readers(nvml: Any, gpu: Gpu) -> dict[str, Callable[[], int]]:
    """Return everything that can be read of a GPU's energy and power, by name."""
    found = {f"power-{reading.scope}-{reading.kind}": reading.read_mw for reading in offered(nvml, gpu.handle)}
    for name, read in (
        ("counter", partial(nvml.nvmlDeviceGetTotalEnergyConsumption, gpu.handle)),
        ("power-usage", partial(nvml.nvmlDeviceGetPowerUsage, gpu.handle)),
    ):
        try:
            read()
        except nvml.NVMLError:
            continue
        found[name] = read
    return found


def costs_us(nvml: Any, gpu: Gpu, reads: int) -> dict[str, dict[str, float]]:
    """Return what one read takes in microseconds, of each reader and of the state."""
    calls: dict[str, Callable[[], Any]] = {**readers(nvml, gpu)}
    calls["state"] = partial(device_state, nvml, gpu.handle, gpu.domain, "begin")
    return {name: spread([_timed_us(call) for _ in range(reads)]) for name, call in calls.items()}


def refreshes_s(nvml: Any, gpu: Gpu, seconds: float) -> dict[str, float | str]:
    """Return how often each reading changes, watched one after the other for up to `seconds` each."""
    periods = {}
    for name, read in readers(nvml, gpu).items():
        (period_s,) = watch_refresh([read], at_most_s=seconds, changes=20, pause_s=2e-4)
        still = f"changed at most once in {seconds} s"
        periods[name] = period_s if period_s is not None and period_s != float("inf") else still
    return periods


def window(meter: NvmlMeter, run: Run, kind: str, seconds: float) -> dict[str, Any]:
    """Measure one window and return it as plain data."""
    states = meter.states("begin")
    begin, start_s = meter.read(), time.perf_counter()
    products = run(seconds)
    duration_s, end = time.perf_counter() - start_s, meter.read()
    states += meter.states("end")
    energies, missing = meter.energies(begin, end, duration_s=duration_s, cpu_s=0.0)
    return {
        "kind": kind,
        "duration_s": duration_s,
        "products": products,
        "energy_j": {energy.domain: energy.energy_j for energy in energies},
        "low_j": {energy.domain: energy.low_j for energy in energies},
        "high_j": {energy.domain: energy.high_j for energy in energies},
        "missing": {gap.domain: gap.reason for gap in missing},
        "states": [msgspec.to_builtins(state) for state in states],
    }


def measured(meter: NvmlMeter, idle: Run, load: Run, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return windows in the order idle, load, load, idle, repeated; each after `--settle` seconds of its own kind.

    The settling keeps what came before out of a power that is averaged over a second.
    """
    windows = []
    for repeat in range(options.repeats):
        for kind, run in (("idle", idle), ("load", load), ("load", load), ("idle", idle)):
            run(options.settle)
            windows.append(window(meter, run, kind, options.seconds) | {"repeat": repeat})
            print(_line(windows[-1]), file=sys.stderr)
    return windows


def ratios(windows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return integrated power over counter, by kind of window and domain of the power."""
    found: dict[str, dict[str, list[float]]] = {}
    for seen in windows:
        for domain, energy_j in seen["energy_j"].items():
            counter_j = seen["energy_j"].get(domain.split("-")[0])
            if "-power-" in domain and counter_j is not None:
                found.setdefault(seen["kind"], {}).setdefault(domain, []).append(energy_j / counter_j)
    return {kind: {domain: spread(values) for domain, values in by.items()} for kind, by in found.items()}


def product(windows: list[dict[str, Any]], n: int, domain: str) -> dict[str, Any]:
    """Return the energy of one n × n product on `domain`, gross and net of the idle windows' median power.

    A product is 2·n³ floating-point operations.
    """
    idle_w = [seen["energy_j"][domain] / seen["duration_s"] for seen in windows if _counts(seen, "idle", domain)]
    loads = [seen for seen in windows if _counts(seen, "load", domain)]
    if not idle_w or not loads:
        return {"missing": f"no window of each kind has joules of {domain}"}
    gross_j = [seen["energy_j"][domain] / seen["products"] for seen in loads]
    net_j = [(seen["energy_j"][domain] - median(idle_w) * seen["duration_s"]) / seen["products"] for seen in loads]
    bounds = [(seen["low_j"][domain], seen["high_j"][domain], seen["products"]) for seen in loads]
    known = [(low_j / count, high_j / count) for low_j, high_j, count in bounds if low_j is not None]
    return {
        "domain": domain,
        "gross_j": spread(gross_j),
        "net_of_idle_j": spread(net_j),
        "low_j": min(low_j for low_j, _ in known) if known else None,
        "high_j": max(high_j for _, high_j in known) if known else None,
        "tflop_per_j": spread([2 * n**3 / 1e12 / energy_j for energy_j in gross_j]),
        "tflop_per_s": spread([2 * n**3 / 1e12 * seen["products"] / seen["duration_s"] for seen in loads]),
        "idle_w": spread(idle_w),
    }


def matrix_load(n: int) -> Run:
    """Return a load of bf16 n × n products on the first CUDA device.

    Raises: RuntimeError: torch sees no CUDA device.
    """
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError(f"torch {torch.__version__} sees no CUDA device; install a build of torch for CUDA")
    generator = torch.Generator("cuda").manual_seed(0)
    a, b = (torch.randn(n, n, generator=generator, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(a)

    def run(seconds: float) -> int:
        stop_s, products = time.perf_counter() + seconds, 0
        while time.perf_counter() < stop_s:
            for _ in range(10):
                torch.matmul(a, b, out=out)
            torch.cuda.synchronize()
            products += 10
        return products

    run(0.5)
    return run


def sleeping(seconds: float) -> int:
    """Do nothing for so many seconds."""
    time.sleep(seconds)
    return 0


def report(nvml: Any, meter: NvmlMeter, load: Run, options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything and return it as plain data."""
    gpus, _, _ = visible(nvml, os.environ)
    page: dict[str, Any] = {
        "made_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": ["benchmarks/gpu_meter.py", *options.arguments],
        "versions": _versions(nvml),
        "gpus": {gpu.domain: gpu.name for gpu in gpus},
        "meter": msgspec.to_builtins(meter.info()),
        "read_cost_us": {gpu.domain: costs_us(nvml, gpu, options.reads) for gpu in gpus},
        "refresh_idle_s": {gpu.domain: refreshes_s(nvml, gpu, options.watch) for gpu in gpus},
        "refresh_load_s": _under(load, lambda: {gpu.domain: refreshes_s(nvml, gpu, options.watch) for gpu in gpus}),
    }
    windows = measured(meter, sleeping, load, options)
    billed = sorted(meter.billed)
    return page | {
        "integrated_over_counter": ratios(windows),
        "product": {"n": options.size, "dtype": "bfloat16"} | product(windows, options.size, billed[0]),
        "windows": windows,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; return 0, or 2 where there is no NVIDIA GPU to run it on."""
    options = _options(sys.argv[1:] if arguments is None else arguments)
    meter, missing = open_nvml(also_power=True)
    for gap in missing:
        print(f"missing: {gap.domain}: {gap.reason}", file=sys.stderr)
    if meter is None:
        print("gpu_meter needs an NVIDIA GPU that can be metered; nothing was measured", file=sys.stderr)
        return 2
    import pynvml

    try:
        page = report(pynvml, meter, matrix_load(options.size), options)
    except RuntimeError as error:
        print(f"{error}; nothing was measured", file=sys.stderr)
        return 2
    finally:
        meter.close()
    text = json.dumps(page, indent=1)
    print(json.dumps({name: part for name, part in page.items() if name != "windows"}, indent=1))
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a window (default 5)")
    parser.add_argument("--repeats", type=int, default=5, help="times idle, load, load, idle (default 5)")
    parser.add_argument(
        "--settle", type=float, default=3.0, help="seconds of the same kind before a window (default 3)"
    )
    parser.add_argument("--watch", type=float, default=3.0, help="seconds to watch each reading refresh (default 3)")
    parser.add_argument("--reads", type=int, default=500, help="reads to time each cost with (default 500)")
    parser.add_argument("--size", type=int, default=8192, help="rows of the square matrices (default 8192)")
    options = parser.parse_args(arguments)
    options.arguments = arguments
    return options


def _versions(nvml: Any) -> dict[str, str]:
    found = {"driver": str(nvml.nvmlSystemGetDriverVersion()), "nvml": str(nvml.nvmlSystemGetNVMLVersion())}
    for name in ("nvidia-ml-py", "torch"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found | {"python": sys.version.split()[0]}


def _under(load: Run, watch: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `watch` saw while the load ran in another thread."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            load(0.2)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        return watch()
    finally:
        stop.set()
        worker.join()


def _counts(seen: dict[str, Any], kind: str, domain: str) -> bool:
    return seen["kind"] == kind and domain in seen["energy_j"] and (kind == "idle" or seen["products"] > 0)


def _line(seen: dict[str, Any]) -> str:
    powers = ", ".join(f"{domain} {energy / seen['duration_s']:.1f} W" for domain, energy in seen["energy_j"].items())
    gaps = "".join(f"; {domain} missing: {reason}" for domain, reason in seen["missing"].items())
    return f"{seen['kind']} {seen['duration_s']:.2f} s, {seen['products']} products: {powers}{gaps}"


def _timed_us(call: Callable[[], Any]) -> float:
    start_ns = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start_ns) / 1e3


if __name__ == "__main__":
    sys.exit(main())
