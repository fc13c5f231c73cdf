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

from harness import axes
from harness.errors import ConfigError, UsageError
from harness.records import Frozen, WorkloadSpec
from harness.units import parse_duration_s
from harness.yamlfile import line_of, override, path_of, read_mapping

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
    The state of a training is kept at most every `keep_s` seconds, so that a run that is killed goes on from there.
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
    keep_s: float = 60.0
    meters: tuple[str, ...] = ("auto",)
    trace: bool = False


class Part(Frozen, frozen=True, kw_only=True):
    """One workload of a suite with what is trained and inferred on it; `name` is what its cases are called by."""

    workload: dict[str, Any]
    train: tuple[str | TrainEntry, ...]
    infer: Infer | None = None
    target_quality: float | None = None
    stop_at_target: bool = True
    name: str = ""

    @property
    def workload_spec(self) -> WorkloadSpec:
        """The workload as written; relative paths in it are relative to the suite's folder."""
        params = {key: value for key, value in self.workload.items() if key != "name"}
        return WorkloadSpec(name=self.workload["name"], params=params)


_OF_ONE = tuple(key for key in Part.__struct_fields__ if key != "name")
"""Keys of a suite of one workload, which a suite with `parts` has in each part instead."""


class Suite(Frozen, frozen=True, kw_only=True):
    """Everything a run is asked to do: one workload, or `parts` with a workload each.

    The keys from `workload` to `stop_at_target` are those of a `Part`; a suite has them, or it has `parts`.
    `sweep` maps axes (`workload.size`, `infer.batch_size`, `measure.threads`) to values; every combination is inferred
    with, interleaved, and the first is what the others are compared with.
    """

    suite: str
    workload: dict[str, Any] = {}
    train: tuple[str | TrainEntry, ...] = ()
    infer: Infer | None = None
    target_quality: float | None = None
    stop_at_target: bool = True
    parts: tuple[Part, ...] = ()
    sweep: dict[str, tuple[Any, ...]] = {}
    devices: tuple[str, ...] = ("cpu",)
    measure: Measure = Measure()
    budget: str | float = "30m"
    seed: int = 1234

    @property
    def all_parts(self) -> tuple[Part, ...]:
        """Its parts; a suite of one workload is one part."""
        return self.parts or (Part(**{key: getattr(self, key) for key in _OF_ONE}),)

    @property
    def budget_s(self) -> float:
        """The wall time the run may take, in seconds."""
        return parse_duration_s(self.budget)

    @property
    def plain(self) -> dict[str, Any]:
        """Everything spelled out as plain data, without the keys of what this suite has not."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        for key in (*(_OF_ONE if self.parts else ("parts",)), *(() if self.sweep else ("sweep",))):
            del plain[key]
        return plain

    @property
    def sha256(self) -> str:
        """Changes whenever anything in the suite changes but its budget."""
        plain = self.plain
        del plain["budget"]
        return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()


def load_suite(path: Path, overrides: tuple[str, ...] = (), sweep: Mapping[str, Sequence[Any]] | None = None) -> Suite:
    """Return the suite in a YAML file, with `dotted.path=value` overrides applied and axes of a sweep added.

    Raises: ConfigError: unreadable, not YAML, an unknown key, a wrong type, a value out of range.
    """
    document, node = read_mapping(path, "suite", Suite.__struct_fields__)
    for text in overrides:
        override(document, text)
    given = document.get("sweep") or {}
    if sweep and isinstance(given, dict):
        document["sweep"] = {**given, **{axis: list(values) for axis, values in sweep.items()}}
    return _validated(document, path, node)


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
    path.write_text(yaml.safe_dump(suite.plain, sort_keys=False), encoding="utf-8")


def _validated(document: dict[str, Any], path: Path, node: yaml.Node) -> Suite:
    beside = [key for key in _OF_ONE if key in document] if "parts" in document else []
    try:
        suite = msgspec.convert(document, Suite)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), path, node)) from error
    checks = [((key,), False, "stands beside `parts`; give it to a part, or take `parts` out") for key in beside]
    for where, holds, what in (*checks, *_checks(suite, several="parts" in document)):
        if not holds:
            raise ConfigError(f"{path}{line_of(node, where)}: {'.'.join(where)}: {what}")
    return suite


_Check = tuple[tuple[str, ...], bool, str]
"""A path in the suite, whether it is as it must be, and what to do where it is not."""


def _checks(suite: Suite, *, several: bool) -> list[_Check]:
    measure = suite.measure
    parts = [
        check
        for number, part in enumerate(suite.all_parts)
        for check in _part_checks(part, ("parts", str(number)) if several else ())
    ]
    return [
        (("parts",), bool(suite.parts) or not several, "name at least one part"),
        *parts,
        *_sweep_checks(suite),
        (("devices",), len(suite.devices) > 0, "name at least one device, for example cpu"),
        (("measure", "threads"), measure.threads >= 1, "must be 1 or more"),
        (("measure", "min_window_s"), measure.min_window_s > 0, "must be longer than zero"),
        (("measure", "forks"), 1 <= measure.forks <= measure.max_forks, "must be from 1 to max_forks"),
        (("measure", "blocks"), measure.blocks >= 2, "must be 2 or more: one block has no spread"),
        (("measure", "half_width"), measure.half_width > 0, "must be above zero, for example 0.03 for ±3 %"),
        (("measure", "confidence"), 0.5 < measure.confidence < 1, "must lie between 0.5 and 1"),
        (("measure", "idle_s"), measure.idle_s >= 0, "must not be negative"),
        (("measure", "keep_s"), measure.keep_s >= 0, "must not be negative"),
        (("measure", "timeout_s"), measure.timeout_s > 0, "must be longer than zero"),
        _budget_check(suite.budget),
    ]


def _part_checks(part: Part, where: tuple[str, ...]) -> list[_Check]:
    named = isinstance(part.workload.get("name"), str)
    checks: list[_Check] = [
        ((*where, "workload", "name"), named, "name one (`joulebench ls workloads`)"),
        ((*where, "train"), len(part.train) > 0, "name at least one training technique (`joulebench ls techniques`)"),
        ((*where, "name"), not re.search(r"[\s()/]", part.name), "must be one word, without ( ) and /"),
    ]
    infer = part.infer
    if infer is not None:
        model = "name the train technique that gives the model"
        checks += [
            ((*where, "infer", "techniques"), len(infer.techniques) > 0, "name at least one inference technique"),
            ((*where, "infer", "model_from"), len(infer.model_from) > 0, model),
            ((*where, "infer", "slice"), infer.slice >= 1, "must be 1 or more"),
        ]
    return checks


def _sweep_checks(suite: Suite) -> list[_Check]:
    if not suite.sweep:
        return []
    infers = all(part.infer is not None for part in suite.all_parts)
    checks: list[_Check] = [
        (("sweep",), not suite.parts, "goes over one workload; take `parts` out, or give each part a suite of its own"),
        (("sweep",), infers, "measures inference, so the suite needs `infer`"),
    ]
    for axis, values in suite.sweep.items():
        why = axes.problem(axis, values) or _batch_problem(suite, axis, values)
        checks.append((("sweep", axis), why is None, why or ""))
    return checks


def _batch_problem(suite: Suite, axis: str, values: Sequence[Any]) -> str | None:
    """Return why a batch would be smaller than the axis says: no more is handed over at once than a slice."""
    slice_ = suite.infer.slice if suite.infer else None
    counts = [value for value in values if isinstance(value, int)]
    if axis != "infer.batch_size" or slice_ is None or max(counts, default=0) <= slice_:
        return None
    return f"a batch of {max(counts)} is never full, {slice_} are handed over at once; set infer.slice={max(counts)}"


def _budget_check(budget: str | float) -> _Check:
    try:
        parse_duration_s(budget)
    except UsageError as error:
        return ("budget",), False, str(error)
    return ("budget",), True, ""


def _explain(message: str, path: Path, node: yaml.Node) -> str:
    where = path_of(message)
    reason = re.sub(r" - at `.*`$", "", message)
    unknown = re.search(r"unknown field `([^`]*)`", message)
    if unknown:
        key = unknown[1]
        where = (*where, key)
        valid = _fields_at(where[:-1])
        near = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        reason = f"unknown key {key!r}{hint} (valid: {', '.join(valid)})"
    if "Invalid enum value" in reason:
        reason += f" (valid: {', '.join(get_args(Scenario))})"
    dotted = ".".join(map(str, where)) or "the suite"
    return f"{path}{line_of(node, where)}: {dotted}: {reason}"


def _fields_at(where: tuple[str, ...]) -> tuple[str, ...]:
    struct: type[Frozen] = Suite
    if where[:1] == ("parts",):
        struct, where = Part, where[2:]
    if where[:2] == ("infer", "techniques"):
        return InferEntry.__struct_fields__
    below: dict[str, type[Frozen]] = {"measure": Measure, "infer": Infer, "train": TrainEntry}
    if where:
        return below[where[0]].__struct_fields__ if where[0] in below else ()
    return struct.__struct_fields__
