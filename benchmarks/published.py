"""Published trainings sampled on this machine one after another, and set beside what was published of them.

    python benchmarks/published.py --out FOLDER [--for 5m] [--device cuda] [--recipes bert@base translate@base]

Runs `joulebench sample` for each recipe in a process of its own and keeps its `sample.json` as FOLDER/<recipe>.json. A
recipe whose file is there is not sampled again. FOLDER/published.md has a row a recipe: the full run as this machine
would run it, and energy and hours as published, on other hardware and with the data centre's overhead in it. Exit code
1 if a recipe could not be sampled; the others are. Needs a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ("translate@base", "translate@big", "elmo@original", "bert@base", "gpt2@small-nanogpt")
HEAD = (
    "recipe",
    "sampled on",
    "energy of the full run",
    "95 %, with the bounds of meter and overhead",
    "time",
    "published hardware",
    "published time",
    "published energy",
)


def main() -> int:
    """Sample what is missing, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the samples and the table")
    parser.add_argument("--for", dest="duration", default="5m", help="how long each is measured")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    failed = [name for name in options.recipes if not sampled(name, options)]
    files = sorted(options.out.glob("*@*.json"))
    rows = [row(json.loads(path.read_text(encoding="utf-8"))) for path in files]
    table = "\n".join(["| " + " | ".join(cells) + " |" for cells in (HEAD, ("---",) * len(HEAD), *rows)])
    (options.out / "published.md").write_text(table + "\n", encoding="utf-8")
    print(table)
    if failed:
        print(f"not sampled: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def sampled(name: str, options: argparse.Namespace) -> bool:
    """Sample a recipe unless its file is there; return whether there is one now."""
    path = options.out / f"{name}.json"
    if path.exists():
        return True
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "harness", "sample", name, "--for", options.duration]
        command += ["--device", options.device, "--results", scratch]
        ended = subprocess.run(command, cwd=ROOT, check=False)
        found = list(Path(scratch).glob("*/sample-*/sample.json"))
        if ended.returncode or not found:
            return False
        path.write_bytes(found[0].read_bytes())
    return True


def row(sample: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of a sample."""
    run = sample["full_run"]
    energy, duration = run["energy_j"], run["duration_s"]
    published = sample["recipe"]["runs"][0] if sample["recipe"]["runs"] else None
    return (
        sample["recipe"]["name"],
        sample["about"]["hardware"],
        f"{kwh(energy['value'])} kWh, {run['provenance']}",
        f"{kwh(energy['low'])} to {kwh(energy['high'])} kWh",
        f"{duration['value'] / 3600:,.0f} h",
        f"{value(published, 'devices')} x {value(published, 'hardware')}",
        f"{value(published, 'duration_h')} h",
        f"{value(published, 'energy_kwh')} kWh",
    )


def kwh(energy_j: float) -> str:
    """Return joules in kWh with three digits."""
    return f"{float(f'{energy_j / 3.6e6:.3g}'):,.10g}"


def value(run: dict[str, Any] | None, name: str) -> str:
    """Return a published fact, or that there is none."""
    fact = (run or {}).get(name)
    found = None if fact is None else fact.get("value")
    return "?" if found is None else f"{found:,.10g}" if isinstance(found, int | float) else str(found)


if __name__ == "__main__":
    sys.exit(main())
