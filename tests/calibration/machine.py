"""A simulated machine: `python machine.py ROOT PID` turns the real CPU time of PID's burners into a powercap counter.

Below ROOT it keeps `class/powercap/intel-rapl:0`, whose energy rises by 10 W plus 7 W for each second of CPU time, and
`proc/stat`, on which nothing but the burners runs (and, with a third argument, that many neighbours). A wall meter
logs to `wall.csv` what the whole machine drew: 30 W more.
"""

import os
import signal
import sys
import time
from pathlib import Path

IDLE_W = 10.0
DYNAMIC_W = 7.0
REST_OF_MACHINE_W = 30.0
TURN_UJ = 262_143_328_850


def burners(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                if b"harness.calibration.burner" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
            except OSError:
                continue
    return found


def cpu_ns(pid):
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        return None


def main(root, pid, neighbours):
    zone, proc = root / "class/powercap/intel-rapl:0", root / "proc"
    zone.mkdir(parents=True)
    proc.mkdir()
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text(f"{TURN_UJ}\n")
    energy = os.open(zone / "energy_uj", os.O_RDWR | os.O_CREAT)
    stat = os.open(proc / "stat", os.O_RDWR | os.O_CREAT)
    log = (root / "wall.csv").open("w", buffering=1)
    log.write("unix_s,energy_j\n")
    begun_s = time.perf_counter()
    seen, looked_s, logged_s = {}, 0.0, 0.0
    while os.getppid() == pid:
        now_s = time.perf_counter()
        if now_s - looked_s > 0.1:
            seen.update((child, 0) for child in burners(pid) if child not in seen)
            looked_s = now_s
        for child, last_ns in seen.items():
            seen[child] = cpu_ns(child) or last_ns
        busy_s = sum(seen.values()) / 1e9
        wall_s = now_s - begun_s
        energy_uj = round((IDLE_W * wall_s + DYNAMIC_W * busy_s) * 1e6) % TURN_UJ
        os.pwrite(energy, f"{energy_uj:020d}\n".encode(), 0)
        jiffies = int((busy_s + neighbours * wall_s) * 100)
        os.pwrite(stat, f"cpu  {jiffies:012d} 0 0 0 0 0 0 0 0 0\n".encode(), 0)
        if now_s - logged_s > 0.02:
            log.write(f"{time.time():.6f},{REST_OF_MACHINE_W * wall_s + energy_uj / 1e6:.6f}\n")
            logged_s = now_s
        time.sleep(0.002)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the machine does not stop for a Ctrl-C at its terminal
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.0)
