"""Hardware and kernel counters as raw integers.

Standard library only and quick to import: `harness.measure` takes a window with nothing more, and what the
integers mean in joules is worked out afterwards in `meters`.
"""
