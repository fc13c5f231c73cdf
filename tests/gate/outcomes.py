"""Results of gates that never ran, for the outputs: every verdict there is, with blocks that fit."""

from __future__ import annotations

import math
import random
from typing import Any

from msgspec.structs import replace

from harness.gate.exits import exit_of
from harness.gate.model import (
    Arm,
    Block,
    Calibration,
    CaseResult,
    Estimate,
    GateResult,
    Policy,
    Quality,
    Slot,
    Stage,
    Verdict,
)
from harness.records import Doubt, MeterInfo, Provenance, SelfTest

RAPL = MeterInfo(
    name="rapl",
    domains=("cpu-package", "dram"),
    provenance=Provenance.COUNTER,
    boundary="socket and memory, every process on it",
    self_test=SelfTest(
        tested_utc="2026-11-23T13:59:00Z", windows=8, window_s=0.25, monotonic=True, plausible=False, faults=("leapt",)
    ),
)
MODELLED = MeterInfo(
    name="modelled",
    domains=("cpu-process",),
    provenance=Provenance.MODELLED,
    boundary="this process and its children",
    coefficients="cpu_watts@1:EPYC 4",
)

COSTLIER = Estimate(
    change=0.041,
    low=0.026,
    high=0.057,
    confidence=0.98,
    p_value=2e-5,
    p_adjusted=0.0004,
    forks=8,
    same_sign=8,
    blocks=120,
    detectable=0.016,
)
LEVEL = replace(COSTLIER, change=-0.001, low=-0.012, high=0.011, p_value=0.6, p_adjusted=1.0, same_sign=5)
WIDE = replace(COSTLIER, change=0.021, low=-0.03, high=0.08, p_value=0.1, p_adjusted=1.0, detectable=None)
CHEAPER = replace(COSTLIER, change=-0.22, low=-0.24, high=-0.2, p_value=1.0, p_adjusted=1.0)

WORSE = Quality(metric="accuracy", n=288, base=0.912, head=0.88, difference=-0.032, low=-0.051, high=-0.013, worse=True)

REASONS = {
    Verdict.PASS: "the upper bound +1.1% is below the tolerance of 3%",
    Verdict.REGRESSED: "+4.1% a task, found again in fresh processes",
    Verdict.IMPROVED: "-22.0% a task",
    Verdict.INCONCLUSIVE: "the interval reaches from -3.0% to +8.0%",
    Verdict.INVALID: "a worker of head died in fork 3",
    Verdict.WORSE_QUALITY: "accuracy fell by 3.2 points",
    Verdict.VANISHED: "base has it, head does not",
    Verdict.NEW: "head has it, base does not",
}
ESTIMATES = {
    Verdict.PASS: LEVEL,
    Verdict.REGRESSED: COSTLIER,
    Verdict.IMPROVED: CHEAPER,
    Verdict.INCONCLUSIVE: WIDE,
    Verdict.WORSE_QUALITY: CHEAPER,
}


def case(verdict: Verdict = Verdict.PASS, name: str | None = None, **changes: Any) -> CaseResult:
    """Return a case of a verdict as the gate would report it on a host with RAPL."""
    estimate = ESTIMATES.get(verdict)
    measured: dict[str, Any] = {}
    if estimate is not None:
        measured = {
            "estimate": estimate,
            "base_j": 0.412,
            "head_j": 0.412 * (1 + estimate.change),
            "base_s": 0.0101,
            "head_s": 0.0103,
            "look": 3,
            "looks": 4,
            "blocks_allowed": 160,
            "control_change": 0.002,
            "provenance": Provenance.COUNTER,
            "meters": (RAPL,),
        }
    if verdict is Verdict.REGRESSED:
        measured |= {"confirmed": 1, "confirmations": 1}
    if verdict is Verdict.INCONCLUSIVE:
        measured |= {"more_s": 95.0, "doubts": (Doubt.HOST_BUSY,)}
    if verdict is Verdict.WORSE_QUALITY:
        measured["quality"] = WORSE
    return CaseResult(
        **{
            "name": name or f"infer/{verdict.value}",
            "verdict": verdict,
            "reason": REASONS[verdict],
            **measured,
            **changes,
        }
    )


def modelled(verdict: Verdict = Verdict.REGRESSED, **changes: Any) -> CaseResult:
    """Return a case on a host without any energy counter."""
    meters = {"provenance": Provenance.MODELLED, "meters": (MODELLED,), "doubts": (Doubt.MODELLED,)}
    return case(verdict, **{**meters, **changes})


def result(*cases: CaseResult, strict: bool = False, missing: tuple[str, ...] = (), **changes: Any) -> GateResult:
    """Return the result of a gate with these cases, its exit code as `exit_of` says; or of one with no baseline."""
    code, reasons = exit_of(cases, strict=strict)
    if missing:
        code, reasons = 12, tuple(f"12 baseline: {sentence}" for sentence in missing)
    fields: dict[str, Any] = {
        "gate_id": "20261123T140000Z-gate",
        "base": Arm(ref="origin/main", commit="b" * 40, dirty=False, lock_sha256="1" * 64),
        "head": Arm(ref="HEAD", commit="c" * 40, dirty=False, lock_sha256="1" * 64),
        "policy": Policy(),
        "seed": 4711,
        "started_utc": "2026-11-23T14:00:00Z",
        "wall_s": 581.0,
        "host_fingerprint": "7c1e90ab" + "0" * 56,
        "code_version": "0.1.0+d7b3ec4",
        "cases": cases,
        "calibration": Calibration(alarms=0, trials=412),
        "strict": strict,
        "exit_code": code,
        "exit_reasons": reasons,
    }
    return GateResult(**{**fields, **changes})


def everything(*, strict: bool = False) -> GateResult:
    """Return a gate with one case of every verdict."""
    return result(*(case(verdict) for verdict in Verdict), strict=strict)


def block(name: str, fork: int, index: int, change: float, stage: Stage = Stage.MAIN, **changes: Any) -> Block:
    """Return a block in which head costs `change` more than base (a relative change), with its control."""

    def slot(arm: str, energy_j: float) -> Slot:
        return Slot(
            arm=arm,
            tasks=2,
            duration_s=0.02,
            cpu_s=energy_j / 20,
            energy_j=energy_j,
            provenance=Provenance.COUNTER,
            checksum="same",
        )

    base, head = slot("base", 0.8), slot("head", 0.8 * (1 + change))
    fields: dict[str, Any] = {
        "case": name,
        "stage": stage,
        "fork": fork,
        "index": index,
        "order": "ABBA",
        "slots": (base, head, head, base),
        "control": (slot("control", 0.5),),
    }
    return Block(**{**fields, **changes})


def blocks(name: str, change: float, *, forks: int = 4, each: int = 6, seed: int = 1) -> list[Block]:
    """Return noisy blocks around a change, in several forks of the main stage."""
    draw = random.Random(seed)
    return [
        block(name, fork, index, math.expm1(math.log1p(change) + draw.gauss(0, 0.01)))
        for fork in range(forks)
        for index in range(each)
    ]
