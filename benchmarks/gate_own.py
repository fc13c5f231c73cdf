"""Does the gate catch a technique of this very repository that costs 5 % more, and nothing else?

    python benchmarks/gate_own.py [--budget 8m] [-k "torch_eager or length_bucketing"] [--seed N] [--out FILE]

Three branches of a clone of this work tree's HEAD, each gated by `joulebench gate --base <that commit>` as CI would:

* `costlier`: length_bucketing spends exactly 5 % more CPU time on every request (it goes on computing for 5 % of what
  the request took). The gate must exit with 10 and name this case, and no other.
* `reverted`: `git revert` of that commit. The gate must exit with 0.
* `docs-only`: a line more in the README. The gate must exit with 0.

Needs git, and a quiet machine for its budget three times. Exit 1 where one of them ended otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = "techniques/infer/length_bucketing.py"
CASE = "length_bucketing"
BEGIN = "        import torch\n\n        ids = encode("
END = "        return in_order(parts,"
COSTLIER = {
    BEGIN: "        import time\n\n        import torch\n\n        begun_s = time.thread_time()\n        ids = encode(",
    END: (
        "        spent_s = time.thread_time() - begun_s\n"
        "        while time.thread_time() - begun_s < 1.05 * spent_s:\n"
        "            pass\n"
        "        return in_order(parts,"
    ),
}
EXPECTED = {"costlier": 10, "reverted": 0, "docs-only": 0}


def main() -> int:
    """Gate the three branches; print and write what came of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="8m", help="of each gate")
    parser.add_argument("-k", dest="select", default="torch_eager or length_bucketing", help="which cases are gated")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--out", type=Path, help="write the results there, as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="joulebench-own-") as folder:
        clone = Path(folder) / "clone"
        git(ROOT, "clone", "--quiet", "--no-local", ".", str(clone))
        base = git(clone, "rev-parse", "HEAD")
        branches(clone)
        rows = [gated(clone, branch, base, arguments) for branch in EXPECTED]
    for row in rows:
        print(f"{row['branch']:<10} exit {row['exit_code']} (expected {row['expected']})  {row['wall_s']:.0f} s")
        print(*(f"    {line}" for line in row["lines"]), sep="\n")
    if arguments.out:
        host = {"cpu": cpu(), "cores": os.cpu_count(), "python": platform.python_version()}
        about = {"commit": base, "budget": arguments.budget, "select": arguments.select, "host": host}
        arguments.out.write_text(json.dumps({**about, "branches": rows}, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row["as_expected"] for row in rows) else 1


def branches(clone: Path) -> None:
    """Make the three branches."""
    base = git(clone, "rev-parse", "HEAD")
    git(clone, "checkout", "--quiet", "-b", "costlier")
    path = clone / FILE
    text = path.read_text(encoding="utf-8")
    for old, new in COSTLIER.items():
        if text.count(old) != 1:
            sys.exit(f"{FILE} has changed: it holds {old!r} {text.count(old)} times; adapt this script")
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    git(clone, "commit", "--quiet", "--all", "--message", "Bucket with more care")
    git(clone, "checkout", "--quiet", "-b", "reverted")
    git(clone, "revert", "--no-edit", "HEAD")
    git(clone, "checkout", "--quiet", "-b", "docs-only", base)
    with (clone / "README.md").open("a", encoding="utf-8") as file:
        file.write("\nOne line more.\n")
    git(clone, "commit", "--quiet", "--all", "--message", "Say one thing more")


def gated(clone: Path, branch: str, base: str, arguments: argparse.Namespace) -> dict:
    """Gate one branch by the command, as CI does; return what came of it."""
    git(clone, "checkout", "--quiet", branch)
    options = ["--base", base, "--budget", arguments.budget, "--seed", str(arguments.seed), "-k", arguments.select]
    began_s = time.monotonic()
    command = [sys.executable, "-m", "harness", "gate", "gate.yaml", *options, "--json"]
    done = subprocess.run(command, cwd=clone, stdout=subprocess.PIPE, check=False)
    wall_s = time.monotonic() - began_s
    result = json.loads(done.stdout)
    regressed = [case["name"] for case in result["cases"] if case["verdict"] == "regressed"]
    named = [name for name in regressed if CASE in name]
    right = done.returncode == EXPECTED[branch] and len(regressed) == len(named) == (branch == "costlier")
    return {
        "branch": branch,
        "exit_code": done.returncode,
        "expected": EXPECTED[branch],
        "as_expected": right,
        "wall_s": wall_s,
        "lines": [line(case) for case in result["cases"]],
        "result": result,
    }


def line(case: dict) -> str:
    """Return one line of a case."""
    found = case["estimate"]
    if found is None:
        return f"{case['name']}: {case['verdict']}"
    interval = f"{found['change']:+.1%} [{found['low']:+.1%}, {found['high']:+.1%}]"
    blocks = f"blocks {found['blocks']}/{case['blocks_allowed']} look {case['look']}/{case['looks']}"
    return (
        f"{case['name']}: {case['verdict']} {interval} {blocks} confirmed {case['confirmed']}/{case['confirmations']}"
    )


def git(folder: Path, *arguments: str) -> str:
    """Run git, with a committer for clones that have none; return its output."""
    who = ["-c", "user.name=gate_own", "-c", "user.email=gate_own@example.org"]
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


def cpu() -> str:
    """Return the CPU's name as Linux tells it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((text.partition(":")[2].strip() for text in lines if text.startswith("model name")), "unknown")


if __name__ == "__main__":
    sys.exit(main())
