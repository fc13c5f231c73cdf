"""What the probes share: how one is called, latencies of a pair, CPU time of helpers, children of known size.

A probe is `python probe_TOOL.py NAME '{"setting": value}'`, in the tool's own environment and with
nothing installed but the tool; it prints one line of JSON. Imports stand inside functions, so that a
tool that loads a module late is charged for it.
"""

# ruff: noqa: PTH123, PTH208 pathlib would be loaded before a tool that loads it

import os
import sys
import time

CHILD = """
import os, sys, time
while time.process_time() < float(sys.argv[1]):
    sum(range(2000))
os.write(1, repr(time.process_time()).encode())
os._exit(0)
"""


def answer(probes: dict) -> None:
    """Run the probe that the command line names and print what it found."""
    import json

    name, settings = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps(probes[name](**settings)))


def pairs_us(begin, end, *, windows: int, warm_up: int, apart_s: float = 0.0, meanwhile=None) -> list[float]:
    """Return what beginning and ending a window takes together, in µs of wall time, for `windows` windows.

    Args:
        begin: called without arguments; what it returns goes to `end`.
        end: called with it.
        windows: how many count.
        warm_up: how many go before.
        apart_s: work this long between the two over more memory than a core's caches hold: a window's edges are
            seldom as warm as those of empty windows one after the other.
        meanwhile: called in between, not timed.
    """
    if apart_s:
        memory = bytearray(16 << 20)
    costs_us = []
    for _ in range(warm_up + windows):
        start_ns = time.perf_counter_ns()
        mark = begin()
        begun_ns = time.perf_counter_ns()
        if apart_s:
            stop_s = time.perf_counter() + apart_s
            while time.perf_counter() < stop_s:
                memory.count(1)
        if meanwhile is not None:
            meanwhile()
        ending_ns = time.perf_counter_ns()
        end(mark)
        stop_ns = time.perf_counter_ns()
        costs_us.append((begun_ns - start_ns + stop_ns - ending_ns) / 1e3)
    return [round(cost_us, 2) for cost_us in costs_us[warm_up:]]


def sleep_and_weigh(seconds: float) -> dict:
    """Sleep, and return what this process and its helpers spent meanwhile, and how often they woke."""
    import resource

    def state():
        others = {pid: cpu_s_of(pid) for pid in helpers()}
        return others, resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw, time.process_time()

    others, wakes, own_s = state()
    start_s = time.perf_counter()
    time.sleep(seconds)
    own_after_s, slept_s = time.process_time(), time.perf_counter() - start_s
    others_after, wakes_after, _ = state()
    own_cpu_s = own_after_s - own_s
    helpers_cpu_s = sum(cpu_s - others.get(pid, 0.0) for pid, cpu_s in others_after.items())
    return {
        "value": 100 * (own_cpu_s + helpers_cpu_s) / slept_s,
        "slept_s": slept_s,
        "own_cpu_s": own_cpu_s,
        "helpers_cpu_s": helpers_cpu_s,
        "helpers": len(others_after),
        "threads": len(os.listdir("/proc/self/task")),
        "wakes": wakes_after - wakes,
    }


def helpers() -> list[int]:
    """Return the processes below this one."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parents[int(entry)] = int(file.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue  # it ended meanwhile
    below, frontier = [], {os.getpid()}
    while frontier:
        frontier = {pid for pid, parent in parents.items() if parent in frontier}
        below += frontier
    return below


def cpu_s_of(pid: int) -> float:
    """Return the CPU clock of another process in seconds, finer than the jiffies in /proc (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def burn(sizes_cpu_s: list[float], *, at_once: bool) -> float:
    """Run children that burn CPU, one after the other or at once; return the CPU-seconds they say they used."""
    import subprocess

    def begun(size_cpu_s):
        command = [sys.executable, "-I", "-S", "-c", CHILD, str(size_cpu_s)]
        return subprocess.Popen(command, stdout=subprocess.PIPE)

    if at_once:
        children = [begun(size) for size in sizes_cpu_s]
        return sum(float(child.communicate()[0]) for child in children)
    return sum(float(begun(size).communicate()[0]) for size in sizes_cpu_s)
