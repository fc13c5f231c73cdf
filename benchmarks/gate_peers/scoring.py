"""Counts right and false alarms of every tool in every condition, with 95 % Wilson intervals."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from harness.gate.model import Verdict
from harness.stats import wilson

from . import again, keeping
from .keeping import Line
from .plan import CHANGES, DEFAULT, SCENARIOS, TOOLS, UNITS

COLUMNS: dict[str, tuple[str, str | None]] = {
    "pytest-benchmark `median:5%`": ("pytest-benchmark", None),
    "asv, factor 1.1": ("asv", None),
    "asv, factor 1.05": ("asv", "factor=1.05"),
    "pyperf": ("pyperf", None),
    "pyperf, `--min-speed 5`": ("pyperf", "min-speed=5"),
    "joulebench": ("joulebench", None),
}
"""What is shown: a tool, and the name of a second threshold where it is not the default."""

Scores = dict[str, Any]


def score(folder: Path) -> Scores:
    """Return everything that is shown of a run.

    Raises: SystemExit: no trial was kept.
    """
    lines = keeping.trials(folder)
    if not lines:
        raise SystemExit(f"{folder.name} holds no whole trial; run it for longer")
    replayed = replay(folder, lines)
    run = json.loads((folder / keeping.RUN).read_text(encoding="utf-8"))
    return {
        "run": run,
        "trials": len(lines),
        "conditions": [_condition(kept, scenario, change, replayed) for scenario, change, kept in _by_condition(lines)],
        "joulebench": [_ours(kept, scenario, change) for scenario, change, kept in _by_condition(lines)],
        "wall": [_wall(kept, scenario) for scenario in SCENARIOS if (kept := _of(lines, scenario))],
        "replay": _agreement(lines, replayed),
        "code_versions": sorted(
            {kept["code_version"] for line in lines if (kept := line["answers"]["joulebench"]["said"])}
        ),
    }


def replay(folder: Path, lines: Sequence[Line]) -> dict[int, dict[str, str]]:
    """Return what each trial comes to again, by the names of `COLUMNS`, from what was kept and not from what was said.

    Of joulebench it is the product's own word (`pass`, `regressed` …), or `unknown` where its blocks now ask for more
    than was measured: a confirmation, or another look.
    """
    blocks: dict[int, list[Any]] = defaultdict(list)
    for row in keeping.table(folder, keeping.BLOCKS):
        blocks[int(row["trial"])].append(keeping.block_of(row))
    samples: dict[tuple[int, str], dict[str, list[float]]] = defaultdict(dict)
    for row in keeping.table(folder, keeping.SAMPLES):
        samples[int(row["trial"]), row["tool"]][row["arm"]] = [float(each) for each in row["microseconds"].split()]
    return {line["trial"]: dict(_again(line, blocks, samples)) for line in lines}


def _again(line: Line, blocks: dict[int, Any], samples: dict[tuple[int, str], Any]) -> Iterable[tuple[str, str]]:
    trial = line["trial"]
    rules: dict[str, Callable[[], str]] = {
        "pytest-benchmark `median:5%`": lambda: again.pytest_benchmark(line["answers"]["pytest-benchmark"]["said"]),
        "asv, factor 1.1": lambda: again.asv(samples[trial, "asv"], 1.1),
        "asv, factor 1.05": lambda: again.asv(samples[trial, "asv"], 1.05),
        "pyperf": lambda: again.pyperf(samples[trial, "pyperf"]),
        "pyperf, `--min-speed 5`": lambda: again.pyperf(samples[trial, "pyperf"], 5.0),
        "joulebench": lambda: _ours_again(line, blocks[trial]),
    }
    for column, rule in rules.items():
        if said(line, column) != "failed":
            yield column, rule()


def _ours_again(line: Line, blocks: Sequence[Any]) -> str:
    kept = line["answers"]["joulebench"]["said"]
    decided = again.ours(blocks, again.policy_of(kept))
    # Where a regression was suspected then, too, time was short, and that is what is said of it again.
    unconfirmed = decided.unknown and not kept["confirmations"]
    went_on = decided.look > kept["look"]
    would_go_on = decided.undecided and kept["verdict"] != Verdict.INCONCLUSIVE
    return "unknown" if unconfirmed or went_on or would_go_on else decided.verdict.value


def said(line: Line, column: str) -> str:
    """Return the verdict that a tool gave of a trial: alarm, improved, none, or failed."""
    tool, threshold = COLUMNS[column]
    answer = line["answers"][tool]
    if answer["verdict"] == "failed" or threshold is None:
        return str(answer["verdict"])
    return str(answer["also"][threshold])


def _condition(lines: Sequence[Line], scenario: str, change: str, replayed: dict[int, dict[str, str]]) -> Scores:
    shares = {column: _share([said(line, column) for line in lines]) for column in COLUMNS}
    ours = [_as_alarm(replayed[line["trial"]].get("joulebench", "failed")) for line in lines]
    return {
        "scenario": scenario,
        "change": change,
        "exact": CHANGES[change] / UNITS - 1,
        "an_alarm_is": "right" if CHANGES[change] > UNITS else "false",
        "trials": len(lines),
        "tools": {**shares, "joulebench, decided again": _share(ours)},
    }


def _as_alarm(verdict: str) -> str:
    own = {"regressed": "alarm", "improved": "improved", "failed": "failed", "unknown": "failed"}
    return own.get(verdict, "none")


def _share(verdicts: Sequence[str]) -> Scores:
    """Return how many alarmed of those that said anything."""
    found = Counter(verdicts)
    n = len(verdicts) - found["failed"]
    counts = {"alarms": found["alarm"], "n": n, "improved": found["improved"], "failed": found["failed"]}
    if n == 0:
        return counts
    share = wilson(found["alarm"], n, 0.95)
    return counts | {"share": share.value, "low": share.low, "high": share.high}


def _ours(lines: Sequence[Line], scenario: str, change: str) -> Scores:
    answers = [line["answers"]["joulebench"] for line in lines]
    verdicts = Counter(answer["said"].get("verdict", "failed") for answer in answers)
    walls = [answer["wall_s"] for answer in answers]
    return {
        "scenario": scenario,
        "change": change,
        "trials": len(lines),
        "verdicts": dict(verdicts),
        "why_inconclusive": dict(Counter(_why(answer["said"]) for answer in answers if _open(answer["said"]))),
        "median_s": median(walls),
        "longest_s": max(walls),
    }


def _open(kept: Scores) -> bool:
    return bool(kept.get("verdict") == "inconclusive")


def _why(kept: Scores) -> str:
    """Return in a few words what kept a trial open."""
    reason = kept["reason"]
    for sign, words in {
        "not steady": "the control moved",
        "confirmations could be run": "no time to confirm",
        "does not repeat": "not confirmed",
        "forks differ": "forks differ",
        "too few": "too few blocks",
    }.items():
        if sign in reason:
            return words
    return "neither is excluded"


def _wall(lines: Sequence[Line], scenario: str) -> Scores:
    by_tool = {tool: [line["answers"][tool] for line in lines] for tool in TOOLS}
    shown = {}
    for tool, answers in by_tool.items():
        walls = [answer["wall_s"] for answer in answers]
        others = [answer["others_share"] for answer in answers if answer["others_share"] is not None]
        shown[tool] = {
            "median_s": median(walls),
            "longest_s": max(walls),
            "median_cpu_s": median(answer["cpu_s"] for answer in answers),
            "median_others_share": median(others) if others else None,
        }
    return {"scenario": scenario, "trials": len(lines), "tools": shown}


def _agreement(lines: Sequence[Line], replayed: dict[int, dict[str, str]]) -> Scores:
    """Return how often what was kept comes to what was said, with the trials in which it does not."""
    found: Scores = {}
    for column in COLUMNS:
        kept = [line for line in lines if column in replayed[line["trial"]]]
        unlike = [line["trial"] for line in kept if not _alike(line, column, replayed[line["trial"]][column])]
        found[column] = {"trials": len(kept), "unlike": unlike}
    found["joulebench"]["unknown"] = [
        trial for trial, verdicts in replayed.items() if verdicts.get("joulebench") == "unknown"
    ]
    return found


def _alike(line: Line, column: str, verdict: str) -> bool:
    if column == "joulebench":
        return bool(line["answers"]["joulebench"]["said"]["verdict"] == verdict)
    # pytest-benchmark has no word for an improvement.
    return said(line, column) == verdict


def _by_condition(lines: Sequence[Line]) -> list[tuple[str, str, list[Line]]]:
    return [
        (scenario, change, kept)
        for scenario, changes in DEFAULT.items()
        for change in changes
        if (kept := [line for line in _of(lines, scenario) if line["change"] == change])
    ]


def _of(lines: Sequence[Line], scenario: str) -> list[Line]:
    return [line for line in lines if line["scenario"] == scenario]
