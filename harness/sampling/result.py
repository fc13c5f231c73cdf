"""What is kept of a sample: `results/<host fingerprint>/sample-<recipe>-<time>/`.

sample.json      recipe, settings, host, meters, raw series, means, the full run (Sample)
windows.jsonl    every window as it was measured, one a line (Taken); on disk before the next begins
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from harness import store
from harness.accounting import FullRun, Recipe
from harness.errors import ResultsError
from harness.records import Energy, Frozen, Measured, MeterInfo, Missing, Provenance
from harness.sampling.extrapolating import PhaseFound
from harness.workloads.architectures.steps import StepSpec

SCHEMA = 1
"""Version of sample.json. 1: first format (2026-11)."""

BY_USER = "by the user"
"""What ended a sample early that was ended by Ctrl-C."""

_OF_THE_WHOLE = (Provenance.COUNTER, Provenance.INTEGRATED_POWER)


class Options(Frozen, frozen=True, kw_only=True):
    """How a sample was asked for; `micro_batch` is None where it was found.

    `target`, `ratio` and `ratio_source` are as in `accounting.Target`; the target is the sampled hardware if None.
    """

    for_s: float
    device: str = "cpu"
    threads: int = 1
    meters: tuple[str, ...] = ("auto",)
    micro_batch: int | None = None
    confidence: float = 0.95
    target: str | None = None
    ratio: float | None = None
    ratio_source: str = ""


class About(Frozen, frozen=True, kw_only=True):
    """Where a sample is made: `host` as `host.probe` says, `hardware` the name of what trains."""

    host: dict[str, Any]
    host_fingerprint: str
    hardware: str
    code_version: str
    recipes_file: str | None = None


class Taken(Frozen, frozen=True, kw_only=True):
    """One line of `windows.jsonl`: so many `times` of a part, of which a published step has `weight`.

    `cycle` counts from 0 in a phase. A sample that was killed can be extrapolated from these lines.
    """

    phase: str
    part: str
    times: int
    weight: float
    cycle: int
    measured: Measured


class Sample(Frozen, frozen=True, kw_only=True):
    """The sample of one recipe; `sample.json`.

    `parameters` learn, heads counted. `build` is what making the model cost, `idle` are windows of rest, `idle_w` their
    mean power in what a counter sees all of (`counted`). `interrupted` says what ended the sample early ("" if nothing
    did); it then holds what was whole by then. `domains` are what each draws in the steps of the full run
    (`domains_of`).
    """

    schema: int = SCHEMA
    sample_id: str
    recipe: Recipe
    spec: StepSpec
    options: Options
    about: About
    parameters: int
    meters: tuple[MeterInfo, ...]
    missing: tuple[Missing, ...]
    started_utc: str
    finished_utc: str
    interrupted: str
    build: Measured
    idle: tuple[Measured, ...]
    idle_w: float | None
    phases: tuple[PhaseFound, ...]
    full_run: FullRun
    domains: tuple[Energy, ...]
    notes: tuple[str, ...]


def sample_id(recipe: Recipe, started_utc: str) -> str:
    """Return the name of a sample's folder."""
    # Not every way to copy a folder takes an @ in its name.
    return f"sample-{recipe.name.replace('@', '-')}-{started_utc.replace('-', '').replace(':', '')}"


def counted(measured: Measured) -> tuple[Energy, ...]:
    """Return the billed joules that are a device's or the host's; a model's, or a share, are those of one process."""
    return tuple(each for each in measured.energies if each.billed and each.provenance in _OF_THE_WHOLE)


def make_folder(root: Path, fingerprint: str, name: str) -> Path:
    """Make and return the folder of a new sample.

    Raises: ResultsError: it cannot be made, or is there.
    """
    folder = root / fingerprint[:8] / name
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise ResultsError(
            f"cannot write a sample to {folder}: {error.strerror or error}; choose another folder with --results"
        ) from error
    return folder


def write(sample: Sample, folder: Path) -> Path:
    """Write `sample.json` whole; return its path.

    Raises: ResultsError: the folder cannot be written.
    """
    path = folder / "sample.json"
    try:
        store.write_atomically(path, msgspec.json.format(msgspec.json.encode(sample)) + b"\n")
    except OSError as error:
        raise ResultsError(
            f"cannot write {path}: {error.strerror or error}; windows.jsonl beside it is kept"
        ) from error
    return path
