"""What of the configuration both arms have, before anything is measured: a case that vanished is seen, not skipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from harness import workloads
from harness.errors import ConfigError, WorkerFailed
from harness.gate import arms, resolving, suites
from harness.gate.arms import Single, Worker
from harness.gate.forks import HEAD, Gated
from harness.gate.model import CaseResult, Verdict
from harness.gate.resolving import Resolved
from harness.gate.slots import Built, Pair, Slots
from harness.gate.suites import SuiteCase
from harness.gate.targets import CommandTarget, GateConfig, PytestTarget, SuiteTarget, Target, load
from harness.gate.terms import result_without_blocks
from harness.meters.window import MeterWindow

TIMEOUT_S = 300.0
"""How long the search for targets, or a chunk of training, may take."""


class Folders(NamedTuple):
    """Where workers write: `logs` stay, `scratch` takes the models of suites."""

    logs: Path
    scratch: Path


class Found(NamedTuple):
    """The cases to measure, those that are settled already, and notes for people."""

    cases: tuple[Gated, ...]
    settled: tuple[CaseResult, ...]
    notes: tuple[str, ...]


class _Survey:
    def __init__(self, config: GateConfig, slots: Slots, meters: MeterWindow, folders: Folders) -> None:
        self.config = config
        self.slots = slots
        self.meters = meters
        self.logs, self.scratch = folders
        self.cases: list[Gated] = []
        self.settled: list[CaseResult] = []
        self.notes: list[str] = []
        self.before: dict[str, Target] = {}

    def settle(self, name: str, verdict: Verdict, reason: str) -> None:
        self.settled.append(result_without_blocks(self.config, name, verdict, reason))


def survey(
    config: GateConfig,
    slots: Slots,
    meters: MeterWindow,
    folders: Folders,
    *,
    file_name: str,
    matches: Callable[[str], bool],
    say: Callable[[str], None],
) -> Found:
    """Return what can be measured and what cannot, with the reason.

    Args:
        config: what is asked for.
        slots: both arms.
        meters: open meters, which the workers' slots are read with.
        folders: for what the workers write.
        file_name: the configuration's name in its folder; base's own may have cases that head's has no longer.
        matches: says which names are wanted.
        say: told what happens.

    Raises: ConfigError: a target that neither arm has, a suite that cannot be planned. WorkerFailed: a search died.
    """
    found = _Survey(config, slots, meters, folders)
    say("looking for the cases in base and head")
    _look_back(found, file_name)
    _single(found, file_name, matches)
    for target in config.cases:
        if isinstance(target, SuiteTarget):
            _of_suite(found, target, matches, say)
    _vanished(found, file_name, matches)
    return Found(cases=tuple(found.cases), settled=tuple(found.settled), notes=tuple(found.notes))


def _look_back(found: _Survey, file_name: str) -> None:
    """Read what base's own configuration gates: what head's no longer does is no pass."""
    path = found.slots.pairs[0].base.root / file_name
    if not path.is_file():
        found.notes.append(f"base has no {file_name}, so cases that it gated by another file are not seen")
        return
    try:
        found.before = {_name(case): case for case in load(path).cases}
    except ConfigError as error:
        found.notes.append(
            f"base's {file_name} cannot be read, so cases that were taken out of it are not seen: {error}"
        )


def _single(found: _Survey, file_name: str, matches: Callable[[str], bool]) -> None:
    pair = found.slots.pairs[0]
    wanted = [case for case in found.config.cases if not isinstance(case, SuiteTarget) and matches(case.name)]
    if not wanted:
        return
    base = resolving.resolve(pair.base, wanted, found.logs / "resolve-base.log", TIMEOUT_S)
    head = resolving.resolve(pair.head, wanted, found.logs / "resolve-head.log", TIMEOUT_S)
    for case in wanted:
        name = case.name
        before = found.before.get(name, case)
        if name in base.absent and name in head.absent:
            raise ConfigError(f"case {name!r}: neither base nor head has it: {head.absent[name]}")
        if name in head.absent:
            found.settle(name, Verdict.VANISHED, f"base has it, head does not: {head.absent[name]}")
        elif name in base.absent and _what(before) != _what(case):
            was = f"its target changed, base's {file_name} gates {_what(before)}"
            found.settle(name, Verdict.VANISHED, f"{was}; base does not have what head gates: {base.absent[name]}")
        elif name in base.absent:
            found.settle(name, Verdict.NEW, f"head has it, base does not: {base.absent[name]}")
        elif name in head.broken or name in base.broken:
            arm, why = ("head", head.broken) if name in head.broken else ("base", base.broken)
            found.settle(name, Verdict.INVALID, f"{arm}: {why[name]}")
        elif reason := _same_program(found, name, base, head):
            found.settle(name, Verdict.INVALID, reason)
        else:
            if before != case:
                found.notes.append(f"{name} stands otherwise in base's {file_name}; both arms do what head's says")
            start = partial(_start_probe, case, found.meters)
            found.cases.append(Gated(name=name, agree=True, metric="score", start=start))


def _same_program(found: _Survey, name: str, base: Resolved, head: Resolved) -> str | None:
    """Return why a command cannot be gated: both arms start one installed package, and name nothing that could differ.

    Another program that is one file in both arms (`make`, a compiled tool) may read what differs from its folder, which
    nobody can tell from outside; a note says so.
    """
    mine, other = head.outside.get(name), base.outside.get(name)
    if mine is None or other is None or mine.file != other.file:
        return None
    if mine.names or not mine.package:
        named = f" ({', '.join(mine.names)})" if mine.names else ""
        found.notes.append(
            f"{name}: both arms start {mine.file}, which lies outside the slots; only what that reads of the slots"
            f"{named} is compared"
        )
        return None
    return (
        f"both arms start {mine.file}, which lies outside the slots, so both would measure the same code; install it "
        'in each slot with --build "COMMAND", or name what it runs of the repository, as in [bash, bench.sh]'
    )


def _name(case: Target) -> str:
    return case.stem if isinstance(case, SuiteTarget) else case.name


def _what(case: Target) -> str:
    """Return what a case gates, as its entry says."""
    if isinstance(case, SuiteTarget):
        return f"the suite {case.suite}"
    if isinstance(case, CommandTarget):
        return " ".join(case.command)
    return case.pytest if isinstance(case, PytestTarget) else case.target


def _start_probe(case: Single, meters: MeterWindow, arm: str, pair: Pair, seed: int, log: Path) -> Worker:
    return arms.start_probe(case, arm, _built(pair, arm), seed=seed, log=log, meters=meters)


def _of_suite(found: _Survey, target: SuiteTarget, matches: Callable[[str], bool], say: Callable[[str], None]) -> None:
    pair = found.slots.pairs[0]
    base = _gated_before(found, target) | suites.expand(
        target, pair.base, "base", found.logs / "plan-base.log", TIMEOUT_S
    )
    head = suites.expand(target, pair.head, "head", found.logs / "plan-head.log", TIMEOUT_S)
    if not base and not head:
        raise ConfigError(f"{target.suite}: neither base nor head has an infer case of it that can run here")
    models: dict[str, Path | str] = {}
    for name in filter(matches, {**base, **head}):
        if name not in head:
            found.settle(name, Verdict.VANISHED, f"base has it, {_chosen(target)} of head does not")
        elif name not in base:
            found.settle(name, Verdict.NEW, f"head has it, the suite {target.suite} of base does not")
        elif reason := suites.unlike(base[name], head[name]):
            found.settle(name, Verdict.INVALID, f"{reason}; unlike work cannot be compared")
        else:
            _modelled(found, name, (base[name], head[name]), models, say)


def _gated_before(found: _Survey, target: SuiteTarget) -> dict[str, SuiteCase]:
    """Return what base's own entry of a suite gates, where it is another one: another file, or more of it."""
    before = found.before.get(target.stem)
    if not isinstance(before, SuiteTarget) or (before.suite, before.k) == (target.suite, target.k):
        return {}
    base = found.slots.pairs[0].base
    try:
        return suites.expand(before, base, "base", found.logs / "plan-base-before.log", TIMEOUT_S)
    except ConfigError as error:
        found.notes.append(
            f"what base gated of {target.stem} is not known, so cases that were dropped are not seen: {error}"
        )
        return {}


