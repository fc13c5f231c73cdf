"""Calls probes, each in a fresh process of its tool, in turn, and notes what else the host did meanwhile."""

import json
import os
import resource
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from peer_rows import Call, Section
from powercap_tree import PowercapTree

HERE = Path(__file__).resolve().parent
IMPORTS = {"ours": "import harness; harness.measure", "zeus": "import zeus.monitor", "codecarbon": "import codecarbon"}
LONGEST_S = 300
_NEIGHBOUR = "while True: pass"


class Bench(NamedTuple):
    """Where probes run: interpreters by tool, the folder of fake trees, what goes before each command."""

    pythons: dict[str, Path]
    folder: Path
    isolation: tuple[str, ...]


def isolation() -> tuple[str, ...]:
    """Return the command that takes the network away from a probe, or nothing where this user may not."""
    for command in (("unshare", "-n"), ("unshare", "-rn")):
        try:
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
        except FileNotFoundError:
            break
    return ()


def measure(section: Section, bench: Bench, tell) -> dict[Call, list[dict]]:
    """Return the answers to every different call of a section, one a round."""
    calls = list(dict.fromkeys(call for row in section.rows for call in row.calls.values()))
    answers: dict[Call, list[dict]] = {call: [] for call in calls}
    for index in range(section.rounds):
        tell(f"{section.letter}: round {index + 1} of {section.rounds}")
        turn = index % len(calls)
        order = calls[turn:] + calls[:turn]
        for call, answer in zip(
            order, _at_once(order, bench) if section.at_once else _in_turn(order, bench), strict=True
        ):
            answers[call].append(answer)
    return answers


def warm_up(bench: Bench) -> None:
    """Run each import once, so that the bytecode is there and the files are in memory."""
    for tool, code in IMPORTS.items():
        subprocess.run(
            [bench.pythons[tool], "-c", code], capture_output=True, check=False, env=_environment(bench.folder)
        )


def _in_turn(calls: list[Call], bench: Bench) -> list[dict]:
    answers = []
    for call in calls:
        with _load() as load, _neighbour(call.neighbour):
            answer = _import(call, bench) if call.probe == "import" else _finished(_begun(call, bench))
        answers.append(answer | load)
    return answers


def _at_once(calls: list[Call], bench: Bench) -> list[dict]:
    """Run probes that sleep and weigh their own CPU time beside each other: it costs nobody anything."""
    with _load() as load:
        answers = [_finished(running) for running in [_begun(call, bench) for call in calls]]
    return [answer | load for answer in answers]


def _begun(call: Call, bench: Bench) -> tuple[subprocess.Popen, TemporaryDirectory]:
    place = TemporaryDirectory(dir=bench.folder)
    settings = dict(call.settings)
    if settings.get("root") == "{TREE}":
        settings["root"] = f"{place.name}/tree"
        PowercapTree(settings["root"]).close()
    settings = {key: value.replace("{FOLDER}", place.name) if isinstance(value, str) else value
                for key, value in settings.items()}  # fmt: skip
    script = HERE / f"probe_{call.tool}.py"
    command = [*bench.isolation, bench.pythons[call.tool], script, call.probe, json.dumps(settings)]
    return _popen(command, place.name), place


def _finished(running: tuple[subprocess.Popen, TemporaryDirectory]) -> dict:
    process, place = running
    with place:
        try:
            out, err = process.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return {"error": f"took longer than {LONGEST_S} s"}
    lines = out.strip().splitlines()
    if process.returncode or not lines:
        last = err.strip().splitlines()[-1:] or ["no message"]
        return {"error": f"exit code {process.returncode}: {last[0]}", "stderr": err[-2000:]}
    return json.loads(lines[-1])


def _import(call: Call, bench: Bench) -> dict:
    """Return what an import costs over a bare interpreter of the same environment, begun just before."""
    with TemporaryDirectory(dir=bench.folder) as place:
        costs = []
        for code in ("pass", IMPORTS[call.tool]):
            before, start_s = _children_cpu_s(), time.perf_counter()
            process = _popen([*bench.isolation, bench.pythons[call.tool], "-c", code], place)
            _, err = process.communicate()
            if process.returncode:
                return {"error": f"exit code {process.returncode}: {err.strip().splitlines()[-1]}"}
            costs.append((_children_cpu_s() - before, time.perf_counter() - start_s))
    (bare_cpu_s, bare_wall_s), (cpu_s, wall_s) = costs
    return {"cpu_s": cpu_s - bare_cpu_s, "wall_s": wall_s - bare_wall_s, "bare_cpu_s": bare_cpu_s}


def _popen(command: list, place: str) -> subprocess.Popen:
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=place, env=_environment(place)
    )


def _environment(place: str | Path) -> dict[str, str]:
    """Return the environment without what would change a tool's mind, its caches in a fresh folder."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CODECARBON", "ZEUS"))}
    return kept | {"XDG_CACHE_HOME": f"{place}/cache", "HOME": str(place)}


@contextmanager
def _neighbour(wanted: bool):
    if not wanted:
        yield
        return
    busy = subprocess.Popen([sys.executable, "-I", "-S", "-c", _NEIGHBOUR])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


@contextmanager
def _load():
    """Fill a dictionary with the share of the host that others used in the block, in percent, and its length."""
    busy_s, own_s, start_s = _host_busy_s(), _own_cpu_s(), time.perf_counter()
    load: dict[str, float | None] = {}
    yield load
    load["took_s"] = took_s = time.perf_counter() - start_s
    after_s = _host_busy_s()
    if busy_s is None or after_s is None:
        load["others_percent"] = None
    else:
        others_s = after_s - busy_s - (_own_cpu_s() - own_s)
        load["others_percent"] = max(0.0, 100 * others_s / took_s / (os.cpu_count() or 1))


def _host_busy_s() -> float | None:
    """Return the CPU-seconds of the whole host since boot: user, nice, system, irq, softirq (proc_stat(5))."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    except (OSError, ValueError):
        return None
    return (sum(fields[:3]) + sum(fields[5:7])) / os.sysconf("SC_CLK_TCK")


def _own_cpu_s() -> float:
    return time.process_time() + _children_cpu_s()


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
