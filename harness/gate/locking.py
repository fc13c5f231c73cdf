"""What an arm depends on: its lock files and the dependencies of its pyproject, by content."""

from __future__ import annotations

import hashlib
import subprocess
import tomllib
from pathlib import Path

import msgspec

from harness.errors import UsageError
from harness.records import Frozen

_LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "Pipfile.lock", "constraints*.txt", "requirements*.txt")
_DEPENDENCIES = ("dependencies", "optional-dependencies", "requires-python")

_LIST = (
    "import importlib.metadata as m, sys; "
    "print(sys.version, *sorted({f\"{d.metadata['Name']}=={d.version}\" for d in m.distributions()}), sep='\\n')"
)


class Dependencies(Frozen, frozen=True, kw_only=True):
    """The hash of each file that says what is installed, by name."""

    files: dict[str, str]

    @property
    def sha256(self) -> str | None:
        """Changes whenever what is asked for does; None where nothing says."""
        if not self.files:
            return None
        return hashlib.sha256(msgspec.json.encode(self.files, order="sorted")).hexdigest()

    def differing(self, other: Dependencies) -> tuple[str, ...]:
        """Return the names of the files that differ, or that only one side has."""
        names = sorted(self.files.keys() | other.files.keys())
        return tuple(name for name in names if self.files.get(name) != other.files.get(name))


def dependencies(root: Path) -> Dependencies:
    """Return what a folder says of its dependencies; of pyproject.toml only the parts about them."""
    found = {path.name: path.read_bytes() for pattern in _LOCKS for path in root.glob(pattern) if path.is_file()}
    project = root / "pyproject.toml"
    if project.is_file():
        found["pyproject.toml"] = _asked_for(project.read_bytes())
    return Dependencies(files={name: hashlib.sha256(content).hexdigest() for name, content in found.items()})


def environment_sha256(python: Path) -> str:
    """Return the hash of an interpreter's version and everything installed for it.

    Raises: UsageError: it is no Python interpreter that runs.
    """
    try:
        listed = subprocess.run(
            [str(python), "-I", "-c", _LIST], capture_output=True, check=True, stdin=subprocess.DEVNULL, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"{python} does not run as a Python interpreter: {error}") from error
    return hashlib.sha256(listed.stdout).hexdigest()


def _asked_for(content: bytes) -> bytes:
    try:
        project = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return content
    table = project.get("project", {})
    asked = {key: table.get(key) for key in _DEPENDENCIES}
    asked["groups"] = project.get("dependency-groups")
    asked["build"] = project.get("build-system", {}).get("requires")
    asked["poetry"] = project.get("tool", {}).get("poetry", {}).get("dependencies")
    return msgspec.json.encode(asked, order="sorted")
