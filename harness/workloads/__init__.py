"""Workloads: one module per task, with its data, its quality measure and what *one task* is."""

from __future__ import annotations

import difflib
import importlib
from typing import cast

import msgspec

from harness.contract import Workload
from harness.errors import ConfigError
from harness.records import WorkloadSpec
from harness.workloads.slicing import answers, slices

__all__ = ["answers", "describe", "load", "names", "settle", "slices"]

_NAMES = ("sentence_classification",)


def names() -> tuple[str, ...]:
    """Return the names of all workloads."""
    return _NAMES


def describe(name: str) -> str:
    """Return the first line of a workload's documentation.

    Raises: ConfigError: there is no such workload.
    """
    module = importlib.import_module(f"{__name__}.{_known(name)}")
    return (module.__doc__ or "").strip().splitlines()[0]


def load(spec: WorkloadSpec, seed: int) -> Workload:
    """Return the workload a suite asks for; nothing is read, downloaded or loaded yet.

    Raises: ConfigError: the name or a parameter is not valid.
    """
    module = importlib.import_module(f"{__name__}.{_known(spec.name)}")
    return cast("Workload", module.load(spec.params, seed))


def settle(spec: WorkloadSpec) -> tuple[WorkloadSpec, str | None]:
    """Return the workload as it can run on this machine, and what was replaced (None: nothing).

    Raises: ConfigError: the name or a parameter is not valid.
    """
    module = importlib.import_module(f"{__name__}.{_known(spec.name)}")
    params, note = module.settle(spec.params)
    return msgspec.structs.replace(spec, params=params), note


def _known(name: str) -> str:
    if name in _NAMES:
        return name
    near = difflib.get_close_matches(name, _NAMES, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"workload.name: there is no workload {name!r}; {hint}Valid names: {', '.join(_NAMES)}")
