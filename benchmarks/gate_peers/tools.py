"""The four gates, each by its own command line on the same two versions of the code.

Every tool answers with a verdict: `alarm` (head is slower), `improved`, `none` (no change is claimed), or `failed`
where it said nothing at all. Ours has its own words for "none", which are kept beside it.

Of the time `wall_s`, each peer measures all: pytest-benchmark half in base's process and half in head's; pyperf in 20
processes for each of them, with its warm-ups; asv in rounds that change between the commits. Starting processes and
installing commits come on top. Ours must do with that as the whole of its `--budget`, start-up and confirmation
included, unless it is given another one.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from . import asv
from .project import Project, Tree
from .running import Bench, Done, last_lines

PYPERF_PROCESSES, PYPERF_VALUES, PYPERF_WARMUPS = 20, 3, 1
"""pyperf's own defaults."""

LEAST_PERCENT = 5


class Setting(NamedTuple):
    """What holds for a whole run. `call_s` is how long one call of base takes, as measured once."""

    bench: Bench
    project: Project
    pythons: dict[str, Path]
    venvs: Path
    wall_s: float
    budget_s: float
    call_s: float


class Answer(NamedTuple):
    """What a tool said of one comparison.

    `also` are verdicts by another threshold from the same measurements. What was measured is in `said`, in `samples`
    (seconds a call by arm), or in the gate's folder `gate`.
    """

    verdict: str
    exits: tuple[int | None, ...]
    lines: list[str]
    also: dict[str, str] = {}
    said: dict[str, object] = {}
    samples: dict[str, list[float]] = {}
    gate: Path | None = None


def pytest_benchmark(setting: Setting, base: Tree, head: Tree, seed: int) -> Answer:
    """Save base, then compare head with it: exit code 1 and its sentence are an alarm."""
    del seed
    storage = setting.bench.scratch / "storage"
    file = setting.bench.scratch / "head.json"
    common = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_speed.py", f"--benchmark-storage=file://{storage}"]
    common.append(f"--benchmark-max-time={setting.wall_s / 2:g}")
    python = setting.pythons["pytest-benchmark"]
    saved = setting.bench.call([python, *common, "--benchmark-save=base"], base.folder)
    fail = f"--benchmark-compare-fail=median:{LEAST_PERCENT}%"
    compared = setting.bench.call(
        [python, *common, "--benchmark-compare=0001", fail, f"--benchmark-json={file}"], head.folder
    )
    exits, lines = (saved.code, compared.code), last_lines(compared.out)
    files = sorted(storage.glob("*/0001_*.json"))
    regressed = compared.code == 1 and "Performance has regressed" in compared.out
    if saved.code != 0 or not (compared.code == 0 or regressed) or not files or not file.exists():
        return Answer("failed", exits, last_lines(saved.out) + lines)
    said = {arm: _stats(path) for arm, path in (("base", files[0]), ("head", file))}
    return Answer("alarm" if regressed else "none", exits, lines, said=said)


def pyperf(setting: Setting, base: Tree, head: Tree, seed: int) -> Answer:
    """Run base, then head: that `compare_to` calls head slower is an alarm, and it does where a t-test has p < 5 %."""
    del seed
    python, files = setting.pythons["pyperf"], {}
    runs = PYPERF_PROCESSES * (PYPERF_VALUES + PYPERF_WARMUPS)
    loops = max(1, round(setting.wall_s / 2 / (runs * setting.call_s)))
    sizes = [f"--processes={PYPERF_PROCESSES}", f"--values={PYPERF_VALUES}", f"--warmups={PYPERF_WARMUPS}"]
    inherit = "OMP_NUM_THREADS,OPENBLAS_NUM_THREADS,MKL_NUM_THREADS,TMPDIR"
    done: list[Done] = []
    for arm, tree in (("base", base), ("head", head)):
        files[arm] = setting.bench.scratch / f"{arm}.json"
        command = [python, "bench_pyperf.py", "--quiet", "-o", files[arm], *sizes, f"--loops={loops}"]
        done.append(setting.bench.call([*command, f"--inherit-environ={inherit}"], tree.folder))
    compare = [python, "-m", "pyperf", "compare_to", "--verbose", files["base"], files["head"]]
    fewer = [*compare, f"--min-speed={LEAST_PERCENT}"]
    done += [setting.bench.call(command, base.folder) for command in (compare, fewer)]
    exits = tuple(each.code for each in done)
    if any(exits):
        return Answer("failed", exits, [line for each in done for line in last_lines(each.out, 2)])
    samples = {arm: _pyperf_values(path) for arm, path in files.items()}
    also = {f"min-speed={LEAST_PERCENT}": pyperf_verdict(done[3].out)}
    return Answer(pyperf_verdict(done[2].out), exits, last_lines(done[2].out), also, {"loops": loops}, samples)


