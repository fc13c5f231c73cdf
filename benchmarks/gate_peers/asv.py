"""What asv needs: its configuration, an environment that is made once, and how its answers are read.

asv changes between the commits of one environment, so each round installs a commit anew. Here that is a copy of one
folder (`install_command`), which needs no network; the environment itself is made by `asv setup` and kept.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from .project import Project
from .running import Bench, last_lines

MACHINE = "here"
SECONDS_A_PROCESS = 4.0
"""About so long each process of a round measures; asv's default of 2 rounds is the least."""

BENCHMARK = """\
from package.work import encode


def time_encode():
    encode()


time_encode.rounds = {rounds}
time_encode.repeat = (2, 1000000, {seconds})
"""
INSTALL = """\
import shutil
import sys
import sysconfig

target = sysconfig.get_paths()["purelib"] + "/package"
shutil.rmtree(target, ignore_errors=True)
shutil.copytree(sys.argv[1] + "/package", target)
"""


def rounds(wall_s: float) -> int:
    """Return the number of rounds in which both commits get about `SECONDS_A_PROCESS`."""
    return max(2, round(wall_s / 2 / SECONDS_A_PROCESS))


def configure(folder: Path, project: Project, venvs: Path, number: int, wall_s: float) -> Path:
    """Write a configuration with its benchmark into a folder that asv is then run in."""
    benchmarks = folder / "benchmarks"
    benchmarks.mkdir(parents=True)
    text = BENCHMARK.format(rounds=number, seconds=wall_s / 2 / number)
    (benchmarks / "__init__.py").touch()
    (benchmarks / "speed.py").write_text(text, encoding="utf-8")
    (folder / "install.py").write_text(INSTALL, encoding="utf-8")
    settings = {
        "version": 1,
        "project": "package",
        "repo": str(project.repository),
        "branches": ["main"],
        "environment_type": "virtualenv",
        "pythons": [f"{sys.version_info[0]}.{sys.version_info[1]}"],
        "matrix": {"req": {"numpy": [version("numpy")]}},
        "benchmark_dir": "benchmarks",
        "env_dir": str(_environments(venvs)),
        "results_dir": "results",
        "html_dir": "html",
        "build_command": [],
        "install_command": ["python {conf_dir}/install.py {build_dir}"],
        "uninstall_command": [],
    }
    (folder / "asv.conf.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def environment(home: Path, python: Path) -> dict[str, str]:
    """Return the environment variables: asv keeps a file about this machine in the home folder, which is not its."""
    about = {MACHINE: {"machine": MACHINE, "os": "", "arch": "", "cpu": "", "num_cpu": "", "ram": ""}, "version": 1}
    (home / ".asv-machine.json").write_text(json.dumps(about), encoding="utf-8")
    return {"HOME": str(home), "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}


def prepare(bench: Bench, project: Project, python: Path, venvs: Path) -> None:
    """Make asv's environment if there is none, and take out of it what is of an earlier run.

    Raises: SystemExit: it could not be made.
    """
    for place in _environments(venvs).glob("*"):
        # The clone of a repository that is gone, and the name of the commit that was last installed from it.
        shutil.rmtree(place / "project", ignore_errors=True)
        (place / "asv-install-status.json").unlink(missing_ok=True)
    folder = configure(bench.scratch / "asv-setup", project, venvs, 2, 1.0)
    home = environment(bench.scratch, python) | {"HOME": os.environ.get("HOME", str(bench.scratch))}
    done = bench.call([python, "-m", "asv", "setup"], folder, home)
    # `asv setup` ends with 1 when all went well, too (0.6.6 hands its list of environments to `sys.exit`).
    if not _made(venvs):
        said = "\n".join(last_lines(done.out, 20))
        raise SystemExit(
            f"{said}\n\nasv could not make its environment (see above). It is made once and then kept: run "
            "`python benchmarks/gate_aa.py --setup` where the package index can be reached"
        )


def continuous_verdict(out: str) -> str | None:
    """Return what `asv continuous` says in its last sentence; None where it says nothing."""
    said = {"PERFORMANCE DECREASED": "alarm", "PERFORMANCE INCREASED": "improved", "NOT SIGNIFICANTLY CHANGED": "none"}
    return next((verdict for sentence, verdict in said.items() if sentence in out), None)


def compare_verdict(out: str) -> str:
    """Return what the table of `asv compare` marks: + is slower, - is faster."""
    rows = [line for line in out.splitlines() if line.startswith("|") and "time_encode" in line]
    mark = rows[0].split("|")[1].strip() if rows else ""
    return {"+": "alarm", "-": "improved"}.get(mark, "none")


def samples(folder: Path, commit: str) -> list[float]:
    """Return the seconds a call of every sample that asv kept of a commit."""
    file = next((folder / "results" / MACHINE).glob(f"{commit[:8]}-*.json"))
    kept = json.loads(file.read_text(encoding="utf-8"))
    row = next(iter(kept["results"].values()))
    return list(dict(zip(kept["result_columns"], row, strict=False))["samples"][0])


def _made(venvs: Path) -> bool:
    found = [json.loads(file.read_bytes()) for file in _environments(venvs).glob("*/asv-env-info.json")]
    return any(each["requirements"].get("numpy") == version("numpy") for each in found)


def _environments(venvs: Path) -> Path:
    return venvs / "gate-asv-environments"
