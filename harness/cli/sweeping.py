"""`sweep`: inference at every combination of the axes' values."""

from __future__ import annotations

from typing import Any

import yaml

from harness import config
from harness.cli import running
from harness.errors import UsageError


def sweep(request: running.Request, over: tuple[str, ...]) -> int:
    """Run a suite at every combination of the axes' values; return 0, or 13 when a case failed.

    Raises: UsageError: an axis that cannot be read or stands twice, or none at all.
    """
    axes: dict[str, list[Any]] = {}
    for axis, values in map(_axis, over):
        if axis in axes:
            raise UsageError(f"--over names {axis} twice; give all its values at once: --over {axis}=value,value")
        axes[axis] = values
    if not axes and not config.load_suite(request.path, request.overrides).sweep:
        raise UsageError(
            f"{request.path} has no `sweep:` and no axis was given; give one, for example "
            "--over workload.max_length=32,64,128"
        )
    return running.run(request._replace(sweep=axes))


def _axis(text: str) -> tuple[str, list[Any]]:
    axis, equals, written = text.partition("=")
    try:
        values = yaml.safe_load(f"[{written}]")
    except yaml.YAMLError:
        values = None
    if not equals or not axis or not isinstance(values, list) or not values:
        raise UsageError(f"--over {text!r} is not of the form path=value,value, for example measure.threads=1,2")
    return axis, values
