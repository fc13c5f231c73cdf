"""zeus, asked for the CPU only; a fake powercap tree takes the place of `zeus.device.cpu.rapl.RAPL_DIR`."""

# ruff: noqa: SLF001 what a peer keeps to itself has to be read where it offers no way

import time

import probing


def monitor(root: str | None):
    from zeus.device.cpu import rapl
    from zeus.monitor import ZeusMonitor

    if root is not None:
        rapl.RAPL_DIR = f"{root}/class/powercap/intel-rapl"
    return ZeusMonitor(gpu_indices=[])


def pair(windows: int, root: str | None = None, apart_s: float = 0.0) -> dict:
    zeus = monitor(root)
    values = probing.pairs_us(
        lambda: zeus.begin_window("w"),
        lambda _: zeus.end_window("w"),
        windows=windows,
        warm_up=20,
        apart_s=apart_s,
    )
    return {"values": values, "cpus": len(zeus.cpu_indices)}


def sleep(seconds: float, root: str | None = None) -> dict:
    zeus = monitor(root)
    _settle(zeus)
    zeus.begin_window("w")
    weight = probing.sleep_and_weigh(seconds)
    zeus.end_window("w")
    return weight


def first(root: str | None = None) -> dict:
    import zeus.monitor  # noqa: F401, the import is weighed by itself

    start_s = time.perf_counter()
    zeus_monitor = monitor(root)
    zeus_monitor.begin_window("w")
    zeus_monitor.end_window("w")
    took_s = time.perf_counter() - start_s
    return {"value": 1e3 * took_s, "helpers": len(probing.helpers())}


def idle(seconds: float) -> dict:
    """A sleeping window on the host's own counters, if it has any."""
    zeus = monitor(None)
    zeus.begin_window("w")
    time.sleep(seconds)
    return {"value": _host_j(zeus.end_window("w")), "reason": "no RAPL on this host"}


def shape(cpu_s: float) -> dict:
    """The same CPU-seconds in one process and in two at once."""
    zeus = monitor(None)
    energies_j = []
    for sizes in ([cpu_s], [cpu_s / 2, cpu_s / 2]):
        zeus.begin_window("w")
        probing.burn(sizes, at_once=True)
        energies_j.append(_host_j(zeus.end_window("w")))
    one_j, two_j = energies_j
    if one_j is None or two_j is None:
        return {"value": None, "reason": "no RAPL on this host"}
    return {"value": max(one_j / two_j, two_j / one_j), "one_j": one_j, "two_j": two_j}


def wraps(folder: str, after_s: list[float]) -> dict:
    from powercap_tree import windows_across_a_wrap
    from zeus.device import cpu

    def open_meter(tree):
        cpu._cpus = None
        zeus = monitor(tree.root)
        _settle(zeus)

        def close():
            for one in zeus.cpus.cpus:
                for file in (one.rapl_file, one.dram):
                    file.wraparound_tracker._stop()

        return lambda: zeus.begin_window("w"), lambda _: zeus.end_window("w").cpu_energy[0], close

    return windows_across_a_wrap(folder, after_s, open_meter)


def _settle(zeus) -> None:
    """Wait until the helpers have imported zeus and watch the counters: that is neither background nor a race."""
    zeus.begin_window("settle")
    time.sleep(1.5)
    zeus.end_window("settle")


def _host_j(measured) -> float | None:
    return None if measured.cpu_energy is None else sum(measured.cpu_energy.values())


if __name__ == "__main__":
    probing.answer({"pair": pair, "sleep": sleep, "first": first, "idle": idle, "shape": shape, "wraps": wraps})
