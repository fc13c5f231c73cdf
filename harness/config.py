"""Suites: YAML in, frozen data out. Loading one does nothing else: no network, no hardware, no environment.

A message about a bad suite names the file, the line, the path in it, and the nearest valid key.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import yaml

from harness.errors import ConfigError, UsageError
from harness.records import Frozen, WorkloadSpec
from harness.units import parse_duration_s

Scenario = Literal["offline", "single"]
"""MLPerf's names: `offline` hands over a whole batch at once, `single` one sentence at a time."""


class TrainEntry(Frozen, frozen=True, kw_only=True):
    """One training technique; `seeds` repeats it in fresh processes (default: the suite's seed)."""

    technique: str
    params: dict[str, Any] = {}
    seeds: tuple[int, ...] = ()


class InferEntry(Frozen, frozen=True, kw_only=True):
    """One inference technique."""

    technique: str
    params: dict[str, Any] = {}


class Infer(Frozen, frozen=True, kw_only=True):
    """The inference part of a suite.

    `model_from` names train techniques: the first that is not skipped gives the model. `slice` is
    the number of sentences handed to a technique at once (offline) or one after another (single).
    """

    techniques: tuple[str | InferEntry, ...]
    model_from: tuple[str, ...]
    scenarios: tuple[Scenario, ...] = ("offline",)
    slice: int = 32


class Measure(Frozen, frozen=True, kw_only=True):
    """How it is measured.

    Fork rounds of `blocks` blocks go on from `forks` to `max_forks` until every ratio's interval is
    within ± `half_width` (relative, at `confidence` over the whole family), or the budget is spent.
    `trace` keeps the raw readings of every fork at 10 Hz under `traces/` in the run's folder (extra
    `trace`), for `joulebench replay`; what that costs is in the records.
    """

    threads: int = 1
    min_window_s: float = 0.5
    forks: int = 2
    max_forks: int = 8
    blocks: int = 4
    half_width: float = 0.03
    confidence: float = 0.95
    quality_margin: float = 0.02
    idle_s: float = 2.0
    timeout_s: float = 300.0
    meters: tuple[str, ...] = ("auto",)
    trace: bool = False


class Suite(Frozen, frozen=True, kw_only=True):
    """Everything a run is asked to do."""

    suite: str
    workload: dict[str, Any]
    train: tuple[str | TrainEntry, ...]
    infer: Infer | None = None
    devices: tuple[str, ...] = ("cpu",)
    target_quality: float | None = None
    stop_at_target: bool = True
    measure: Measure = Measure()
    budget: str | float = "30m"
    seed: int = 1234

    @property
    def budget_s(self) -> float:
        """The wall time the run may take, in seconds."""
        return parse_duration_s(self.budget)

    @property
    def workload_spec(self) -> WorkloadSpec:
        """The workload as written; relative paths in it are relative to the suite's folder."""
        params = {key: value for key, value in self.workload.items() if key != "name"}
        return WorkloadSpec(name=self.workload["name"], params=params)

    @property
    def sha256(self) -> str:
        """Changes whenever anything in the suite changes but its budget."""
        plain = msgspec.to_builtins(self)
        del plain["budget"]
        return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()


def load_suite(path: Path, overrides: tuple[str, ...] = ()) -> Suite:
    """Return the suite in a YAML file, with `dotted.path=value` overrides applied.

    Raises: ConfigError: unreadable, not YAML, an unknown key, a wrong type, a value out of range.
    """
    document, node = read_mapping(path, "suite", Suite.__struct_fields__)
    for override in overrides:
        _override(document, override)
    return _validated(document, path, node)


