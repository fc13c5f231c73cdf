"""The infer cases of a joulebench suite as gated cases: each arm's own worker, through `harness.worker` of its slot.

Each arm is asked what the suite would run there (`joulebench plan`), so that a case that head no longer has is seen.
One model serves both arms and all forks: base trains it once, for what is gated is the cost of inferring, and unlike
models would answer unlike questions. Where the slot holds no joulebench of its own, the installed one does the work.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from harness import config, device
from harness.engines.local import LocalSession, spawn
from harness.errors import ConfigError, WorkerFailed
from harness.gate.arms import Reading, Repeated, interpret, slot_of
from harness.gate.slots import Built, environment
from harness.gate.targets import SuiteTarget
from harness.messages import Build, Finish, Ready, Run, Start, Train, Warm, decode_reply
from harness.meters.window import MeterWindow
from harness.records import Case, Measured, Phase

SOURCE = Path(__file__).resolve().parents[2]
"""Where the gate's own joulebench lies; after the slot's on the path."""

SHOWN = 400
"""Characters of an arm's last words that an error message shows."""

_ADVICE = "a slot that takes so long cannot be gated: make the suite smaller"


class SuiteCase(NamedTuple):
    """One infer case of one arm; `train` is what its model is trained by, `slice_size` how many texts it is handed."""

    case: Case
    train: Case
    slice_size: int
    file: Path


class SuiteWorker:
    """One fork of an infer case; its clocks count, and the meters of the parent."""

    def __init__(self, arm: str, session: LocalSession, meters: MeterWindow) -> None:
        self.arm = arm
        self._session = session
        self._meters = meters
        self._slices = 1

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._session.pid

    def ready(self, timeout_s: float) -> None:
        """Wait until data and model are loaded, then build."""
        ready: Ready = self._session.receive(timeout_s)
        self._slices = ready.slices
        self._ask(Build(), timeout_s)

    def run(self, repeats: int, part: int, timeout_s: float) -> Reading:
        """Run one slice of the test split so often."""
        batch = part % self._slices
        begun = self._meters.begin()
        done = self._ask(Run(batch=batch, repeats=repeats, block=part, slot=0), timeout_s)
        end = self._meters.edges.end()
        measured = interpret(self._meters, begun, end, _clocks(done.window.measured))
        slot = slot_of(self.arm, done.window.tasks, measured, done.window.outputs_sha256)
        items = done.items
        scores = {} if items is None else dict(zip(items.item_ids, items.scores, strict=True))
        return Reading(slot=slot, scores=scores)

    def close(self) -> None:
        """Let it end."""
        self._session.close()

    def kill(self) -> None:
        """End it now."""
        self._session.kill()
        self._session.close()

    def _ask(self, command: Build | Run | Warm, timeout_s: float) -> Any:
        self._session.send(command)
        return self._session.receive(timeout_s)


def expand(target: SuiteTarget, built: Built, arm: str, log: Path, timeout_s: float) -> dict[str, SuiteCase]:
    """Return the infer cases that this arm would run, by the name they have in the gate; none where it has no suite.

    Raises: ConfigError: the arm cannot plan its suite, or not within `timeout_s`.
    """
    file = built.root / target.suite
    if not file.is_file():
        return {}
    planned = [(_case(row, arm), row) for row in _plan(target, built, arm, log, timeout_s)]
    suite = config.load_suite(file)
    training = {case.case_id: case for case, _ in planned if case.phase is Phase.TRAIN}
    found: dict[str, SuiteCase] = {}
    seen: Counter[str] = Counter()
    for case, row in planned:
        if case.phase is Phase.INFER and case.trained_by in training:
            name = f"{target.stem}/{row['name'].replace('infer/', '', 1)}"
            seen[name] += 1
            name = name if seen[name] == 1 else f"{name}#{seen[name]}"
            found[name] = SuiteCase(case, training[case.trained_by], _slice_size(suite, row), file)
    return found


