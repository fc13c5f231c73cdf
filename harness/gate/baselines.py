"""Stored baselines: runs that later runs of the same suite on the same host are held against.

`baselines.jsonl` beside the results is append-only. Each line names a run with the SHA-256 of its files, and holds
the hash of the line before it, so that a line, or a file it names, that was edited later is found and named. What a
chain cannot tell is that its newest lines were cut off; keep the file under version control.

Runs made at different times are not interleaved. What is compared is therefore the ratio of each technique to the
baseline technique interleaved with it (`compare.compare_runs`), which the drift of the machine leaves alone; a
change of that technique itself cancels out and is not seen. Verdicts are trends: advisory, unless the whole
interval lies beyond the tolerance. A pull request is better gated with `--base`, which measures both sides now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from harness import host, records, store
from harness.compare import Results
from harness.errors import IncomparableRecords, ResultsError
from harness.records import Failed, Frozen, Ok, RunInfo

SCHEMA = 1
"""Version of the lines of `baselines.jsonl`. 1: first format (2026-11)."""

FILE = "baselines.jsonl"


class Entry(Frozen, frozen=True, kw_only=True):
    """One stored baseline. `run` is relative to the file's folder, `files` are relative to the run."""

    schema: int = SCHEMA
    number: int
    added_utc: str
    run_id: str
    run: str
    suite_name: str
    host_fingerprint: str
    code_version: str
    note: str = ""
    files: dict[str, str]
    previous_sha256: str | None
    sha256: str = ""


def add(path: Path, folder: Path, *, added_utc: str, note: str = "") -> Entry:
    """Append a run to the baselines in `path`; return its entry.

    Raises: ResultsError: the run is not finished, has a failed case, lies elsewhere, or is a baseline already.
        IncomparableRecords: the file was edited.
    """
    entries = load(path)
    run = store.load_run(folder)
    _worth_keeping(run)
    if any(entry.run_id == run.info.run_id for entry in entries):
        raise ResultsError(f"run {run.info.run_id} is a baseline already; `joulebench baseline list` shows them")
    try:
        relative = run.folder.resolve().relative_to(path.parent.resolve())
    except ValueError:
        raise ResultsError(
            f"{run.folder} does not lie beside {path}; move the run there, so that both travel together"
        ) from None
    entry = Entry(
        number=len(entries) + 1,
        added_utc=added_utc,
        run_id=run.info.run_id,
        run=relative.as_posix(),
        suite_name=run.info.suite_name,
        host_fingerprint=run.info.host_fingerprint,
        code_version=run.info.code_version,
        note=note,
        files=_hashes(run.folder),
        previous_sha256=entries[-1].sha256 if entries else None,
    )
    entry = msgspec.structs.replace(entry, sha256=_sha256(entry))
    store.append_line(path, entry)
    return entry


def load(path: Path) -> tuple[Entry, ...]:
    """Return the entries, oldest first; () where there is no file.

    Raises: IncomparableRecords: an entry was rewritten, removed or inserted, or a line is none.
    """
    try:
        entries = store.read_lines(path, Entry)
    except ResultsError as error:
        raise _edited(path, f"a line cannot be read ({error})") from error
    before: Entry | None = None
    for place, entry in enumerate(entries, start=1):
        if entry.schema != SCHEMA:
            raise IncomparableRecords(_unlike_format(f"{path}, entry {place}", entry.schema, SCHEMA))
        if entry.sha256 != _sha256(entry):
            raise _edited(path, f"entry {place} (run {entry.run_id}) was rewritten after it was added")
        if entry.previous_sha256 != (before.sha256 if before else None):
            what = f"entry {place - 1} (run {before.run_id})" if before else "an entry before the first"
            raise _edited(
                path,
                f"{what} was rewritten, or an entry beside it was removed or inserted, after entry {place} was added",
            )
        before = entry
    return entries