def run_asv(setting: Setting, base: Tree, head: Tree, seed: int) -> Answer:
    """Let `asv continuous --interleave-rounds` compare the commits: exit code 1 and its sentence are an alarm."""
    del seed
    python, bench = setting.pythons["asv"], setting.bench
    folder = asv.configure(
        bench.scratch / "asv", setting.project, setting.venvs, asv.rounds(setting.wall_s), setting.wall_s
    )
    environment = asv.environment(bench.scratch, python)
    command = [python, "-m", "asv", "continuous", "--interleave-rounds", "--machine", asv.MACHINE, "--show-stderr"]
    ran = bench.call([*command, base.commit, head.commit], folder, environment)
    compare = [python, "-m", "asv", "compare", "--machine", asv.MACHINE, "--factor", "1.05", base.commit, head.commit]
    compared = bench.call(compare, folder, environment)
    exits = (ran.code, compared.code)
    verdict = asv.continuous_verdict(ran.out)
    if verdict is None or ran.code != (1 if verdict == "alarm" else 0) or compared.code != 0:
        return Answer("failed", exits, last_lines(ran.out) + last_lines(compared.out, 3))
    samples = {arm: asv.samples(folder, tree.commit) for arm, tree in (("base", base), ("head", head))}
    also = {"factor=1.05": asv.compare_verdict(compared.out)}
    return Answer(verdict, exits, last_lines(ran.out), also, {"rounds": asv.rounds(setting.wall_s)}, samples)


def joulebench(setting: Setting, base: Tree, head: Tree, seed: int) -> Answer:
    """Gate head's work tree against base's commit: exit code 10 is an alarm."""
    results = setting.bench.scratch / "results"
    options = ["--base", base.commit, "--budget", f"{setting.budget_s:g}s", "--seed", seed, "--results", results]
    done = setting.bench.call([sys.executable, "-m", "harness", "gate", "gate.yaml", *options], head.folder)
    found = sorted(results.glob("*/*-gate/gate.json"))
    exits, lines = (done.code,), last_lines(done.out)
    if done.code not in (0, 10, 13) or not found:
        return Answer("failed", exits, lines)
    result = json.loads(found[0].read_bytes())
    case = result["cases"][0]
    own = case["verdict"]
    verdict = {"regressed": "alarm", "improved": "improved"}.get(own, "none")
    kept = ("verdict", "reason", "look", "confirmed", "confirmations", "control_change", "estimate", "provenance")
    said = {key: case.get(key) for key in kept} | {key: result[key] for key in ("policy", "seed", "code_version")}
    said |= {"wall_s": round(result["wall_s"], 2), "doubts": case.get("doubts", [])}
    return Answer(verdict, exits, lines, said=said, gate=found[0].parent)


RUN: dict[str, Callable[[Setting, Tree, Tree, int], Answer]] = {
    "pytest-benchmark": pytest_benchmark,
    "asv": run_asv,
    "pyperf": pyperf,
    "joulebench": joulebench,
}


def _stats(path: Path) -> dict[str, float]:
    found = json.loads(path.read_text(encoding="utf-8"))["benchmarks"][0]["stats"]
    return {key: found[key] for key in ("median", "mean", "min", "q1", "q3", "stddev", "rounds")}


def _pyperf_values(path: Path) -> list[float]:
    runs = json.loads(path.read_text(encoding="utf-8"))["benchmarks"][0]["runs"]
    return [value for run in runs for value in run.get("values", ())]


def pyperf_verdict(out: str) -> str:
    """Return what `pyperf compare_to` says of the one benchmark."""
    if re.search(r"not significant", out, re.IGNORECASE):
        return "none"
    if found := re.search(r"\d+\.\d+x (slower|faster)", out):
        return "alarm" if found[1] == "slower" else "improved"
    return "none"
