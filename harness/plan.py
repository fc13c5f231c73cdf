"""What a suite would run, what is skipped and why. Nothing is measured here and no torch is loaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness import catalogue, device, workloads
from harness.config import InferEntry, Suite, TrainEntry, locate
from harness.errors import UsageError
from harness.records import Case, Frozen, Phase, Record, WorkloadSpec

STARTUP_S = 12.0
"""Wall time from a worker's start to its first window (imports, data, model); a guess for estimates only."""


class Skip(Frozen, frozen=True, kw_only=True):
    """A case that does not run, and the reason."""

    case: Case
    reason: str


class Group(Frozen, frozen=True, kw_only=True):
    """Infer cases that are measured interleaved; `baseline` is the one the others are compared with."""

    cases: tuple[Case, ...]
    baseline: str | None


class Plan(Frozen, frozen=True, kw_only=True):
    """Cases in the order they run: train first, for a trained model feeds the next phase.

    `note` says what of the suite was replaced because this machine lacks it.
    """

    train: tuple[Case, ...]
    groups: tuple[Group, ...]
    skips: tuple[Skip, ...]
    note: str | None = None

    @property
    def cases(self) -> tuple[Case, ...]:
        """All cases that run, in order."""
        return (*self.train, *(case for group in self.groups for case in group.cases))

    @property
    def case_ids(self) -> tuple[str, ...]:
        """Identifiers of all cases, run or skipped, in order."""
        return tuple(case.case_id for case in (*self.cases, *(skip.case for skip in self.skips)))


def expand(suite: Suite, folder: Path, select: str = "") -> Plan:
    """Return the plan of a suite that lies in `folder`, keeping cases whose name matches `select` (`-k`).

    A train case that a kept infer case needs is kept as well.

    Raises: ConfigError: an unknown technique, workload or parameter. DataError, ModelError: the data cannot be used.
    """
    spec, note = workloads.settle(suite.workload_spec)
    located = locate(spec, folder)
    workload = workloads.load(located, suite.seed)
    workload.check()
    plans = [_expand_device(suite, spec, workload, name) for name in suite.devices]
    train = [case for plan in plans for case in plan.train]
    groups = [group for plan in plans for group in plan.groups]
    skips = [skip for plan in plans for skip in plan.skips]
    return _select(Plan(train=tuple(train), groups=tuple(groups), skips=tuple(skips), note=note), select)


def estimate_s(plan: Plan, suite: Suite, history: Iterable[Record]) -> tuple[float, tuple[str, ...]]:
    """Return the expected wall time in seconds and what it leaves out.

    A case that this host has run before counts what it took then; an infer group is computed from the
    design of the measurement; a train case never run here is unknown and named.
    """
    took = {record.case_id: record.wall_s for record in history if record.wall_s is not None}
    unknown = tuple(case.name for case in plan.train if case.case_id not in took)
    total_s = sum(took.get(case.case_id) or 0.0 for case in plan.train)
    for group in plan.groups:
        known = [took[case.case_id] for case in group.cases if case.case_id in took]
        total_s += sum(known) if len(known) == len(group.cases) else group_estimate_s(group, suite)
    return min(total_s, suite.budget_s), unknown


def group_estimate_s(group: Group, suite: Suite) -> float:
    """Return the wall time that a group takes by the design of its measurement, in seconds."""
    measure = suite.measure
    windows = 2 * measure.blocks * len(group.cases)
    return measure.forks * (STARTUP_S * len(group.cases) + windows * 2 * measure.min_window_s + 2 * measure.idle_s)


def _expand_device(suite: Suite, spec: WorkloadSpec, workload: Any, name: str) -> Plan:
    reason = device.available(name)
    trained: dict[str, Case] = {}
    train: list[Case] = []
    skips: list[Skip] = []
    for entry in suite.train:
        for case in _train_cases(suite, spec, entry, name):
            skip = reason or catalogue.load(Phase.TRAIN, case.technique).supports(workload, name)
            if skip:
                skips.append(Skip(case=case, reason=skip))
            else:
                train.append(case)
                trained.setdefault(case.technique, case)
    groups, infer_skips = _infer_groups(suite, spec, workload, name, trained, reason)
    return Plan(train=tuple(train), groups=groups, skips=(*skips, *infer_skips))


