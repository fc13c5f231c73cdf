"""What is kept of a train case while it runs, so that a killed run goes on with it and counts each joule once.

`training/<case_id>/progress.json` in the run's folder says what was measured up to a checkpoint, and names the file
beside it from which a fresh worker goes on there. Both are replaced together: what was measured after them belongs to
steps that will be taken again, and is in no record.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from harness import store
from harness.errors import ResultsError
from harness.messages import Resume
from harness.records import Case, CurvePoint, Doubt, Frozen, Window


class TrainProgress(Frozen, frozen=True, kw_only=True):
    """A train case up to a checkpoint; `fork` counts the workers that it took so far, from 0."""

    fork: int
    resume: Resume
    windows: tuple[Window, ...]
    curve: tuple[CurvePoint, ...]
    doubts: tuple[Doubt, ...]


def load(folder: Path, case: Case) -> TrainProgress | None:
    """Return what an interrupted run kept of a case; None where it kept nothing.

    Raises: ResultsError: the file is damaged.
    """
    path = _file(folder, case)
    try:
        return msgspec.json.decode(path.read_bytes(), type=TrainProgress)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ResultsError(
            f"{path} cannot be read: {error}; remove the folder {path.parent} to train {case.name} from the start"
        ) from error


def write(folder: Path, case: Case, progress: TrainProgress) -> None:
    """Put progress on disk whose state is there already; older states go."""
    path = _file(folder, case)
    store.write_atomically(path, msgspec.json.encode(progress))
    for other in path.parent.glob("*.safetensors"):
        if other.name != Path(progress.resume.file).name:
            other.unlink()


def drop(folder: Path, case: Case) -> None:
    """Remove what was kept of a case that has its record."""
    shutil.rmtree(_file(folder, case).parent, ignore_errors=True)


def _file(folder: Path, case: Case) -> Path:
    return folder / "training" / case.case_id / "progress.json"
