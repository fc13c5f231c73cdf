"""Finds techniques: one module a file in `techniques/<phase>/`, or another distribution's entry point.

`harness` never names a technique. Finding one imports its module, which is light by contract
(torch and its kin are imported inside functions).

Another distribution offers techniques by an entry point in the group `joulebench.techniques`,
whose value is a module: `my_technique = "my_package.my_technique"`.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterator
from importlib import metadata
from types import ModuleType
from typing import Any, cast

import msgspec

from harness.contract import Technique, TechniqueInfo
from harness.errors import ConfigError
from harness.records import Phase

ENTRY_POINT_GROUP = "joulebench.techniques"
_PACKAGE = "techniques"
_HEADINGS = ("What it does", "Why it may save energy", "What it costs", "Limits", "Source")


def find(phase: Phase) -> dict[str, str]:
    """Return name → module path of every technique of a phase, by name; nothing is imported."""
    found = dict(_own(phase))
    for entry in metadata.entry_points(group=ENTRY_POINT_GROUP):
        module = importlib.import_module(entry.module)
        if _info(module, entry.module).phase is phase:
            found[entry.name] = entry.module
    return dict(sorted(found.items()))


def load(phase: Phase, name: str) -> Technique:
    """Return the technique's module.

    Raises: ConfigError: there is no such technique (the nearest names are given), or the module breaks the contract.
    """
    known = find(phase)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"there is no {phase.value} technique {name!r}; {hint}known: {', '.join(known) or 'none'}")
    module = importlib.import_module(known[name])
    problems = violations(module, name, phase)
    if problems:
        raise ConfigError(f"technique {name!r} ({known[name]}) breaks the contract: {'; '.join(problems)}")
    return cast("Technique", module)


def baseline(phase: Phase) -> str:
    """Return the name of the phase's baseline technique.

    Raises: ConfigError: there is not exactly one.
    """
    names = [name for name in find(phase) if load(phase, name).INFO.baseline]
    if len(names) != 1:
        raise ConfigError(f"phase {phase.value} must have exactly one baseline technique, found {names or 'none'}")
    return names[0]


def parse_params(technique: Technique, params: dict[str, Any]) -> Any:
    """Return the technique's frozen parameters from a plain mapping.

    Raises: ConfigError: an unknown key (the nearest valid one is named) or a wrong type.
    """
    fields = technique.Params.__struct_fields__
    for key in params:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            valid = ", ".join(fields) or "none"
            raise ConfigError(f"{technique.INFO.name} has no parameter {key!r}{hint} (valid: {valid})")
    try:
        return msgspec.convert(params, technique.Params)
    except msgspec.ValidationError as error:
        raise ConfigError(f"parameters of {technique.INFO.name}: {error}") from error


def violations(module: ModuleType, name: str, phase: Phase) -> tuple[str, ...]:
    """Return what a module lacks to be a technique; empty when it is one."""
    problems = []
    info = getattr(module, "INFO", None)
    if not isinstance(info, TechniqueInfo):
        return ("it has no INFO = TechniqueInfo(...)",)
    if info.name != name:
        problems.append(f"INFO.name is {info.name!r}, the file is {name!r}")
    if info.phase is not phase:
        problems.append(f"INFO.phase is {info.phase.value!r}, the folder is {phase.value!r}")
    params = getattr(module, "Params", None)
    if not (isinstance(params, type) and issubclass(params, msgspec.Struct) and params.__struct_config__.frozen):
        problems.append("Params is not a frozen msgspec.Struct")
    wanted = {Phase.TRAIN: "train", Phase.INFER: "build", Phase.SERVE: "serve"}[phase]
    problems += [f"it has no function {f}()" for f in ("supports", wanted) if not callable(getattr(module, f, None))]
    doc = module.__doc__ or ""
    problems += [f"its docstring lacks the heading {heading!r}" for heading in _HEADINGS if heading not in doc]
    return tuple(problems)


def _own(phase: Phase) -> Iterator[tuple[str, str]]:
    try:
        package = importlib.import_module(f"{_PACKAGE}.{phase.value}")
    except ModuleNotFoundError:
        return
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            yield module.name, f"{_PACKAGE}.{phase.value}.{module.name}"


def _info(module: ModuleType, path: str) -> TechniqueInfo:
    info = getattr(module, "INFO", None)
    if not isinstance(info, TechniqueInfo):
        raise ConfigError(f"the entry point {path} in group {ENTRY_POINT_GROUP} is not a technique: no INFO")
    return info
