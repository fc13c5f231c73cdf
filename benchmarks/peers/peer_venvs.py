"""One virtual environment per tool: ours from this checkout, the peers by name from the index the user configured."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PEERS = {"zeus": ("zeus", "0.16.0"), "codecarbon": ("codecarbon", "3.3.2")}
GATES = {"pytest-benchmark": "5.3.1", "asv": "0.6.6", "pyperf": "2.10.0"}
"""What `benchmarks/gate_aa.py` compares the gate with."""
OURS_NEEDS = ("msgspec", "nvidia-ml-py", "pyarrow")
"""What `harness.measure` needs beyond the standard library: records, NVIDIA GPUs, traces."""

_VERSIONS = """
import importlib.metadata as metadata, json, platform
found = {one.metadata["Name"].lower(): one.version for one in metadata.distributions()}
about = {"python": platform.python_version(), "distributions": len(found)}
print(json.dumps(about | {name: found.get(name) for name in %r}))
"""


def make(folder: Path) -> dict[str, Path]:
    """Make what is missing below `folder` and return the interpreter of each tool.

    Peers are made once; ours is installed anew every time, because the checkout changes.

    Raises: SystemExit: an installation failed; the message is the installer's.
    """
    pythons = {tool: _pinned(folder / tool, {name: version}) for tool, (name, version) in PEERS.items()}
    pythons["ours"] = _python(folder / "ours")
    missing = [need for need, version in versions(pythons["ours"], OURS_NEEDS).items() if version is None]
    if missing:
        _install(folder / "ours", *OURS_NEEDS)
    with tempfile.TemporaryDirectory() as copy:
        # Building in the checkout would leave its build folder there.
        for part in ("harness", "techniques"):
            shutil.copytree(CHECKOUT / part, f"{copy}/{part}", ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(CHECKOUT / file, copy)
        _install(folder / "ours", "--no-deps", "--force-reinstall", copy)
    return pythons


def make_gates(folder: Path, numpy: str) -> dict[str, Path]:
    """Make what is missing below `folder` and return the interpreter of each gate, with this numpy for the workload.

    Raises: SystemExit: an installation failed.
    """
    return {name: _pinned(folder / f"gate-{name}", {name: pin, "numpy": numpy}) for name, pin in GATES.items()}


def versions(python: Path, names: tuple[str, ...]) -> dict:
    """Return the versions of these distributions there (None where absent), of Python, and how many there are."""
    if not python.exists():
        return dict.fromkeys(names)
    run = subprocess.run([python, "-c", _VERSIONS % (names,)], capture_output=True, text=True, check=True)
    import json

    return json.loads(run.stdout)


def _pinned(folder: Path, pins: dict[str, str]) -> Path:
    """Return the interpreter of an environment that has these versions, installed if it had not."""
    python = _python(folder)
    found = versions(python, tuple(pins))
    if any(found.get(name) != version for name, version in pins.items()):
        _install(folder, *(f"{name}=={version}" for name, version in pins.items()))
    return python


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _install(folder: Path, *what: str) -> None:
    uv = shutil.which("uv")
    python = _python(folder)
    if not python.exists():
        _run(
            [uv, "venv", "--quiet", "--python", sys.executable, folder]
            if uv
            else [sys.executable, "-m", "venv", folder]
        )
    if uv:
        # uv reads no configuration of pip, so its links are passed on.
        links = os.environ.get("PIP_FIND_LINKS")
        _run([uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
             + (["--find-links", links] if links else []) + list(what))  # fmt: skip
    else:
        _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what])


def _run(command: list) -> None:
    print(f"$ {' '.join(map(str, command))}", file=sys.stderr, flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stdout}{done.stderr}\nthe environment could not be made: see above")
