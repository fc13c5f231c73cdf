"""Runs one tool's commands and notes what they took and what else the host did meanwhile."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .project import ONE_THREAD

_DROPPED = ("PYTHON", "GIT_", "PYPERF", "ASV", "PYTEST", "OMP_", "OPENBLAS", "MKL_", "VIRTUAL_ENV")
_LEGENDS = ("Legend:", "Outliers:", "OPS:", "---")


class Done(NamedTuple):
    """How a command ended; `code` is None where it was stopped for taking too long."""

    code: int | None
    out: str


class Bench(NamedTuple):
    """Where commands run: `scratch` is emptied before each tool, `longest_s` is what one command may take."""

    scratch: Path
    longest_s: float

    def call(self, command: Sequence[object], folder: Path, environment: Mapping[str, str] | None = None) -> Done:
        """Run a command with one thread and its temporary files in the scratch folder; its outputs come as one."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(_DROPPED)}
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env={**inherited, "TMPDIR": str(self.scratch), **ONE_THREAD, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            out, _ = process.communicate(timeout=self.longest_s)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                return Done(None, out)
            raise
        return Done(process.returncode, out)


class Clock:
    """Wall and CPU time of what was run since, and the share of the host that others used."""

    def __init__(self) -> None:
        self._wall_s = time.monotonic()
        self._children_s = _children_s()
        self._host = _host_s()
        self._load = os.getloadavg()[0]

    def record(self) -> dict[str, object]:
        """Return it for a line of JSON; a scripted neighbour is among the others."""
        cpu_s = _children_s() - self._children_s
        busy_s, all_s = (now - then for now, then in zip(_host_s(), self._host, strict=True))
        others = round(max(0.0, busy_s - cpu_s) / all_s, 3) if all_s > 0 else None
        return {
            "wall_s": round(time.monotonic() - self._wall_s, 2),
            "cpu_s": round(cpu_s, 2),
            "load_1m_before": round(self._load, 2),
            "others_share": others,
        }


def last_lines(text: str, number: int = 4) -> list[str]:
    """Return the last lines that say something, without colours, and without any path of this machine."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    said = (re.sub(r"\s+", " ", line).strip() for line in plain.splitlines())
    lines = [line for line in said if re.search(r"\w", line) and not line.startswith(_LEGENDS)]
    return [without_paths(line)[:300] for line in lines[-number:]]


def without_paths(text: str) -> str:
    """Return a text in which `PATH` stands for every absolute path of two parts or more."""
    return re.sub(r"(?<![\w.:/])(?:file://)?/[\w.@+~-]+/[\w.@+~/-]*", "PATH", text)


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _host_s() -> tuple[float, float]:
    """Return the CPU-seconds of the whole host since it started: busy, and busy or idle."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    except OSError:
        return 0.0, 0.0
    ticks = [int(field) for field in fields]
    per_s = os.sysconf("SC_CLK_TCK")
    return (sum(ticks) - ticks[3] - ticks[4]) / per_s, sum(ticks) / per_s
