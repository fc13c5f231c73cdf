"""Simulated suite runs of the gate: how often it cries wolf, what it lets through, what it finds and what that costs.

python benchmarks/gate_null.py [--runs 20000] [--overtimes 3] [--seed 1] [--json FILE]

Every run is a suite of 24 cases that shares nothing but its policy: 8 forks, up to 160 blocks, 4 looks; every case
that these leave undecided goes into overtime (as many blocks again in fresh forks, and a look), up to three times; and
one confirmation of half as many blocks in fresh forks. The decisions are those of `harness.gate.keys`, which the gate
itself uses. It goes into overtime less often, where time is left and worth it, and errs less often for it. Under
"null" head is base in all cases; the other rows make one case of each suite costlier.

A block's log ratio = effect + luck of its fork + noise + what ABBA leaves of drift. The noise has a standard
deviation of `--noise` (0.06: CPU time of 10 ms of work on a busy 2-core machine) and is heavy-tailed (t with 3 degrees
of freedom) or contaminated (every tenth block 5 times as noisy). The level drifts by 20 % over the run, swings by 10 %
with a random period of 12 to 1,200 slots, and walks by a tenth of the noise a slot. The luck of forks is normal, or
two-valued (a memory layout that is good or bad). "every look" spreads each look over all forks; "in turn" finishes two
forks a look.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.gate.keys import Limits, fork_level, judge, recurs
from harness.gate.model import Policy
from harness.stats import planned, wilson

CASES = 24
CHUNK = 250
"""Suite runs simulated at a time: 250 x 24 x 640 doubles, with three overtimes, are 31 MB."""

CONFIRM_SHARE = 0.5
"""Blocks of a confirmation over those of the main stage."""

OVERTIMES = 3


class Scenario(NamedTuple):
    noise: str
    fork_ratio: float
    luck: str = "normal"
    forks: str = "every look"
    effect: float = 0.0

    @property
    def name(self) -> str:
        head = f"+{100 * self.effect:g} % in one case" if self.effect else "null"
        return f"{head:18} {self.noise:12} fork {self.fork_ratio:g}x {self.luck:10} {self.forks}"


NULLS = (
    Scenario("t3", 0.0),
    Scenario("t3", 0.25),
    Scenario("t3", 0.5),
    Scenario("t3", 1.0),
    Scenario("contaminated", 0.0),
    Scenario("contaminated", 0.25),
    Scenario("contaminated", 0.5),
    Scenario("contaminated", 1.0),
    Scenario("t3", 1.0, luck="two-valued"),
    Scenario("t3", 0.25, luck="two-valued"),
    Scenario("t3", 0.0, forks="in turn"),
    Scenario("t3", 1.0, forks="in turn"),
)
EFFECTS = tuple(
    Scenario(noise, ratio, effect=effect, forks=forks)
    for noise, ratio, forks in (
        ("t3", 0.0, "every look"),
        ("t3", 0.25, "every look"),
        ("t3", 1.0, "every look"),
        ("contaminated", 0.25, "every look"),
        ("t3", 0.25, "in turn"),
    )
    for effect in (0.02, 0.03, 0.05, 0.10)
)


class Tally:
    """Counts over suite runs; `target` is the case that was made costlier."""

    def __init__(self) -> None:
        self.runs = self.main_alarms = self.alarms = self.improved = self.blocks = 0
        self.detected_as_planned = self.passed_as_planned = 0
        self.suspected = self.detected = self.passed = self.target_passed = 0

    def add(self, other: Tally) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


def blocks(rng: np.random.Generator, scenario: Scenario, rows: int, forks: int, per_fork: int, sd: float) -> np.ndarray:
    """Return log head − log base of rows x forks x blocks, for head equal to base."""
    shape = (rows, forks, per_fork)
    if scenario.noise == "t3":
        noise = rng.standard_t(3, size=shape) / np.sqrt(3)
    else:
        noise = rng.standard_normal(shape) * np.where(rng.random(shape) < 0.1, 5.0, 1.0) / np.sqrt(0.9 + 2.5)
    if scenario.luck == "normal":
        luck = rng.standard_normal((rows, forks, 1))
    else:
        luck = rng.choice((-1.0, 1.0), size=(rows, forks, 1))
    return sd * (noise + scenario.fork_ratio * luck) + drift(rng, shape, sd)


def drift(rng: np.random.Generator, shape: tuple[int, int, int], sd: float) -> np.ndarray:
    """Return what drift leaves in a block: (first + last − second − third slot) / 2, its sign by the drawn order."""
    rows, forks, per_fork = shape
    slot = 4 * np.arange(forks * per_fork).reshape(1, forks, per_fork)
    pace = 2 * np.pi / np.exp(rng.uniform(np.log(12), np.log(1200), size=(rows, 1, 1)))
    phase = rng.uniform(0, 2 * np.pi, size=(rows, 1, 1))
    # cos a + cos(a + 3p) − cos(a + p) − cos(a + 2p) = 2 cos(a + 3p/2) (cos(3p/2) − cos(p/2)); a line leaves nothing
    swing = 0.10 * np.cos(pace * (slot + 1.5) + phase) * (np.cos(1.5 * pace) - np.cos(0.5 * pace))
    walk = 0.1 * sd * rng.standard_normal(shape) / np.sqrt(2)
    order = np.where(rng.random(shape) < 0.5, 1.0, -1.0)
    return order * (swing + walk)


def seen(differences: np.ndarray, scenario: Scenario, look: int, looks: int) -> np.ndarray:
    """Return the blocks of the first `look` looks."""
    axis = 3 if scenario.forks == "every look" else 2
    count = differences.shape[axis] * look // looks
    return differences.take(range(count), axis=axis)


def simulate(
    rng: np.random.Generator, scenario: Scenario, policy: Policy, runs: int, sd: float, overtimes: int = OVERTIMES
) -> Tally:
    """Return the tally of some suite runs; looks, overtimes and confirmation included."""
    whole = measured(rng, scenario, policy, np.ones((runs, CASES), dtype=bool), sd)
    limits = Limits(
        null=np.zeros(CASES),
        regressed=np.full(CASES, np.log1p(policy.min_effect)),
        improved=np.full(CASES, np.log1p(-policy.min_effect)),
        tolerated=np.full(CASES, np.log1p(policy.tolerance)),
    )
    suspected, improved, passed = (np.zeros((runs, CASES), dtype=bool) for _ in range(3))
    parts = np.ones((runs, CASES), dtype=np.int64)
    tally = Tally()
    innocent = slice(1 if scenario.effect else 0, CASES)
    for look in range(1, policy.looks + overtimes + 1):
        undecided = ~(suspected | improved | passed)
        if policy.overtime(look):
            parts[undecided] += 1
            whole = np.concatenate([whole, measured(rng, scenario, policy, undecided, sd)], axis=2)
        now = seen(whole, scenario, look, policy.looks) if look < policy.looks else whole
        tally.blocks += int(undecided.sum()) * policy.blocks // (1 if policy.overtime(look) else policy.looks)
        found = judge(now, limits, policy, planned(look, policy.looks), undecided)
        suspected, improved, passed = suspected | found.suspected, improved | found.improved, passed | found.passed
        if look == policy.looks:
            tally.passed_as_planned = int(passed[:, innocent].sum())
    regressed = confirmed(rng, scenario, policy, suspected, parts, sd)
    tally.blocks += int((suspected * parts).sum() * policy.blocks * CONFIRM_SHARE)
    tally.detected_as_planned = int((regressed & (parts == 1))[:, 0].sum())
    tally.runs = runs
    tally.main_alarms = int(suspected[:, innocent].any(axis=1).sum())
    tally.alarms = int(regressed[:, innocent].any(axis=1).sum())
    tally.improved = int(improved[:, innocent].any(axis=1).sum())
    tally.passed = int(passed[:, innocent].sum())
    tally.suspected, tally.detected, tally.target_passed = (
        int(each[:, 0].sum()) for each in (suspected, regressed, passed)
    )
    return tally


def measured(rng: np.random.Generator, scenario: Scenario, policy: Policy, wanted: np.ndarray, sd: float) -> np.ndarray:
    """Return what was planned of blocks for the cases that are wanted, NaN for all others."""
    per_fork = policy.blocks // policy.forks
    whole = np.full((*wanted.shape, policy.forks, per_fork), np.nan)
    whole[wanted] = blocks(rng, scenario, int(wanted.sum()), policy.forks, per_fork, sd)
    whole[:, 0] += np.log1p(scenario.effect)
    return whole


def confirmed(
    rng: np.random.Generator, scenario: Scenario, policy: Policy, suspected: np.ndarray, parts: np.ndarray, sd: float
) -> np.ndarray:
    """Return which suspicions recur in fresh forks, half as many blocks in as many as the main stage had of them."""
    regressed = suspected.copy()
    per_fork = int(policy.blocks * CONFIRM_SHARE) // policy.forks
    for _ in range(policy.confirmations):
        for part in np.unique(parts):
            where = np.argwhere(regressed & (parts == part))
            if not len(where):
                continue
            fresh = blocks(rng, scenario, len(where), policy.forks * int(part), per_fork, sd)
            fresh[where[:, 1] == 0] += np.log1p(scenario.effect)
            effect = np.full(len(where), np.log1p(policy.min_effect))
            again = recurs(fresh, np.zeros(len(where)), effect, fork_level(policy, CASES))
            regressed[tuple(where[~again].T)] = False
    return regressed


def run(
    scenario: Scenario, policy: Policy, runs: int, seed: int, sd: float, overtimes: int = OVERTIMES
) -> dict[str, object]:
    """Return the figures of one scenario."""
    began, tally = time.monotonic(), Tally()
    rng = np.random.default_rng([seed, (NULLS + EFFECTS).index(scenario)])
    for start in range(0, runs, CHUNK):
        tally.add(simulate(rng, scenario, policy, min(CHUNK, runs - start), sd, overtimes))
    innocent = runs * (CASES - (1 if scenario.effect else 0))
    figures: dict[str, object] = {
        **scenario._asdict(),
        "runs": runs,
        "false_alarm": share(tally.alarms, runs),
        "false_alarm_before_confirmation": share(tally.main_alarms, runs),
        "false_improvement": share(tally.improved, runs),
        "unchanged_passed": share(tally.passed, innocent),
        "unchanged_passed_as_planned": share(tally.passed_as_planned, innocent),
        "mean_blocks": tally.blocks / (runs * CASES),
        "seconds": round(time.monotonic() - began, 1),
    }
    if scenario.effect:
        figures["detected"] = share(tally.detected, runs)
        figures["detected_as_planned"] = share(tally.detected_as_planned, runs)
        figures["suspected"] = share(tally.suspected, runs)
        figures["passed"] = share(tally.target_passed, runs)
    return figures


def share(count: int, n: int) -> dict[str, float]:
    """Return a share with its 95 % Wilson interval."""
    found = wilson(count, n, 0.95)
    return {"count": count, "n": n, "share": found.value, "low": found.low, "high": found.high}


def shown(figures: dict[str, object], scenario: Scenario) -> str:
    """Return one line for people."""

    def percent(name: str) -> str:
        value = figures[name]
        return f"{100 * value['share']:.2f} % [≤{100 * value['high']:.2f}]"

    line = f"{scenario.name:58} false alarm {percent('false_alarm'):18} improved {percent('false_improvement'):18}"
    if scenario.effect:
        line += f" found {percent('detected'):18} as planned {percent('detected_as_planned')}"
        line += f" passed {percent('passed'):18}"
    else:
        line += f" unconfirmed {percent('false_alarm_before_confirmation'):18}"
        line += f" pass {percent('unchanged_passed')} as planned {percent('unchanged_passed_as_planned')}"
    return f"{line} blocks {figures['mean_blocks']:.0f}  {figures['seconds']} s"


def main() -> int:
    """Run all scenarios; exit 1 if the upper limit of any false-alarm rate exceeds the promise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20_000, help="suite runs of each null scenario")
    parser.add_argument("--effect-runs", type=int, help="suite runs of each scenario with a regression (a quarter)")
    parser.add_argument("--overtimes", type=int, default=OVERTIMES, help="the most that an undecided case gets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--noise", type=float, default=0.06, help="standard deviation of a block's log ratio")
    parser.add_argument("--only", default="", help="scenarios whose name holds this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    policy, results = Policy(), []
    about = {"seed": options.seed, "noise": options.noise, "overtimes": options.overtimes}
    for scenario in NULLS + EFFECTS:
        if options.only in scenario.name:
            runs = (options.effect_runs or max(1, options.runs // 4)) if scenario.effect else options.runs
            figures = run(scenario, policy, runs, options.seed, options.noise, options.overtimes)
            results.append(figures)
            print(shown(figures, scenario), flush=True)
    if options.json:
        options.json.write_text(json.dumps({**about, "scenarios": results}, indent=1))
    worst = max(each["false_alarm"]["high"] for each in results)
    kept = worst <= policy.alpha
    print(f"worst upper limit of the false-alarm rate {100 * worst:.2f} %")
    print(f"the promise of {100 * policy.alpha:g} % {'holds' if kept else 'is not shown'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