def _plan(target: SuiteTarget, built: Built, arm: str, log: Path, timeout_s: float) -> list[dict[str, Any]]:
    arguments = ["-m", "harness", "plan", target.suite, "--json", *(["-k", target.k] if target.k else [])]
    try:
        with log.open("ab") as stderr:
            done = subprocess.run(
                [os.fspath(built.python), "-P", *arguments],
                cwd=built.root,
                env={**os.environ, **_surroundings(built)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                timeout=timeout_s,
                check=True,
            )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{arm} did not plan {target.suite} within {timeout_s:.0f} s; its log is {log}") from error
    except subprocess.CalledProcessError as error:
        said = log.read_text(encoding="utf-8", errors="replace").strip()[-SHOWN:]
        raise ConfigError(f"{arm} cannot plan {target.suite}: {said}; its log is {log}") from error
    rows: list[dict[str, Any]] = msgspec.json.decode(done.stdout)["run"]
    return rows


def unlike(base: SuiteCase, head: SuiteCase) -> str | None:
    """Return why the arms' cases are not the same work, or None; a technique's parameters may differ."""
    for name in ("workload", "device", "scenario", "threads", "seed"):
        before, after = getattr(base.case, name), getattr(head.case, name)
        if before != after:
            return f"{name} differs between base ({before}) and head ({after})"
    return None


def train(case: SuiteCase, built: Built, folder: Path, log: Path, timeout_s: float) -> Path:
    """Train the model of a case to its end, in a worker of this arm; return the model's folder.

    Raises: WorkerFailed: the worker died, hung or failed.
    """
    session = _session(f"training of {case.train.name}", case.train, built, log, 0)
    try:
        session.send(_start(case.train, case, folder, None))
        session.receive(timeout_s)
        session.send(Train())
        while not session.receive(timeout_s).finished:
            session.send(Train())
        session.send(Finish())
        artefact: str = session.receive(timeout_s).artefact
    except BaseException:
        session.kill()
        raise
    finally:
        session.close()
    return folder / artefact


def start_suite(
    case: SuiteCase, model: Path, arm: str, built: Built, *, seed: int, log: Path, meters: MeterWindow
) -> SuiteWorker:
    """Start the worker of an infer case; it loads while others do."""
    session = _session(f"{arm} of {case.case.name}", case.case, built, log, seed)
    session.send(_start(case.case, case, model.parent, model))
    return SuiteWorker(arm, session, meters)


def _start(case: Case, of: SuiteCase, folder: Path, model: Path | None) -> Start:
    return Start(
        case=case,
        fork=0,
        run_folder=str(folder),
        cache_folder=str(folder / "cache"),
        trained_folder=str(model) if model else None,
        trained_id=case.trained_by,
        # The worker's own meters are not used; this one needs nothing but the clock.
        meters=("modelled",),
        slice_size=of.slice_size,
        base_folder=str(of.file.parent),
    )


def _slice_size(suite: config.Suite, row: dict[str, Any]) -> int:
    # A joulebench that knows no parts does not say which one; its suites have one.
    infer = suite.all_parts[row.get("part", 0)].infer
    return infer.slice if infer else 32


def _session(name: str, case: Case, built: Built, log: Path, seed: int) -> LocalSession:
    surroundings = {**device.environment(case.threads), **_surroundings(built), "PYTHONHASHSEED": str(seed)}
    process = spawn([os.fspath(built.python), "-P", "-m", "harness.worker"], surroundings, log, built.root)
    return LocalSession(process, f"worker {process.pid}, {name}", log, decode=decode_reply, advice=_ADVICE)


def _surroundings(built: Built) -> Mapping[str, str]:
    return {"PYTHONPATH": os.pathsep.join([environment(built)["PYTHONPATH"], str(SOURCE)])}


def _case(row: dict[str, Any], arm: str) -> Case:
    plain = {key: value for key, value in row.items() if key in Case.__struct_fields__}
    try:
        return msgspec.convert(plain, Case)
    except msgspec.ValidationError as error:
        raise WorkerFailed(f"{arm} plans a case that this joulebench cannot read: {error}") from error


def _clocks(measured: Measured) -> Repeated:
    """Return the worker's clocks as if they had begun at zero; its children are in its CPU-seconds."""
    return Repeated(
        wall_ns=(0, round(measured.duration_s * 1e9)),
        cpu_ns=(0, round(measured.cpu_s * 1e9)),
        children_s=((0.0, 0.0), (0.0, 0.0)),
        checksum=None,
        scores=None,
    )
