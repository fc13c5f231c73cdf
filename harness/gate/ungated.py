"""What of a gated suite is not gated: its trainings (`docs/decisions/010-what-the-gate-leaves-out.md`)."""

from __future__ import annotations

from pathlib import Path

from harness.config import load_suite
from harness.gate.targets import GateConfig, SuiteTarget


def training_notes(config: GateConfig, root: Path) -> tuple[str, ...]:
    """Return a note on each suite whose trainings no case stands for; `root` is the folder of the configuration."""
    notes = []
    for target in config.cases:
        if not isinstance(target, SuiteTarget) or not (root / target.suite).is_file():
            continue
        entries = [entry for part in load_suite(root / target.suite).all_parts for entry in part.train]
        names = dict.fromkeys(each if isinstance(each, str) else each.technique for each in entries)
        notes.append(
            f"{target.suite}: its infer cases are gated, what its trainings cost ({', '.join(names)}) is not compared"
        )
    return tuple(notes)
