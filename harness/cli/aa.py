"""`calibrate`: how often the gate alarms on this host when base and head are the same code."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import click

from harness import host, schedule, stats
from harness.cli.output import print_json, progress_bar
from harness.engines.local import exclusive
from harness.errors import ConfigError, InvalidMeasurement
from harness.gate import calibrating, running, slots, targets
from harness.gate.model import CaseResult, Verdict
from harness.gate.slots import Slots
from harness.gate.survey import Folders
from harness.gate.targets import GateConfig
from harness.units import parse_duration_s

CONFIDENCE = 0.95


class Tally(NamedTuple):
    """What the trials of one calibration came to."""

    trials: int
    alarms: int
    uncounted: int


def calibrate(config: Path | None, trials: int, budget: str, *, as_json: bool) -> int:
    """Run trials until there are enough or the budget is spent, keep each, and print the sum; return 0."""
    budget_s = parse_duration_s(budget)
    if config is not None and not config.is_file():
        raise ConfigError(f"there is no {config}; without a file, the control kernel is calibrated on")
    asked = calibrating.control_config() if config is None else targets.load(config)
    fingerprint = host.fingerprint(host.probe())
    layout: contextlib.AbstractContextManager[Slots] = (
        calibrating.control_slots()
        if config is None
        else slots.build(config.resolve().parent, base="HEAD", head="HEAD")
    )
    with exclusive(), layout as built:
        tally = _trials(asked, built, config, fingerprint, trials, time.monotonic() + budget_s)
    _tell(tally, fingerprint, as_json=as_json)
    return 0


def _trials(
    config: GateConfig, built: Slots, path: Path | None, fingerprint: str, trials: int, deadline_s: float
) -> Tally:
    """Run trials; the first has all of the budget, a later one begins only if the longest so far would fit."""
    done = alarms = uncounted = 0
    longest_s = 0.0
    while done < trials and time.monotonic() + longest_s < deadline_s:
        began_s = time.monotonic()
        results = _trial(config, built, path, deadline_s - began_s, f"trial {done + 1} of {trials}")
        longest_s = max(longest_s, time.monotonic() - began_s)
        try:
            cases = calibrating.alarmed(results)
        except InvalidMeasurement as error:
            uncounted += 1
            click.echo(f"joulebench: {error}", err=True)
            continue
        open_cases = any(case.verdict is Verdict.INCONCLUSIVE for case in results)
        if open_cases and time.monotonic() >= deadline_s - 1.0:
            # Cut short it had fewer looks, so it would count as quieter than a gate run is.
            uncounted += 1
            click.echo("the last trial did not end within the budget and does not count", err=True)
            break
        calibrating.record(
            calibrating.Entry(
                recorded_utc=schedule.utc_now(),
                host_fingerprint=fingerprint,
                what="the control kernel" if path is None else path.name,
                cases=len(results),
                alarms=int(bool(cases)),
                trials=1,
                inconclusive=int(open_cases and not cases),
                alpha=config.policy.alpha,
            )
        )
        done += 1
        alarms += bool(cases)
        if cases:
            click.echo(f"false alarm: {', '.join(cases)}", err=True)
    if done == 0:
        raise InvalidMeasurement("no trial counted; give more time with --budget, or see the messages above")
    return Tally(trials=done, alarms=alarms, uncounted=uncounted)


def _trial(config: GateConfig, built: Slots, path: Path | None, budget_s: float, title: str) -> tuple[CaseResult, ...]:
    with tempfile.TemporaryDirectory(prefix="joulebench-logs-") as scratch, progress_bar(title) as show:
        logs = Path(scratch) / "logs"
        logs.mkdir()
        asked = running.Asked(
            config_name="gate.yaml" if path is None else path.name,
            budget_s=budget_s,
            seed=secrets.randbelow(2**31),
            folders=Folders(logs=logs, scratch=Path(scratch)),
            keep=lambda _: None,
            on_progress=show,
        )
        return running.run(config, built, asked).results


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
