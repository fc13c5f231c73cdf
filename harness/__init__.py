"""joulebench's harness: plan, run, measure, compare, report. Techniques live in `techniques`."""

__version__ = "0.1.0"
