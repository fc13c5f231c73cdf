"""codecarbon, offline and writing nothing, by its task interface (`start_task`, `stop_task`)."""

# ruff: noqa: SLF001 what a peer keeps to itself has to be read where it offers no way

import time

import probing

J_PER_KWH = 3.6e6


def tracker(mode: str, **settings):
    from codecarbon import OfflineEmissionsTracker

    return OfflineEmissionsTracker(
        country_iso_code="USA", tracking_mode=mode, output_methods=[], log_level="error", **settings
    )


def pair(windows: int, mode: str, apart_s: float = 0.0) -> dict:
    tracking = tracker(mode)

    values = probing.pairs_us(
        tracking.start_task, lambda _: tracking.stop_task(), windows=windows, warm_up=3, apart_s=apart_s
    )
    return {"values": values, "cpu": _cpu(tracking)}


def sleep(seconds: float, every_s: float | None = None) -> dict:
    tracking = tracker("machine", **({} if every_s is None else {"measure_power_secs": every_s}))
    tracking.start()
    weight = probing.sleep_and_weigh(seconds)
    tracking.stop()
    return weight


def first() -> dict:
    import codecarbon  # noqa: F401, the import is weighed by itself

    start_s = time.perf_counter()
    tracking = tracker("machine")
    tracking.start_task()
    tracking.stop_task()
    took_s = time.perf_counter() - start_s
    return {"value": 1e3 * took_s, "helpers": len(probing.helpers())}


def share(sizes_cpu_s: list[float]) -> dict:
    """The share of its children's CPU-seconds that process mode bills, by the tool's own watts.

    In process mode joules are CPU-seconds × TDP / CPUs, so joules lead back to CPU-seconds. The tool's own
    CPU time stays in, in its favour.
    """
    tracking = tracker("process")
    tracking.start_task()
    tracking.stop_task()  # the first task finds the hardware; it is not to stand in the window
    tracking.start_task()
    truth_cpu_s = probing.burn(sizes_cpu_s, at_once=False)
    energy_j = tracking.stop_task().cpu_energy * J_PER_KWH
    cpu = _cpu(tracking)
    if cpu["mode"] != "cpu_load":
        return {"value": None, "reason": f"process mode measures by {cpu['mode']} here, not by CPU time", "cpu": cpu}
    billed_cpu_s = energy_j * cpu["cpus"] / cpu["tdp_w"]
    return {"value": 100 * billed_cpu_s / truth_cpu_s, "truth_cpu_s": truth_cpu_s, "energy_j": energy_j, "cpu": cpu}


def idle(seconds: float) -> dict:
    tracking = tracker("machine")
    tracking.start_task()
    tracking.stop_task()
    tracking.start_task()
    time.sleep(seconds)
    data = tracking.stop_task()
    return {"value": data.cpu_energy * J_PER_KWH, "ram_j": data.ram_energy * J_PER_KWH, "cpu": _cpu(tracking)}


def shape(cpu_s: float) -> dict:
    """The same CPU-seconds in one process and in two at once."""
    tracking = tracker("machine")
    tracking.start_task()
    tracking.stop_task()
    energies_j = []
    for sizes in ([cpu_s], [cpu_s / 2, cpu_s / 2]):
        tracking.start_task()
        probing.burn(sizes, at_once=True)
        energies_j.append(tracking.stop_task().cpu_energy * J_PER_KWH)
    one_j, two_j = energies_j
    return {"value": max(one_j / two_j, two_j / one_j), "one_j": one_j, "two_j": two_j, "cpu": _cpu(tracking)}


def _cpu(tracking) -> dict:
    """How the tool measures the CPU here: RAPL, or a load model with this TDP over these CPUs."""
    from codecarbon.external.hardware import CPU

    (cpu,) = (item for item in tracking._hardware if isinstance(item, CPU))
    return {"mode": cpu._mode, "tdp_w": cpu._tdp, "cpus": cpu._cpu_count}


if __name__ == "__main__":
    probing.answer({"pair": pair, "sleep": sleep, "first": first, "share": share, "idle": idle, "shape": shape})