def _train_cases(suite: Suite, spec: WorkloadSpec, entry: str | TrainEntry, name: str) -> list[Case]:
    entry = TrainEntry(technique=entry) if isinstance(entry, str) else entry
    technique = catalogue.load(Phase.TRAIN, entry.technique)
    params = msgspec.to_builtins(catalogue.parse_params(technique, entry.params))
    return [
        Case(
            workload=spec,
            phase=Phase.TRAIN,
            technique=entry.technique,
            device=name,
            seed=seed,
            threads=suite.measure.threads,
            params=params,
        )
        for seed in entry.seeds or (suite.seed,)
    ]


def _infer_groups(
    suite: Suite, spec: WorkloadSpec, workload: Any, name: str, trained: Mapping[str, Case], reason: str | None
) -> tuple[tuple[Group, ...], tuple[Skip, ...]]:
    if suite.infer is None:
        return (), ()
    wanted = suite.infer.model_from
    for technique in wanted:
        catalogue.load(Phase.TRAIN, technique)
    source = next((trained[technique] for technique in wanted if technique in trained), None)
    if source is None and reason is None:
        reason = f"no model to infer with: none of model_from ({', '.join(wanted)}) is among the train cases that run"
    groups: list[Group] = []
    skips: list[Skip] = []
    for scenario in suite.infer.scenarios:
        kept: list[Case] = []
        for entry in suite.infer.techniques:
            case = _infer_case(suite, spec, entry, name, scenario, source)
            skip = reason or catalogue.load(Phase.INFER, case.technique).supports(workload, name)
            if skip:
                skips.append(Skip(case=case, reason=skip))
            else:
                kept.append(case)
        if kept:
            baselines = [case.case_id for case in kept if catalogue.load(Phase.INFER, case.technique).INFO.baseline]
            groups.append(Group(cases=tuple(kept), baseline=baselines[0] if baselines else None))
    return tuple(groups), tuple(skips)


def _infer_case(
    suite: Suite, spec: WorkloadSpec, entry: str | InferEntry, name: str, scenario: str, source: Case | None
) -> Case:
    entry = InferEntry(technique=entry) if isinstance(entry, str) else entry
    technique = catalogue.load(Phase.INFER, entry.technique)
    return Case(
        workload=spec,
        phase=Phase.INFER,
        technique=entry.technique,
        device=name,
        seed=suite.seed,
        threads=suite.measure.threads,
        scenario=scenario,
        params=msgspec.to_builtins(catalogue.parse_params(technique, entry.params)),
        trained_by=source.case_id if source else None,
    )


def _select(plan: Plan, expression: str) -> Plan:
    if not expression:
        return plan
    matches = matcher(expression)
    groups = []
    for group in plan.groups:
        kept = tuple(case for case in group.cases if matches(case.name))
        if kept:
            baseline = group.baseline if any(case.case_id == group.baseline for case in kept) else None
            groups.append(Group(cases=kept, baseline=baseline))
    needed = {case.trained_by for group in groups for case in group.cases}
    train = tuple(case for case in plan.train if matches(case.name) or case.case_id in needed)
    skips = tuple(skip for skip in plan.skips if matches(skip.case.name))
    if not train and not groups and not skips:
        names = ", ".join(case.name for case in plan.cases)
        raise UsageError(f"-k {expression!r} matches no case; the suite has {names}")
    return msgspec.structs.replace(plan, train=train, groups=tuple(groups), skips=skips)


def matcher(expression: str) -> Callable[[str], bool]:
    """Return the test of a pytest-like `-k` expression: substrings with `and`, `or`, `not` and parentheses.

    Raises: UsageError: the expression cannot be read.
    """
    tokens = re.findall(r"\(|\)|[^\s()]+", expression)
    terms = [token for token in tokens if token not in ("and", "or", "not", "(", ")")]

    def evaluate(name: str) -> bool:
        values = iter(term.lower() in name.lower() for term in terms)
        python = " ".join(token if token in ("and", "or", "not", "(", ")") else str(next(values)) for token in tokens)
        return _boolean(python, expression)

    evaluate("")
    return evaluate


def _boolean(python: str, expression: str) -> bool:
    import ast

    try:
        return _value(ast.parse(python, mode="eval").body)
    except (SyntaxError, TypeError) as error:
        raise UsageError(
            f"-k {expression!r} cannot be read; write for example -k 'onnxruntime and not int8'"
        ) from error


def _value(node: Any) -> bool:
    import ast

    if isinstance(node, ast.BoolOp):
        values = [_value(value) for value in node.values]
        return all(values) if isinstance(node.op, ast.And) else any(values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return not _value(node.operand)
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return node.value
    raise TypeError(f"not a term: {node!r}")
