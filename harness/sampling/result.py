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
from harness.records import Frozen, Measured, MeterInfo, Missing
from harness.sampling.extrapolating import PhaseFound
from harness.workloads.architectures.steps import StepSpec

SCHEMA = 1
"""Version of sample.json. 1: first format (2026-11)."""


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
    """One line of `windows.jsonl`; `cycle` counts from 0 in a phase."""

    phase: str
    part: str
    cycle: int
    measured: Measured


class Sample(Frozen, frozen=True, kw_only=True):
    """The sample of one recipe; `sample.json`.

    `parameters` learn, heads counted. `build` is what making the model cost, `idle` are windows of rest, `idle_w` their
    mean power where a counter sees all of the host. An `interrupted` sample holds what was whole by then.
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
    interrupted: bool
    build: Measured
    idle: tuple[Measured, ...]
    idle_w: float | None
    phases: tuple[PhaseFound, ...]
    full_run: FullRun
    notes: tuple[str, ...]


def sample_id(recipe: Recipe, started_utc: str) -> str:
    """Return the name of a sample's folder."""
    return f"sample-{recipe.name}-{started_utc.replace('-', '').replace(':', '')}"


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
