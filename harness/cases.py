"""The cases that one workload makes on one device: what trains, what infers with its model, what is skipped and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from harness import catalogue
from harness.config import InferEntry, Part, TrainEntry
from harness.records import Case, Frozen, Phase, WorkloadSpec


class Skip(Frozen, frozen=True, kw_only=True):
    """A case that does not run, and the reason."""

    case: Case
    reason: str


class Setting(NamedTuple):
    """What the cases share. `unusable` says why the device cannot be used, if it cannot."""

    part: Part
    spec: WorkloadSpec
    workload: Any
    device: str
    unusable: str | None
    threads: int
    seed: int


def trainings(setting: Setting) -> tuple[list[Case], list[Skip]]:
    """Return the train cases of a setting, and those that are skipped.

    Raises: ConfigError: an unknown technique or parameter.
    """
    kept: list[Case] = []
    skips: list[Skip] = []
    for written in setting.part.train:
        entry = TrainEntry(technique=written) if isinstance(written, str) else written
        technique = catalogue.load(Phase.TRAIN, entry.technique)
        params = msgspec.to_builtins(catalogue.parse_params(technique, entry.params))
        for seed in entry.seeds or (setting.seed,):
            case = Case(
                workload=setting.spec,
                phase=Phase.TRAIN,
                technique=entry.technique,
                device=setting.device,
                seed=seed,
                threads=setting.threads,
                params=params,
            )
            _sort(case, setting, kept, skips, setting.unusable)
    return kept, skips


def inferences(
    setting: Setting, scenario: str, trained: list[Case], params: Mapping[str, Any] | None = None
) -> tuple[list[Case], list[Skip]]:
    """Return the infer cases of a setting, and those that are skipped; `trained` are its train cases that run.

    `params` go over the parameters that the suite gives to each technique.

    Raises: ConfigError: an unknown technique or parameter.
    """
    infer = setting.part.infer
    kept: list[Case] = []
    skips: list[Skip] = []
    if infer is None:
        return kept, skips
    for name in infer.model_from:
        catalogue.load(Phase.TRAIN, name)
    source = next((case for name in infer.model_from for case in trained if case.technique == name), None)
    reason = setting.unusable
    if source is None and reason is None:
        names = ", ".join(infer.model_from)
        reason = f"no model to infer with: none of model_from ({names}) is among the train cases that run"
    for written in infer.techniques:
        entry = InferEntry(technique=written) if isinstance(written, str) else written
        technique = catalogue.load(Phase.INFER, entry.technique)
        case = Case(
            workload=setting.spec,
            phase=Phase.INFER,
            technique=entry.technique,
            device=setting.device,
            seed=setting.seed,
            threads=setting.threads,
            scenario=scenario,
            params=msgspec.to_builtins(catalogue.parse_params(technique, {**entry.params, **(params or {})})),
            trained_by=source.case_id if source else None,
        )
        _sort(case, setting, kept, skips, reason)
    return kept, skips


def _sort(case: Case, setting: Setting, kept: list[Case], skips: list[Skip], reason: str | None) -> None:
    skip = reason or catalogue.load(case.phase, case.technique).supports(setting.workload, setting.device)
    if skip:
        skips.append(Skip(case=case, reason=skip))
    else:
        kept.append(case)