def read_mapping(path: Path, what: str, keys: Sequence[str]) -> tuple[dict[str, Any], yaml.Node]:
    """Return the mapping in a YAML file, and its nodes, which know the lines.

    Raises: ConfigError: unreadable, not YAML, no mapping, a key that stands twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the {what} {path}: {error}") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(document, dict) or node is None:
        raise ConfigError(f"{path} must be a mapping with the keys {', '.join(keys)}")
    _refuse_duplicates(node, path)
    return document, node


def locate(spec: WorkloadSpec, folder: Path) -> WorkloadSpec:
    """Return the workload with its relative paths taken from the suite's folder.

    Paths are `data.train|validation|test` of a file source and `path` anywhere.
    """

    def walk(value: Any, key: str, *, in_files: bool) -> Any:
        if isinstance(value, Mapping):
            files = value.get("source") == "file"
            return {name: walk(item, name, in_files=files) for name, item in value.items()}
        is_path = key == "path" or (in_files and key in ("train", "validation", "test"))
        return str(folder / value) if is_path and isinstance(value, str) else value

    return msgspec.structs.replace(spec, params=walk(spec.params, "", in_files=False))


def write_suite(suite: Suite, path: Path) -> None:
    """Write the resolved suite, every default spelled out."""
    path.write_text(yaml.safe_dump(msgspec.to_builtins(suite), sort_keys=False), encoding="utf-8")


def _validated(document: dict[str, Any], path: Path, node: yaml.Node) -> Suite:
    try:
        suite = msgspec.convert(document, Suite)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), document, path, node)) from error
    problem = _out_of_range(suite)
    if problem:
        where, what = problem
        raise ConfigError(f"{path}{line_of(node, where)}: {'.'.join(map(str, where))}: {what}")
    return suite


def _out_of_range(suite: Suite) -> tuple[tuple[str, ...], str] | None:
    measure = suite.measure
    checks: list[tuple[tuple[str, ...], bool, str]] = [
        (("workload", "name"), isinstance(suite.workload.get("name"), str), "name one (`joulebench ls workloads`)"),
        (("train",), len(suite.train) > 0, "name at least one training technique (`joulebench ls techniques`)"),
        (("devices",), len(suite.devices) > 0, "name at least one device, for example cpu"),
        (("measure", "threads"), measure.threads >= 1, "must be 1 or more"),
        (("measure", "min_window_s"), measure.min_window_s > 0, "must be longer than zero"),
        (("measure", "forks"), 1 <= measure.forks <= measure.max_forks, "must be from 1 to max_forks"),
        (("measure", "blocks"), measure.blocks >= 2, "must be 2 or more: one block has no spread"),
        (("measure", "half_width"), measure.half_width > 0, "must be above zero, for example 0.03 for ±3 %"),
        (("measure", "confidence"), 0.5 < measure.confidence < 1, "must lie between 0.5 and 1"),
        (("measure", "idle_s"), measure.idle_s >= 0, "must not be negative"),
        (("measure", "timeout_s"), measure.timeout_s > 0, "must be longer than zero"),
    ]
    if suite.infer is not None:
        checks += [
            (("infer", "techniques"), len(suite.infer.techniques) > 0, "name at least one inference technique"),
            (("infer", "model_from"), len(suite.infer.model_from) > 0, "name the train technique that gives the model"),
            (("infer", "slice"), suite.infer.slice >= 1, "must be 1 or more"),
        ]
    failed = [(where, what) for where, holds, what in checks if not holds]
    if failed:
        return failed[0]
    try:
        parse_duration_s(suite.budget)
    except UsageError as error:
        return ("budget",), str(error)
    return None


def _override(document: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"override {override!r} is not of the form dotted.path=value, for example measure.forks=3")
    *parents, last = dotted.split(".")
    place: Any = document
    for depth, key in enumerate(parents):
        if isinstance(place, dict):
            place = place.setdefault(key, {})
        elif isinstance(place, list) and key.isdigit() and int(key) < len(place):
            place = place[int(key)]
        else:
            raise ConfigError(f"override {override!r}: {'.'.join(parents[: depth + 1])} is not in the suite")
    value = yaml.safe_load(text)
    if isinstance(place, dict):
        place[last] = value
    elif isinstance(place, list) and last.isdigit() and int(last) < len(place):
        place[int(last)] = value
    else:
        raise ConfigError(f"override {override!r}: {dotted} is not in the suite")


def _explain(message: str, document: dict[str, Any], path: Path, node: yaml.Node) -> str:
    where = path_of(message)
    reason = re.sub(r" - at `.*`$", "", message)
    unknown = re.search(r"unknown field `([^`]*)`", message)
    if unknown:
        key = unknown[1]
        where = (*where, key)
        valid = _fields_at(where[:-1], document)
        near = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        reason = f"unknown key {key!r}{hint} (valid: {', '.join(valid)})"
    if "Invalid enum value" in reason:
        reason += f" (valid: {', '.join(get_args(Scenario))})"
    dotted = ".".join(map(str, where)) or "the suite"
    return f"{path}{line_of(node, where)}: {dotted}: {reason}"


def path_of(message: str) -> tuple[str, ...]:
    """Return ("train", "0", "params") from msgspec's `$.train[0].params`."""
    found = re.search(r"at `\$(.*)`$", message)
    return tuple(re.findall(r"[^.\[\]]+", found[1])) if found else ()


def _fields_at(where: tuple[str, ...], document: dict[str, Any]) -> tuple[str, ...]:
    structs: dict[str, type[Frozen]] = {"measure": Measure, "infer": Infer, "train": TrainEntry}
    if not where:
        return Suite.__struct_fields__
    if where[:2] == ("infer", "techniques"):
        return InferEntry.__struct_fields__
    struct = structs.get(where[0])
    return struct.__struct_fields__ if struct and where[0] in document else ()


def line_of(node: yaml.Node, where: tuple[str, ...]) -> str:
    """Return `:12`, the line of a path in the file; empty where the path came from an override."""
    line: int | None = None
    for key in where:
        if isinstance(node, yaml.MappingNode):
            match = [(k, v) for k, v in node.value if k.value == key]
        elif isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
            match = [(node.value[int(key)], node.value[int(key)])]
        else:
            match = []
        if not match:
            break
        line = match[0][0].start_mark.line + 1
        node = match[0][1]
    return f":{line}" if line else ""


def _refuse_duplicates(node: yaml.Node, path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise ConfigError(f"{path}:{key.start_mark.line + 1}: the key {key.value!r} stands twice; keep one")
            seen.add(key.value)
            _refuse_duplicates(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_duplicates(value, path)
