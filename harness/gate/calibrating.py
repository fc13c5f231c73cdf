"""How often the gate cried wolf on this class of runner: counts of A/A trials, kept for every gate line to print.

A trial is a whole gate run of which both arms are the same code; it alarms if any of its cases is found to have
regressed. `$XDG_DATA_HOME/joulebench/calibration/<fingerprint>.jsonl` (`~/.local/share` by default) is append-only,
one line a trial as `joulebench calibrate` writes it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness import __version__, store
from harness.errors import ConfigError, InvalidMeasurement, ResultsError, UsageError
from harness.gate import control
from harness.gate.model import Arm, Calibration, CaseResult, Verdict
from harness.gate.slots import Built, Pair, Slots
from harness.gate.targets import CallableTarget, GateConfig
from harness.records import Frozen

SCHEMA = 1
"""Version of the lines. 1: first format (2026-11)."""


CONTROL_CASE = "control"


class Entry(Frozen, frozen=True, kw_only=True):
    """`alarms` false alarms in `trials` gate runs of identical code; `what` was measured, `cases` of it a run.

    `inconclusive` runs left a case open and did not alarm. `alpha` is the rate of false alarms that was promised.
    """

    schema: int = SCHEMA
    recorded_utc: str
    host_fingerprint: str
    what: str
    cases: int
    alarms: int
    trials: int
    inconclusive: int = 0
    alpha: float
    code_version: str = __version__


def home() -> Path:
    """Return the folder of the counts.

    Raises: ConfigError: this user has no home folder and XDG_DATA_HOME is not set.
    """
    data = os.environ.get("XDG_DATA_HOME")
    try:
        return (Path(data) if data else Path.home() / ".local" / "share") / "joulebench" / "calibration"
    except RuntimeError as error:
        raise ConfigError("this user has no home folder to keep calibrations in; set XDG_DATA_HOME") from error


def record(entry: Entry) -> Path:
    """Append a calibration; return the file.

    Raises: UsageError: it counts no trial, or more alarms than trials. ResultsError: the file cannot be written.
    """
    if entry.trials < 1 or not 0 <= entry.alarms + entry.inconclusive <= entry.trials or entry.alarms < 0:
        raise UsageError(f"{entry.alarms} alarms in {entry.trials} trials is no count; at least one trial has to end")
    path = _path(entry.host_fingerprint)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(f"cannot make {path.parent}: {error.strerror or error}; set XDG_DATA_HOME") from error
    store.append_line(path, entry)
    return path


def entries(host_fingerprint: str) -> tuple[Entry, ...]:
    """Return the calibrations of hosts with this fingerprint, oldest first.

    Raises: ResultsError: a line of the file is damaged; names file and line.
    """
    kept = store.read_lines(_path(host_fingerprint), Entry)
    return tuple(entry for entry in kept if entry.host_fingerprint == host_fingerprint)


def history(host_fingerprint: str) -> Calibration | None:
    """Return the false alarms counted on hosts with this fingerprint; None where there was no calibration.

    Raises: ResultsError: a line of the file is damaged.
    """
    kept = entries(host_fingerprint)
    if not kept:
        return None
    return Calibration(alarms=sum(entry.alarms for entry in kept), trials=sum(entry.trials for entry in kept))


def control_config() -> GateConfig:
    """Return a gate of the control kernel alone, with the promises that a gate has by default."""
    return GateConfig(cases=(CallableTarget(name=CONTROL_CASE, target="kernel:kernel"),))


@contextlib.contextmanager
def control_slots() -> Iterator[Slots]:
    """Lay out the control kernel as base and as head, in both places each, as `slots.build` does with a repository."""
    with tempfile.TemporaryDirectory(prefix="joulebench-gate-", ignore_cleanup_errors=True) as scratch:
        built = []
        for pair in ("pair-1", "pair-2"):
            for slot in ("slot-a", "slot-b"):
                place = Path(scratch).resolve() / pair / slot
                place.mkdir(parents=True)
                shutil.copy(control.__file__, place / "kernel.py")
                built.append(Built(place=place, root=place, python=Path(sys.executable)))
        arm = Arm(ref="the control kernel", commit=None, dirty=False, lock_sha256=None)
        pairs = Pair(base=built[0], head=built[1]), Pair(base=built[3], head=built[2])
        yield Slots(base=arm, head=arm, pairs=pairs)


def alarmed(results: Sequence[CaseResult]) -> tuple[str, ...]:
    """Return the cases of a trial that alarmed though their arms are the same code.

    Raises: InvalidMeasurement: none did, and a case could not be measured: such a trial might have been less quiet.
    """
    alarms = tuple(case.name for case in results if case.verdict in (Verdict.REGRESSED, Verdict.WORSE_QUALITY))
    broken = [case for case in results if case.verdict in (Verdict.INVALID, Verdict.VANISHED, Verdict.NEW)]
    if broken and not alarms:
        raise InvalidMeasurement(
            f"the trial does not count: {broken[0].name} is {broken[0].verdict.value}: {broken[0].reason}"
        )
    return alarms


def _path(host_fingerprint: str) -> Path:
    return home() / f"{host_fingerprint[:8]}.jsonl"
