"""`calibrate`: how often the gate alarms on this host when base and head are the same code."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from harness import host, schedule, stats
from harness.cli import gating
from harness.cli.gating import Ground
from harness.cli.output import print_json, progress_bar
from harness.engines.local import exclusive
from harness.errors import INTERRUPTED_EXIT, ConfigError, InvalidMeasurement, UsageError
from harness.gate import calibrating, running, slots, targets, writing
from harness.gate.model import Block, GateResult, Verdict
from harness.gate.slots import Slots
from harness.gate.survey import Folders
from harness.units import parse_duration_s

CONFIDENCE = 0.95

_END_S = 1.0
"""A trial that ends so shortly before the deadline, or later, was cut short."""


class Request(NamedTuple):
    """What was typed; without `config` the control kernel is measured."""

    config: Path | None
    trials: int
    budget: str
    select: str
    build: str | None
    results: Path
    as_json: bool


class Tally(NamedTuple):
    """What the trials of one calibration came to."""

    trials: int
    alarms: int
    uncounted: int


def calibrate(request: Request) -> int:
    """Run trials until there are enough or the budget is spent, count each, and print the sum; return 0."""
    try:
        with gating.one_interruption():
            _calibrate(request)
    except KeyboardInterrupt:
        click.echo(
            "interrupted: the trials that had ended are counted, and all processes and slots of the last one are gone",
            err=True,
        )
        return INTERRUPTED_EXIT
    return 0


def _calibrate(request: Request) -> None:
    budget_s, path = parse_duration_s(request.budget), request.config
    if path is None and (request.select or request.build):
        raise UsageError("-k and --build are for the cases of a gate.yaml; name one, or leave them out")
    if path is not None and not path.is_file():
        raise ConfigError(f"there is no {path}; without a file, the control kernel is calibrated on")
    ground = Ground(
        config=calibrating.control_config() if path is None else targets.load(path),
        fingerprint=host.fingerprint(host.probe()),
        calibration=None,
        seed=secrets.randbelow(2**31),
        started_utc=schedule.utc_now(),
        began_s=time.monotonic(),
        budget_s=budget_s,
    )
    layout: contextlib.AbstractContextManager[Slots] = (
        calibrating.control_slots()
        if path is None
        else slots.build(path.resolve().parent, base="HEAD", head="HEAD", command=request.build)
    )
    with exclusive(), layout as built:
        tally = _trials(request, ground, built)
    _tell(tally, ground.fingerprint, as_json=request.as_json)


def _trials(request: Request, ground: Ground, built: Slots) -> Tally:
    """Run trials; the first has all of the budget, a later one begins only if the longest so far would fit."""
    done = alarms = uncounted = 0
    longest_s = 0.0
    while done < request.trials and (left_s := ground.left_s()) > longest_s:
        began_s = time.monotonic()
        trial = ground._replace(
            seed=secrets.randbelow(2**31), started_utc=schedule.utc_now(), began_s=began_s, budget_s=left_s
        )
        result, blocks = _trial(request, trial, built, f"trial {done + 1} of {request.trials}")
        longest_s = max(longest_s, _END_S, time.monotonic() - began_s)
        try:
            cases = _alarmed(result, trial)
        except InvalidMeasurement as error:
            uncounted += 1
            click.echo(f"joulebench: {error}", err=True)
            continue
        calibrating.record(_entry(request, result, alarmed=bool(cases)))
        done += 1
        alarms += bool(cases)
        if cases:
            folder = _keep(result, blocks, request.results)
            shown = shlex.join(["joulebench", "explain", f"{folder}#{cases[0]}"])
            click.echo(f"false alarm with seed {trial.seed}: {', '.join(cases)}; `{shown}` says more", err=True)
    if done == 0:
        raise InvalidMeasurement("no trial counted; give more time with --budget, or see the messages above")
    return Tally(trials=done, alarms=alarms, uncounted=uncounted)


def _alarmed(result: GateResult, trial: Ground) -> tuple[str, ...]:
    """Return the cases that alarmed. Raises: InvalidMeasurement: the trial does not count."""
    cases = calibrating.alarmed(result.cases)
    # Cut short it had fewer looks, so it would count as quieter than a gate run is. An alarm is one all the same.
    if _open(result) and not cases and trial.left_s() <= _END_S:
        raise InvalidMeasurement("the last trial did not end within the budget and does not count")
    return cases


def _open(result: GateResult) -> bool:
    return any(case.verdict is Verdict.INCONCLUSIVE for case in result.cases)


def _trial(request: Request, ground: Ground, built: Slots, title: str) -> tuple[GateResult, list[Block]]:
    blocks: list[Block] = []
    with tempfile.TemporaryDirectory(prefix="joulebench-logs-") as scratch, progress_bar(title) as show:
        logs = Path(scratch) / "logs"
        logs.mkdir()
        asked = running.Asked(
            config_name="gate.yaml" if request.config is None else request.config.name,
            budget_s=ground.budget_s,
            seed=ground.seed,
            folders=Folders(logs=logs, scratch=Path(scratch)),
            keep=blocks.append,
            on_progress=show,
            matches=gating.matching(request.select),
            # Every trial is to be alike, and there are more to come.
            overtime=False,
        )
        outcome = running.run(ground.config, built, asked)
    if not outcome.results:
        raise UsageError(f"no case of {request.config} matches {request.select!r}, so no trial could alarm; widen it")
    return gating.concluded(ground, built, outcome, "", strict=False, asked=_asked(request, ground)), blocks


def _asked(request: Request, ground: Ground) -> tuple[str, ...]:
    """Return what a gate is to be asked, beside base and seed, to repeat a trial."""
    if request.config is None:
        return ()
    words = [str(request.config), "--head", "HEAD", "--budget", f"{ground.budget_s:.0f}s"]
    for name, value in (("-k", request.select), ("--build", request.build)):
        words += [name, value] if value else []
    return tuple(words)


def _entry(request: Request, result: GateResult, *, alarmed: bool) -> calibrating.Entry:
    return calibrating.Entry(
        recorded_utc=schedule.utc_now(),
        host_fingerprint=result.host_fingerprint,
        what="the control kernel" if request.config is None else request.config.name,
        cases=len(result.cases),
        alarms=int(alarmed),
        trials=1,
        inconclusive=int(_open(result) and not alarmed),
        alpha=result.policy.alpha,
    )


def _keep(result: GateResult, blocks: list[Block], results: Path) -> Path:
    """Keep a trial that alarmed as a gate run, which can be explained and scored again; return its folder."""
    folder = writing.create_gate(results, result.host_fingerprint, result.started_utc)
    for block in blocks:
        writing.append_block(folder, block)
    note = "this is a trial of `joulebench calibrate`: base and head are the same code, so what alarmed is false"
    writing.write_gate(folder, msgspec.structs.replace(result, gate_id=folder.name, notes=(*result.notes, note)))
    return folder


def _tell(tally: Tally, fingerprint: str, *, as_json: bool) -> None:
    kept = calibrating.history(fingerprint)
    if kept is None:
        return
    share = stats.wilson(kept.alarms, kept.trials, CONFIDENCE)
    if as_json:
        print_json({"host_fingerprint": fingerprint, "now": tally._asdict(), "all": kept, "share": share})
        return
    click.echo(f"now: {tally.alarms} false alarms in {tally.trials} gate runs of identical code")
    click.echo(
        f"on hosts like this ({fingerprint[:8]}): {kept.alarms} in {kept.trials}, so the rate is at most "
        f"{share.high:.1%} (95 % Wilson); gate lines print it"
    )
