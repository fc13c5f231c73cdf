"""joulebench's harness: plan, run, measure, compare, report. Techniques live in `techniques`.

`harness.measure` is the way to measure code of one's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.measuring import measure, measure_calls

__version__ = "0.1.0"
__all__ = ["measure", "measure_calls"]


def __getattr__(name: str) -> Any:
    """Load the public functions when they are first asked for: most of the harness does not need them."""
    if name in __all__:
        from harness import measuring

        return getattr(measuring, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
