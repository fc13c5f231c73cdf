"""What a suite would run, what is skipped and why. Nothing is measured here and no torch is loaded."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness import axes, catalogue, device, workloads
from harness.cases import Setting, Skip, inferences, trainings
from harness.config import Part, Suite, locate
from harness.errors import ConfigError, UsageError
from harness.records import Case, Frozen, Phase, Record, WorkloadSpec
from harness.selecting import matcher

STARTUP_S = 12.0
"""Wall time from a worker's start to its first window (imports, data, model); a guess for estimates only."""


class Group(Frozen, frozen=True, kw_only=True):
    """Infer cases that are measured interleaved; `baseline` is the one the others are compared with."""

    cases: tuple[Case, ...]
    baseline: str | None


class Plan(Frozen, frozen=True, kw_only=True):
    """Cases in the order they run: train first, for a trained model feeds the next phase.

    `part_of` says of which of the suite's parts a case is (0 where it does not say), `labels` what its workload (or its
    point of a sweep) is called where there are several, both by case; `note` says what of the suite was replaced
    because this machine lacks it, and how many workers a sweep keeps alive.
    """

    train: tuple[Case, ...]
    groups: tuple[Group, ...]
    skips: tuple[Skip, ...]
    part_of: dict[str, int] = {}
    labels: dict[str, str] = {}
    note: str | None = None

    @property
    def cases(self) -> tuple[Case, ...]:
        """All cases that run, in order."""
        return (*self.train, *(case for group in self.groups for case in group.cases))

    @property
    def case_ids(self) -> tuple[str, ...]:
        """Identifiers of all cases, run or skipped, in order."""
        return tuple(case.case_id for case in (*self.cases, *(skip.case for skip in self.skips)))

    def name_of(self, case: Case) -> str:
        """Return a case's name, with its workload where there are several."""
        return case.named(self.labels.get(case.case_id, ""))


def expand(suite: Suite, folder: Path, select: str = "") -> Plan:
    """Return the plan of a suite that lies in `folder`, keeping cases whose name matches `select` (`-k`).

    A train case that a kept infer case needs is kept as well.

    Raises: ConfigError: an unknown technique, workload or parameter. DataError, ModelError: the data cannot be used.
    """
    plan = _of_sweep(suite, folder) if suite.sweep else _of_parts(suite, folder)
    _refuse_doubles(plan)
    return _select(plan, select)


def estimate_s(plan: Plan, suite: Suite, history: Iterable[Record]) -> tuple[float, tuple[str, ...]]:
    """Return the expected wall time in seconds and what it leaves out.

    A case that this host has run before counts what it took then; an infer group is computed from the
    design of the measurement; a train case never run here is unknown and named.
    """
    took = {record.case_id: record.wall_s for record in history if record.wall_s is not None}
    unknown = tuple(plan.name_of(case) for case in plan.train if case.case_id not in took)
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


def _of_parts(suite: Suite, folder: Path) -> Plan:
    parts = suite.all_parts
    names = _names(parts)
    train: list[Case] = []
    groups: list[Group] = []
    skips: list[Skip] = []
    notes: dict[str, None] = {}
    part_of: dict[str, int] = {}
    for number, part in enumerate(parts):
        with _within(f"parts.{number}" if suite.parts else ""):
            spec, workload, note = _ready(part.workload_spec, folder, suite.seed)
            for name in suite.devices:
                setting = Setting(
                    part=part,
                    spec=spec,
                    workload=workload,
                    device=name,
                    unusable=device.available(name),
                    threads=suite.measure.threads,
                    seed=suite.seed,
                )
                mine = _of_setting(setting)
                train += mine.train
                groups += mine.groups
                skips += mine.skips
                part_of |= dict.fromkeys(mine.case_ids, number)
        notes |= {f"{names[number]}: {note}" if names[number] else note: None} if note else {}
    return Plan(
        train=tuple(train),
        groups=tuple(groups),
        skips=tuple(skips),
        part_of=part_of,
        labels={case_id: names[number] for case_id, number in part_of.items() if names[number]},
        note="; ".join(notes) or None,
    )


def _of_sweep(suite: Suite, folder: Path) -> Plan:
    """Return one training for each workload of the sweep, and one group over all its points a device and scenario."""
    (part,) = suite.all_parts
    found: dict[bytes, tuple[WorkloadSpec, Any, str | None]] = {}
    draft = _SweepDraft()
    for name in suite.devices:
        trained: dict[bytes, list[Case]] = {}
        for point in axes.points(suite.sweep):
            with _within(f"sweep at {axes.label(point)}"):
                written = msgspec.structs.replace(part, workload=axes.workload_at(part.workload, point))
                key = msgspec.json.encode(written.workload, order="sorted")
                if key not in found:
                    found[key] = _ready(written.workload_spec, folder, suite.seed)
                setting = Setting(
                    part=written,
                    spec=found[key][0],
                    workload=found[key][1],
                    device=name,
                    unusable=device.available(name),
                    threads=suite.measure.threads,
                    seed=suite.seed,
                )
                if key not in trained:
                    trained[key] = draft.train(setting, axes.on_workload(point))
                draft.infer(setting._replace(threads=point.get(axes.THREADS, setting.threads)), trained[key], point)
    return draft.plan([note for _, _, note in found.values() if note])