def find(path: Path, current: RunInfo) -> store.Run:
    """Return the stored run that `current` is held against.

    Args:
        path: a run's folder; or `baselines.jsonl` or its folder, where the newest of this suite and host counts.
        current: what is held against it.

    Raises: IncomparableRecords: there is none, it is of an unlike host (with every field that differs), or of another
        format, or it was edited after it was added. ResultsError: a file is damaged.
    """
    _same_format(current)
    if (path / "run.json").exists() or path.name == "run.json":
        folder = path if path.is_dir() else path.parent
        stored = store.load_run(folder)
        _same_format(stored.info)
        _same_host(stored.info, current)
        _verify_if_listed(folder)
        return stored
    file = path / FILE if path.is_dir() else path
    suite = [entry for entry in load(file) if entry.suite_name == current.suite_name]
    if not suite:
        raise IncomparableRecords(
            f"{file} holds no baseline of suite {current.suite_name!r}; add one from the default branch with "
            "`joulebench baseline add RUN`"
        )
    here = [entry for entry in suite if entry.host_fingerprint == current.host_fingerprint]
    entry = (here or suite)[-1]
    verify(file, entry)
    stored = store.load_run(file.parent / entry.run)
    _same_format(stored.info)
    _same_host(stored.info, current)
    return stored


def verify(path: Path, entry: Entry) -> None:
    """Check that the files of a baseline are what they were when it was added.

    Raises: IncomparableRecords: a file was changed, removed or added; names each.
    """
    folder = path.parent / entry.run
    if not folder.is_dir():
        raise IncomparableRecords(
            f"baseline {entry.number} names {folder}, which does not exist; fetch the results it was stored with"
        )
    now = _hashes(folder)
    changed = [
        f"{name}: {'removed' if name not in now else 'added' if name not in entry.files else 'changed'}"
        for name in sorted(now.keys() | entry.files.keys())
        if now.get(name) != entry.files.get(name)
    ]
    if changed:
        raise IncomparableRecords(
            f"baseline {entry.number} (run {entry.run_id}) was edited after it was added ({'; '.join(changed)}); "
            "restore its files from version control, or add a new baseline"
        )


def _same_format(info: RunInfo) -> None:
    if info.schema != records.SCHEMA:
        raise IncomparableRecords(_unlike_format(f"run {info.run_id}", info.schema, records.SCHEMA))


def _unlike_format(what: str, found: int, known: int) -> str:
    return (
        f"{what} has format {found}, this joulebench reads {known}; measure it again with this version, or compare "
        "with the version that wrote it"
    )


def _same_host(stored: RunInfo, current: RunInfo) -> None:
    if stored.host_fingerprint == current.host_fingerprint:
        return
    lines = host.difference(stored.host, current.host) or ("fingerprints differ; fields alike",)
    raise IncomparableRecords(
        f"baseline {stored.run_id} was measured on an unlike host; joules of unlike hosts are not compared. Measure "
        "a baseline here (`joulebench baseline add`), or gate with --base, which needs none. Where they differ "
        "(baseline | here):\n  " + "\n  ".join(lines)
    )


def _worth_keeping(run: Results) -> None:
    if run.info.finished_utc is None:
        raise ResultsError(f"run {run.info.run_id} has not ended; `joulebench run` goes on with it, then add it")
    failed = [run.info.name_of(record.case) for record in run.records if isinstance(record.outcome, Failed)]
    if failed:
        raise ResultsError(f"run {run.info.run_id} has failed cases ({', '.join(failed)}); repair them and run again")
    if not any(isinstance(record.outcome, Ok) for record in run.records):
        raise ResultsError(f"run {run.info.run_id} measured nothing, so nothing can be held against it")


def _verify_if_listed(folder: Path) -> None:
    """Check a run that was given by its folder, where the baselines of its results name it."""
    for parent in folder.resolve().parents[:3]:
        file = parent / FILE
        for entry in load(file):
            if (parent / entry.run).resolve() == folder.resolve():
                verify(file, entry)


def _hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that comparisons read."""
    paths = [folder / "run.json", folder / "records.jsonl", *sorted((folder / "outputs").glob("*.json"))]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.exists()
    }


def _sha256(entry: Entry) -> str:
    bare: Mapping[str, object] = msgspec.to_builtins(msgspec.structs.replace(entry, sha256=""))
    return hashlib.sha256(msgspec.json.encode(bare, order="sorted")).hexdigest()


def _edited(path: Path, what: str) -> IncomparableRecords:
    return IncomparableRecords(
        f"{path}: {what}; baselines are only ever appended to. Restore the file from version control"
    )
