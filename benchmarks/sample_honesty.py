"""Small trainings run to their end: how often the interval from the first tenth of the steps holds the whole.

    python benchmarks/sample_honesty.py --out FOLDER [--trials 24] [--recipe bert@honest] [--pairs]
    python benchmarks/sample_honesty.py --out FOLDER --score

A trial is a fresh process. It builds the model, tries a step as `joulebench sample` does, and runs every step of the
recipe in a window of its own (or as many as the meter needs), through the sampling code. The truth is the sum over all
windows. The extrapolation is `harness.sampling.extrapolate` on the first tenth of the same windows, without overhead
and without the meter's bounds (sample and truth have the same meter error), at 95 %.

`--pairs` asks another question too. A published step that takes too long is put together from windows of micro-batches
and windows of updates, as short as the meter lets them be. Here the batch is run as four micro-batches, and after the
first tenth as many micro-batches as were in it are measured beside the training, in pairs of such windows, as long as
`joulebench sample` makes them: does the interval from the pairs hold the whole training?

What batch means alone would have held, without the wandering of the machine, is scored beside both. The machine is
taken for one that is shared, as `joulebench sample` takes any virtual one. `wander_rms` is how its first tenths
wandered, `level_rms` how it did from one training to the next, both as √h of flicker and as a share of the level.

FOLDER keeps a file a trial with the raw series; a trial whose file is there is not run again. Needs a quiet machine.
Nominal is 95 %; the run fails (exit 1) where fewer than 90 % of the trials hold.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECIPES = Path(__file__).with_suffix(".yaml")
TENTH, CONFIDENCE, ACCUMULATIONS, LEAST_HELD = 0.1, 0.95, 4, 0.9
ALONE = ", batch means alone"


def main() -> int:
    """Run the trials that are missing, score all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the trials")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--recipe", default="bert@honest", help=f"one of {RECIPES.name}")
    parser.add_argument("--meters", default="auto")
    parser.add_argument("--pairs", action="store_true", help="sample pairs of windows too")
    parser.add_argument("--score", action="store_true", help="score what is there, run nothing")
    parser.add_argument("--trial", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if options.trial is not None:
        run_trial(options)
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.score:
        about(options)
        run_missing(options)
    return score(options.out)


def about(options: argparse.Namespace) -> None:
    """Write what is run, or refuse to go on with a folder that was made otherwise."""
    from importlib.metadata import version

    asked = {
        "recipe": options.recipe,
        "meters": options.meters,
        "pairs": options.pairs,
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "torch": version("torch"),
        "python": platform.python_version(),
    }
    path = options.out / "about.json"
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != asked:
        sys.exit(f"{path} was made otherwise: {path.read_text(encoding='utf-8')}\ngive another --out")
    path.write_text(json.dumps(asked, indent=1) + "\n", encoding="utf-8")


def run_missing(options: argparse.Namespace) -> None:
    """Run each trial that has no file, in a process of its own."""
    from harness import device

    environment = {**os.environ, **device.environment(1), "PYTHONPATH": str(ROOT)}
    for number in range(options.trials):
        if trial_path(options.out, number).exists():
            continue
        begun_s = time.monotonic()
        command = [sys.executable, __file__, "--out", str(options.out), "--trial", str(number)]
        command += ["--recipe", options.recipe, "--meters", options.meters, *(["--pairs"] if options.pairs else [])]
        subprocess.run(command, env=environment, check=True)
        print(f"trial {number + 1} of {options.trials}: {time.monotonic() - begun_s:.0f} s", flush=True)


def trial_path(folder: Path, number: int) -> Path:
    """Return the file of a trial."""
    return folder / f"trial-{number:03}.json"


def run_trial(options: argparse.Namespace) -> None:
    """Run one training to its end and write its raw series."""
    from harness import device, meters, store
    from harness.sampling import ask, find
    from harness.sampling.planning import FORWARD_BACKWARD, SHORTEST_WINDOW_S, STEP, UPDATE, Part
    from harness.sampling.taking import take, timer, window
    from harness.workloads.architectures.steps import Steps

    device.prepare("cpu", threads=1, seed=options.trial)
    asked = ask(find(options.recipe, RECIPES), seed=options.trial)
    (phase,) = asked.phases
    k = ACCUMULATIONS if options.pairs else 1
    micro_batch = round(phase.sequences / k)
    opened = meters.open_meters((options.meters,), "cpu")
    build, steps = window(opened, "cpu", lambda: Steps(asked.spec))
    times = timer(steps, "cpu", lambda *_: None)(phase, micro_batch)
    step_s = k * times.forward_backward_s + times.update_s

    def long_enough(each_s: float, least_s: float = 0.0) -> int:
        return max(1, math.ceil(max(least_s, 1.1 * opened.shortest_s) / each_s))

    each = long_enough(step_s)
    whole = planned(phase, micro_batch, k, (Part(name=STEP, times=each, weight=1.0),))
    cycles: list[Any] = []
    total = round(phase.steps.number) // each
    first = int(TENTH * total)
    take(steps, whole, opened, "cpu", into=cycles, enough=lambda done: done >= first)
    pairs: list[Any] = []
    if options.pairs:
        runs_each = long_enough(times.forward_backward_s, SHORTEST_WINDOW_S)
        runs = Part(name=FORWARD_BACKWARD, times=runs_each, weight=float(k))
        updates = Part(name=UPDATE, times=long_enough(times.update_s, SHORTEST_WINDOW_S), weight=1.0)
        apart = planned(phase, micro_batch, k, (runs, updates))
        take(steps, apart, opened, "cpu", into=pairs, enough=lambda done: done * runs.times >= first * each * k)
    take(steps, whole, opened, "cpu", into=cycles, enough=lambda done: done >= total)
    document = {
        "trial": options.trial,
        "steps": total * each,
        "sampled": first,
        "shortest_s": opened.shortest_s,
        "build": raw(build),
        "plan": to_plain(whole),
        "cycles": [[raw(one) for one in cycle] for cycle in cycles],
        "pairs_plan": to_plain(apart) if options.pairs else None,
        "pairs": [[raw(one) for one in cycle] for cycle in pairs],
    }
    opened.close()
    store.write_atomically(trial_path(options.out, options.trial), json.dumps(document).encode() + b"\n")


def planned(phase: Any, micro_batch: int, k: int, parts: tuple[Any, ...]) -> Any:
    """Return a plan of which the number of cycles is given, so that its times do not matter."""
    from harness.sampling import PhasePlan

    return PhasePlan(
        phase=phase,
        micro_batch=micro_batch,
        accumulations=float(k),
        whole=len(parts) == 1,
        parts=parts,
        cycle_s=0.0,
        for_s=0.0,
    )


def to_plain(plan: Any) -> Any:
    """Return a plan as JSON holds it."""
    import msgspec

    return msgspec.to_builtins(plan)


def raw(measured: Any) -> dict[str, Any]:
    """Return the billed joules of a window, its seconds, and what it is doubted for."""
    from harness.stats.totals import billed_total

    total = billed_total(measured.energies, measured.missing, "a window")
    busy = measured.load.busy_other_share
    return {
        "energy_j": total.energy_j,
        "duration_s": measured.duration_s,
        "cpu_s": measured.cpu_s,
        "provenance": total.provenance.value,
        "busy_other_share": busy,
    }


def score(folder: Path) -> int:
    """Print and write what the trials there show; return 1 where too few hold."""
    paths = sorted(folder.glob("trial-*.json"))
    if not paths:
        sys.exit(f"{folder} holds no trial")
    trials = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    rows = [row for trial in trials for row in scored(trial)]
    for row in rows:
        print(line(row))
    found = [
        summary(rows, sample, quantity) for sample, quantity in dict.fromkeys((r["sample"], r["of"]) for r in rows)
    ]
    print()
    for each in found:
        print(
            f"{each['sample']}, {each['of']}: {each['held']} of {each['trials']} trials held ({each['share']:.0%}, "
            f"Wilson 95 %: {each['low']:.0%} to {each['high']:.0%}); half-width ±{each['half_width']:.2%}, error "
            f"{each['error']:+.2%} on average; doubted {each['doubted']}"
        )
    about_run = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    wander_rms = math.sqrt(math.fsum(wandered(trial) ** 2 for trial in trials) / len(trials))
    print(f"the first tenths wander by {wander_rms:.2%} of their level (root mean square)")
    level_rms = wandered_between(trials)
    if level_rms is not None:
        print(f"from one training to the next the level wanders by {level_rms:.2%}")
    document = {
        "about": about_run,
        "confidence": CONFIDENCE,
        "tenth": TENTH,
        "wander_rms": wander_rms,
        "level_rms": level_rms,
        "summary": found,
        "trials": rows,
    }
    (folder / "scores.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    ours = [each for each in found if not each["sample"].endswith(ALONE)]
    return 0 if all(each["share"] >= LEAST_HELD for each in ours) else 1


def scored(trial: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a trial says of energy and of time, from the first tenth and, where there are, from pairs."""
    samples = {"first tenth": (trial["plan"], trial["cycles"][: trial["sampled"]])}
    if trial["pairs"]:
        samples["pairs"] = (trial["pairs_plan"], trial["pairs"])
    rows = []
    for name, (plan, cycles) in samples.items():
        run, phase = extrapolated(plan, cycles, trial["steps"])
        rows += judged(trial, name, run, phase) + judged(trial, name + ALONE, unwandering(run, phase), phase)
    return rows


def wandered(trial: dict[str, Any]) -> float:
    """Return how the joules of the first tenth wander, as a share of their mean, whatever is known of the machine."""
    from harness.stats.batch_means import batch_means

    first = trial["cycles"][: trial["sampled"]]
    found = batch_means([math.fsum(window["energy_j"] for window in cycle) for cycle in first])
    return found.wander / found.mean


def wandered_between(trials: list[dict[str, Any]]) -> float | None:
    """Return how the joules of whole trainings wander, as a share of their mean; None for fewer than two."""
    from harness.stats.wander import flicker

    if len(trials) < 2:
        return None
    levels = [math.fsum(window["energy_j"] for cycle in t["cycles"] for window in cycle) / t["steps"] for t in trials]
    return flicker(levels) / (math.fsum(levels) / len(levels))


def judged(trial: dict[str, Any], sample: str, run: Any, phase: Any) -> list[dict[str, Any]]:
    """Return a row of energy and one of time: the truth, the full run, whether it held."""
    rows = []
    for quantity, key, whole in (("energy", "energy_j", run.energy_j), ("time", "duration_s", run.duration_s)):
        truth = math.fsum(window[key] for cycle in trial["cycles"] for window in cycle)
        rows.append(
            {
                "trial": trial["trial"],
                "sample": sample,
                "of": quantity,
                "truth": truth,
                "value": whole.value,
                "low": whole.low,
                "high": whole.high,
                "held": whole.low <= truth <= whole.high,
                "doubts": list(phase.series_doubts),
            }
        )
    return rows


def unwandering(run: Any, phase: Any) -> Any:
    """Return the full run as it would be extrapolated for a machine that does not wander."""
    from msgspec.structs import replace

    from harness.accounting import full_run

    sample = phase.sample()
    energy = replace(sample.energy, value=replace(sample.energy.value, wander=0.0))
    steady = replace(sample, energy=energy, duration=replace(sample.duration, wander=0.0))
    return full_run([steady], run.fixed, *exact(), confidence=CONFIDENCE)


def exact() -> tuple[Any, Any]:
    """Return the overhead and the target of a run that is compared with itself."""
    from harness.accounting import Overhead, Target

    return Overhead(value=0.0, low=0.0, high=0.0, source="the truth has none"), Target(sampled="here", target="here")


def extrapolated(plan: dict[str, Any], cycles: list[list[dict[str, Any]]], steps: int) -> tuple[Any, Any]:
    """Return the full run from these windows, as `joulebench sample` makes it, and what was found of the phase."""
    import msgspec

    from harness.records import Energy, HostLoad, Measured, Provenance
    from harness.sampling import Aim, PhasePlan, Series, extrapolate
    from harness.stats.wander import SHARED

    def measured(window: dict[str, Any]) -> Measured:
        energy = Energy(
            domain="total",
            energy_j=window["energy_j"],
            provenance=Provenance(window["provenance"]),
            boundary="as billed",
            meter="as billed",
        )
        return Measured(
            duration_s=window["duration_s"],
            cpu_s=window["cpu_s"],
            energies=(energy,),
            load=HostLoad(busy_other_share=window["busy_other_share"], steal_share=None, load_1m=None),
        )

    series = Series(
        plan=msgspec.convert(
            {**plan, "phase": {**plan["phase"], "steps": {"value": steps, "level": "primary"}}}, PhasePlan
        ),
        cycles=tuple(tuple(measured(window) for window in cycle) for cycle in cycles),
    )
    overhead, target = exact()
    aim = Aim(overhead=overhead, target=target, confidence=CONFIDENCE, least_wander=SHARED)
    run, (phase,) = extrapolate([series], None, aim)
    return run, phase


def summary(rows: list[dict[str, Any]], sample: str, quantity: str) -> dict[str, Any]:
    """Return how often one kind of interval held, with Wilson's interval."""
    from harness.stats import wilson

    mine = [row for row in rows if row["sample"] == sample and row["of"] == quantity]
    held = sum(row["held"] for row in mine)
    share = wilson(held, len(mine), 0.95)
    widths = sorted((row["high"] - row["low"]) / 2 / row["value"] for row in mine)
    return {
        "sample": sample,
        "of": quantity,
        "trials": len(mine),
        "held": held,
        "share": share.value,
        "low": share.low,
        "high": share.high,
        "half_width": widths[len(widths) // 2],
        "error": sum(row["value"] / row["truth"] - 1 for row in mine) / len(mine),
        "doubted": sum(bool(row["doubts"]) for row in mine),
    }


def line(row: dict[str, Any]) -> str:
    """Return one line of a trial."""
    unit = "J" if row["of"] == "energy" else "s"
    return (
        f"trial {row['trial']:3} {row['sample']:<30} {row['of']:<6} {row['truth']:9.3f} {unit}, extrapolated "
        f"{row['value']:9.3f} [{row['low']:.3f}, {row['high']:.3f}] {'held' if row['held'] else 'MISSED'} "
        f"{' '.join(row['doubts'])}".rstrip()
    )


def cpu() -> str:
    """Return the CPU's name as Linux tells it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((text.partition(":")[2].strip() for text in lines if text.startswith("model name")), "unknown")


if __name__ == "__main__":
    sys.exit(main())
