"""Whether head grew from base. Else what base gained since they parted counts as what head costs or saves."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from harness.gate.model import Arm


def parted_note(project: Path, base: Arm, head: Arm) -> tuple[str, ...]:
    """Return a note where head lacks commits of base; none where that cannot be told, as in a shallow clone."""
    if base.commit is None or head.commit is None or base.commit == head.commit:
        return ()
    if _git(project, "rev-parse", "--is-shallow-repository") != "false":
        return ()
    parted = _git(project, "merge-base", base.commit, head.commit)
    if parted == base.commit:
        return ()
    if parted is None:
        return (f"base {base.ref} and head have no commit in common; all that differs counts as head's",)
    note = (
        f"head lacks commits of base {base.ref}, so what those save or cost is held against it; "
        f"--base {parted[:12]} compares with the commit where the two parted"
    )
    return (note,)


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says, or None where it fails."""
    # Hooks and aliases of CI may have set these for a repository that is not the one asked about.
    clean = {key: value for key, value in os.environ.items() if key not in ("GIT_DIR", "GIT_WORK_TREE")}
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607 git from the PATH, as users have it
        cwd=folder,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else None
