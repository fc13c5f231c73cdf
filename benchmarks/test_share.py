"""The share of a quick run's wall time that is spent in measured windows or training."""

import json
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_quick_run(benchmark, tmp_path):
    command = [sys.executable, "-m", "harness", "run", "configs/quick.yaml", "--results", str(tmp_path)]
    benchmark.pedantic(subprocess.run, args=(command,), kwargs={"cwd": ROOT, "check": True}, rounds=1)
    (path,) = tmp_path.glob("*/*/run.json")
    run = json.loads(path.read_text())
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    share = run["measured_s"] / run["wall_s"]
    print(
        f"\nquick run: {run['wall_s']:.0f} s wall, {run['measured_s']:.0f} s measured ({share:.0%}), "
        f"largest process {peak_mib:.0f} MiB"
    )
    assert 0 < share <= 1
