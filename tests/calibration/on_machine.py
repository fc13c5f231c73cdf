"""`calibrate-power` on a simulated machine: `python on_machine.py ROOT [NEIGHBOURS]`; exits as the command does."""

import subprocess
import sys
import time
from pathlib import Path

import machine

from harness.cli import calibrating
from harness.counters.edges import Edges
from harness.counters.load import HostReader
from harness.errors import JoulebenchError
from harness.meters.plugins import wall
from harness.meters.rapl import open_rapl
from harness.meters.window import MeterWindow


def start(root, pid, neighbours=0.0):
    command = [sys.executable, machine.__file__, str(root), str(pid), str(neighbours)]
    process = subprocess.Popen(command)
    stat = Path(root) / "proc/stat"
    while not (stat.exists() and stat.stat().st_size):
        time.sleep(0.01)
    return process


def window(root, against="rapl"):
    meter, missing = open_rapl(root) if against == "rapl" else wall.open_meter(f"{root}/wall.csv", None)
    assert meter is not None, missing
    return MeterWindow([meter], edges=Edges([meter], host=HostReader(f"{root}/proc")))


if __name__ == "__main__":
    import os

    root = Path(sys.argv[1])
    physics = start(root, os.getpid(), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
    try:
        code = calibrating.calibrate_power("auto", "18s", 1, None, as_json=False, opened=lambda _: window(root))
    except JoulebenchError as error:
        sys.stderr.write(f"joulebench: {error}\n")
        code = error.exit_code
    finally:
        physics.kill()
        physics.wait()
    sys.exit(code)
