"""Published trainings sampled on this machine one after another, and set beside what was published of them.

    python benchmarks/published.py --out FOLDER [--for 5m] [--device cuda] [--recipes bert@base translate@base]

Runs `joulebench sample` for each recipe in a process of its own and keeps `sample.json` and `windows.jsonl` in
FOLDER/<recipe>, with a - for the @. A recipe whose sample is there is not sampled again. What a sample that failed or
was interrupted has left stays in folders below FOLDER/<recipe>. FOLDER/published.md has a row a recipe: the full run as
this machine would run it, and energy and hours as published, on other hardware and with the data centre's overhead in
them where the row says PUE. Exit code 1 if a recipe could not be sampled; the others are. Needs a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from harness.records import Energy
from harness.stats.totals import billed_total
from harness.units import parse_duration_s

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ("translate@base", "translate@big", "elmo@original", "bert@base", "gpt2@small-nanogpt")
HEAD = (
    "recipe",
    "sampled on",
    "energy of the full run, without PUE",
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
    wanted = [name for name in options.recipes if not place(name, options).exists()]
    if wanted:
        minutes = len(wanted) * parse_duration_s(options.duration) / 60
        print(
            f"{len(wanted)} to sample for {options.duration} each: {minutes:.3g} min in all, and some for building and "
            "trying the models",
            file=sys.stderr,
        )
    failed = [name for name in wanted if not sampled(name, options)]
    print(table(options.out))
    if failed:
        print(f"not sampled: {', '.join(failed)}; what they left is in {options.out}", file=sys.stderr)
    return 1 if failed else 0


def place(name: str, options: argparse.Namespace) -> Path:
    """Return where the sample of a recipe is kept; not every way to copy a folder takes an @ in a name."""
    return Path(options.out, name.replace("@", "-"), "sample.json")


def sampled(name: str, options: argparse.Namespace) -> bool:
    """Sample a recipe and write the table anew; return whether there is a whole sample now."""
    path = place(name, options)
    command = [sys.executable, "-m", "harness", "sample", name, "--for", options.duration]
    command += ["--device", options.device, "--results", str(path.parent.resolve())]
    child = subprocess.Popen(command, cwd=ROOT)
    try:
        code = child.wait()
    except KeyboardInterrupt:
        child.wait()  # it was interrupted too, and writes what it has
        raise
    found = max(path.parent.glob("*/sample-*/sample.json"), key=lambda each: each.stat().st_mtime, default=None)
    if code or found is None:
        return False
    for file in found.parent.iterdir():
        file.rename(path.parent / file.name)
    found.parent.rmdir()
    if not any(found.parents[1].iterdir()):
        found.parents[1].rmdir()
    table(options.out)
    return True


def table(folder: Path) -> str:
    """Write the table of all samples in a folder and return it; after each, so that an end before the last keeps it."""
    rows = [row(json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*/sample.json"))]
    text = "\n".join(["| " + " | ".join(cells) + " |" for cells in (HEAD, ("---",) * len(HEAD), *rows)])
    (folder / "published.md").write_text(text + "\n", encoding="utf-8")
    return text


def row(sample: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of a sample."""
    run = sample["full_run"]
    energy, duration = run["energy_j"], run["duration_s"]
    runs = sample["recipe"]["runs"]
    # A run with its energy, where there is one: that is what the sample is set beside.
    published = next((each for each in runs if each.get("energy_kwh")), runs[0] if runs else None)
    known = billed_total(msgspec.convert(sample["domains"], tuple[Energy, ...]), (), sample["recipe"]["name"]).label
    return (
        sample["recipe"]["name"],
        sample["about"]["hardware"],
        f"{kwh(energy['value'])} kWh, {known}",
        f"{kwh(energy['low'])} to {kwh(energy['high'])} kWh",
        f"{duration['value'] / 3600:,.0f} h",
        f"{value(published, 'devices')} x {value(published, 'hardware')}",
        f"{value(published, 'duration_h')} h",
        f"{value(published, 'energy_kwh')} kWh{note(published, 'energy_kwh')}",
    )


def kwh(energy_j: float) -> str:
    """Return joules in kWh with three digits."""
    return f"{float(f'{energy_j / 3.6e6:.3g}'):,.10g}"


def value(run: dict[str, Any] | None, name: str) -> str:
    """Return a published fact, or that there is none."""
    fact = (run or {}).get(name)
    found = None if fact is None else fact.get("value")
    return "?" if found is None else f"{found:,.10g}" if isinstance(found, int | float) else str(found)


def note(run: dict[str, Any] | None, name: str) -> str:
    """Return what a published fact holds, in brackets."""
    said = ((run or {}).get(name) or {}).get("note")
    return f" ({said})" if said else ""


if __name__ == "__main__":
    sys.exit(main())