def _chosen(target: SuiteTarget) -> str:
    return f"the suite {target.suite}{f' with k: {target.k}' if target.k else ''}"


def _modelled(
    found: _Survey,
    name: str,
    pair: tuple[SuiteCase, SuiteCase],
    models: dict[str, Path | str],
    say: Callable[[str], None],
) -> None:
    """Add a suite's case; its model is trained by base unless an earlier case has it."""
    base, head = pair
    key = base.train.case_id
    if key not in models:
        say(f"training {base.train.name} for {name}")
        try:
            models[key] = suites.train(
                base, found.slots.pairs[0].base, found.scratch, found.logs / f"train-{key}.log", TIMEOUT_S
            )
        except WorkerFailed as error:
            models[key] = str(error)
    model = models[key]
    if isinstance(model, str):
        found.settle(name, Verdict.INVALID, f"its model could not be trained: {model}")
        return
    start = partial(_start_suite, {"base": base, "head": head}, model, found.meters)
    metric = workloads.load(base.case.workload, base.case.seed).metric
    found.cases.append(Gated(name=name, agree=False, metric=metric, start=start))


def _start_suite(
    cases: Mapping[str, SuiteCase], model: Path, meters: MeterWindow, arm: str, pair: Pair, seed: int, log: Path
) -> Worker:
    return suites.start_suite(cases[arm], model, arm, _built(pair, arm), seed=seed, log=log, meters=meters)


def _built(pair: Pair, arm: str) -> Built:
    return pair.head if arm == HEAD else pair.base


def _vanished(found: _Survey, file_name: str, matches: Callable[[str], bool]) -> None:
    """Settle the cases that only base's own configuration names."""
    names = {_name(case) for case in found.config.cases}
    for name in found.before:
        if name not in names and matches(name):
            found.settle(name, Verdict.VANISHED, f"base's {file_name} gates it, head's does not")
