"""The axes of a sweep: what of a suite may vary, what a point changes, and where on the axes a case lies."""

from __future__ import annotations

import copy
import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.errors import ConfigError
from harness.records import Case

Point = dict[str, Any]
"""One combination of values, by axis."""

THREADS = "measure.threads"
_VALID = f"workload.<parameter>, infer.<parameter of the techniques>, {THREADS}; a sweep measures inference"
_OF_INFER = ("techniques", "model_from", "scenarios", "slice")


def problem(axis: str, values: Sequence[Any]) -> str | None:
    """Return why an axis cannot be swept, and what to write instead; None if it can be."""
    first, _, rest = axis.partition(".")
    known = (first == "workload" and rest) or (first == "infer" and rest and "." not in rest) or axis == THREADS
    near = difflib.get_close_matches(axis, (THREADS,), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    shared = first == "infer" and rest in _OF_INFER
    counted = all(isinstance(value, int) and value >= 1 for value in values)
    checks = (
        (axis != "workload.name", "joules of unlike tasks have no ratio; a suite with `parts` holds several workloads"),
        (not shared, f"{axis} is the same for all points; an axis names a parameter of the techniques"),
        (known, f"cannot be swept; {hint}(valid: {_VALID})"),
        (len(values) >= 2, "an axis needs at least two values"),
        (all(isinstance(value, str | int | float) for value in values), "values must be words or numbers"),
        (len({str(value) for value in values}) == len(values), "a value stands twice"),
        (axis != THREADS or counted, "threads are whole numbers from 1 on"),
    )
    return next((why for holds, why in checks if not holds), None)


def points(sweep: Mapping[str, Sequence[Any]]) -> Iterator[Point]:
    """Yield every combination, the first axis slowest; the first point has the first value of every axis."""
    for values in itertools.product(*sweep.values()):
        yield dict(zip(sweep, values, strict=True))


def workload_at(workload: Mapping[str, Any], point: Point) -> dict[str, Any]:
    """Return a suite's workload with the values that a point gives it.

    Raises: ConfigError: an axis goes through something that is no mapping.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(workload))
    for axis, value in on_workload(point).items():
        *parents, last = axis.split(".")[1:]
        place: Any = changed
        for depth, key in enumerate(parents, start=1):
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise ConfigError(f"sweep.{axis}: workload.{'.'.join(parents[:depth])} is no mapping in this suite")
        place[last] = value
    return changed


def params_at(point: Point) -> dict[str, Any]:
    """Return the parameters that a point gives to every inference technique."""
    return {axis.partition(".")[2]: value for axis, value in point.items() if axis.startswith("infer.")}


def on_workload(point: Point) -> Point:
    """Return what of a point is of the workload, and so makes another model."""
    return {axis: value for axis, value in point.items() if axis.startswith("workload.")}


def value_of(case: Case, axis: str) -> Any:
    """Return where an infer case lies on an axis; None if it has no such value."""
    if axis == THREADS:
        return case.threads
    first, *path = axis.split(".")
    value: Any = case.workload.params if first == "workload" else case.params
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def short(axis: str, axes: Sequence[str]) -> str:
    """Return the last word of an axis, or all of it where another axis ends in the same word."""
    last = axis.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in axes) == 1 else axis


def label(point: Point) -> str:
    """Return what a point is called: `size=tiny,threads=2`."""
    return ",".join(f"{short(axis, tuple(point))}={value}" for axis, value in point.items())