class _SweepDraft:
    """What is known of a sweep's plan so far."""

    def __init__(self) -> None:
        self._train: list[Case] = []
        self._skips: list[Skip] = []
        self._groups: dict[tuple[str, str], list[Case]] = {}
        self._labels: dict[str, str] = {}

    def train(self, setting: Setting, point: axes.Point) -> list[Case]:
        """Take in the trainings of one workload; return those that run."""
        kept, skips = trainings(setting)
        self._train += kept
        self._note(kept, skips, point)
        return kept

    def infer(self, setting: Setting, trained: list[Case], point: axes.Point) -> None:
        """Take in the infer cases of one point."""
        for scenario in setting.part.infer.scenarios if setting.part.infer else ():
            kept, skips = inferences(setting, scenario, trained, axes.params_at(point))
            self._groups.setdefault((setting.device, scenario), []).extend(kept)
            self._note(kept, skips, point)

    def plan(self, notes: Sequence[str]) -> Plan:
        """Return the plan."""
        most = max((len(cases) for cases in self._groups.values()), default=0)
        together = f"points of a sweep take turns, so {most} workers are alive at once, each with its model in memory"
        return Plan(
            train=tuple(self._train),
            groups=tuple(
                Group(cases=tuple(cases), baseline=next(_baselines(cases), cases[0].case_id))
                for cases in self._groups.values()
                if cases
            ),
            skips=tuple(self._skips),
            labels=self._labels,
            note="; ".join(dict.fromkeys((*notes, *((together,) if most else ())))) or None,
        )

    def _note(self, kept: Sequence[Case], skips: Sequence[Skip], point: axes.Point) -> None:
        self._skips += skips
        if point:
            name = axes.label(point)
            self._labels |= {case.case_id: name for case in (*kept, *(skip.case for skip in skips))}


def _ready(written: WorkloadSpec, folder: Path, seed: int) -> tuple[WorkloadSpec, Any, str | None]:
    """Return the workload as it can run here, the workload itself, checked, and what was replaced."""
    spec, note = workloads.settle(written)
    workload = workloads.load(locate(spec, folder), seed)
    workload.check()
    return spec, workload, note


@contextlib.contextmanager
def _within(where: str) -> Iterator[None]:
    """Begin the message of what cannot be used with its place in the suite."""
    try:
        yield
    except UsageError as error:
        raise type(error)(f"{where}: {error}" if where else str(error)) from error


def _of_setting(setting: Setting) -> Plan:
    """Return what one workload makes on one device; each scenario is a group."""
    train, skips = trainings(setting)
    groups: list[Group] = []
    for scenario in setting.part.infer.scenarios if setting.part.infer else ():
        kept, more = inferences(setting, scenario, train)
        skips += more
        if kept:
            groups.append(Group(cases=tuple(kept), baseline=next(_baselines(kept), None)))
    return Plan(train=tuple(train), groups=tuple(groups), skips=tuple(skips))


def _baselines(cases: Iterable[Case]) -> Iterator[str]:
    return (case.case_id for case in cases if catalogue.load(Phase.INFER, case.technique).INFO.baseline)


def _names(parts: Sequence[Part]) -> tuple[str, ...]:
    """Return what the workload of each part is called; nothing where there is one part.

    By its own name, else that of the workload; parts on the same workload also say in what their parameters differ.

    Raises: ConfigError: two parts would be called the same.
    """
    if len(parts) < 2:
        return ("",) * len(parts)
    plain = [part.name or part.workload_spec.name for part in parts]
    leaves = [_leaves(part.workload_spec.params) for part in parts]
    names = []
    for name, mine, part in zip(plain, leaves, parts, strict=True):
        alike = [other for label, other in zip(plain, leaves, strict=True) if label == name]
        differing = [key for key in dict.fromkeys(key for each in alike for key in each)
                     if any(other.get(key) != mine.get(key) for other in alike)]  # fmt: skip
        told = ",".join(f"{key.rpartition('.')[2]}={mine.get(key)}" for key in differing)
        names.append(f"{name}[{told}]" if told and not part.name else name)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(f"parts: several would be called {twice[0]!r}; give each a `name`")
    return tuple(names)


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    return {
        leaf: each
        for key, item in value.items()
        for leaf, each in _leaves(item, f"{path}.{key}" if path else str(key)).items()
    }


def _refuse_doubles(plan: Plan) -> None:
    twice = [case_id for case_id, count in Counter(plan.case_ids).items() if count > 1]
    if twice:
        cases = (*plan.cases, *(skip.case for skip in plan.skips))
        name = next(case.name for case in cases if case.case_id == twice[0])
        raise ConfigError(f"the suite holds {name} twice, with the same parameters; take one out")


def _select(plan: Plan, expression: str) -> Plan:
    if not expression:
        return plan
    matches = matcher(expression)
    groups = []
    for group in plan.groups:
        kept = tuple(case for case in group.cases if matches(plan.name_of(case)))
        if kept:
            baseline = group.baseline if any(case.case_id == group.baseline for case in kept) else None
            groups.append(Group(cases=kept, baseline=baseline))
    needed = {case.trained_by for group in groups for case in group.cases}
    train = tuple(case for case in plan.train if matches(plan.name_of(case)) or case.case_id in needed)
    skips = tuple(skip for skip in plan.skips if matches(plan.name_of(skip.case)))
    if not train and not groups and not skips:
        names = ", ".join(plan.name_of(case) for case in plan.cases)
        raise UsageError(f"-k {expression!r} matches no case; the suite has {names}")
    return msgspec.structs.replace(plan, train=train, groups=tuple(groups), skips=skips)
