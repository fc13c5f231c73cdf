"""Workloads: one module per task, with its data, its quality measure and what *one task* is."""

from __future__ import annotations

import difflib
import importlib
from types import ModuleType
from typing import cast

import msgspec

from harness.contract import Workload
from harness.errors import ConfigError
from harness.records import WorkloadSpec
from harness.workloads.evaluating import answers
from harness.workloads.slicing import slices

__all__ = ["answers", "describe", "load", "names", "settle", "slices"]

_MODULES = {
    "sentence_classification": "sentence_classification",
    "translate": "translate",
    "elmo": "elmo",
    "bert": "bert",
    "gpt2": "gpt2",
    "any": "any_model",
}


def names() -> tuple[str, ...]:
    """Return the names of all workloads."""
    return tuple(_MODULES)


def describe(name: str) -> str:
    """Return the first line of a workload's documentation.

    Raises: ConfigError: there is no such workload.
    """
    return (_module(name).__doc__ or "").strip().splitlines()[0]


def load(spec: WorkloadSpec, seed: int) -> Workload:
    """Return the workload a suite asks for; nothing is read, downloaded or loaded yet.

    Raises: ConfigError: the name or a parameter is not valid.
    """
    return cast("Workload", _module(spec.name).load(spec.params, seed))


def settle(spec: WorkloadSpec) -> tuple[WorkloadSpec, str | None]:
    """Return the workload as it can run on this machine, and what was replaced (None: nothing).

    Most workloads spell out the parameters that the suite left to their defaults, so that a record says them.

    Raises: ConfigError: the name or a parameter is not valid.
    """
    params, note = _module(spec.name).settle(spec.params)
    return msgspec.structs.replace(spec, params=params), note


def _module(name: str) -> ModuleType:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{_MODULES[name]}")
    near = difflib.get_close_matches(name, _MODULES, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"workload.name: there is no workload {name!r}; {hint}Valid names: {', '.join(_MODULES)}")
