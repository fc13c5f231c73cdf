"""Four regression gates on the same changes: pytest-benchmark, asv, pyperf and joulebench, trial by trial.

    python benchmarks/gate_aa.py --out FOLDER [--minutes M]    # begins a run, or goes on with it
    python benchmarks/gate_aa.py --score FOLDER                # scores again what was kept
    python benchmarks/gate_aa.py --setup                       # only makes the environments of the peers

A trial compares base with one head by every tool, in random order. Heads do exactly so much more work than base, or
under "A/A" differ in a comment. All that is measured is kept in FOLDER (see `gate_peers/keeping.py`), together with
`scores.md` and `scores.json`. By default there are 222 trials of about three minutes,
and any beginning of them is balanced.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import fcntl
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median

from gate_peers import asv, keeping, project
from gate_peers.neighbour import neighbour
from gate_peers.plan import DEFAULT, SCENARIOS, Trial, parse_counts, plan
from gate_peers.running import Bench, Clock
from gate_peers.scoring import score
from gate_peers.showing import markdown
from gate_peers.tools import RUN, Setting
from peers import peer_venvs

from harness.gate.writing import read_blocks

MOST_S = 60.0
"""joulebench must do with this, or the run shows nothing."""

_CALL = """\
import time
from package.work import encode
encode()
for _ in range(300):
    began_s = time.perf_counter()
    encode()
    print(time.perf_counter() - began_s)
"""


def main() -> int:
    """Set up, run or score; return 0, or 130 when interrupted."""
    options = _options()
    if options.score is not None:
        _score(options.score)
        return 0
    with _alone(options.venvs), tempfile.TemporaryDirectory(prefix="joulebench-aa-") as work:
        setting = _setting(options, Path(work))
        if options.setup:
            print("the environments of the peers are ready", file=sys.stderr)
            return 0
        # A run that is told to end must not leave its tools and its neighbour behind.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            _run(options, setting)
        except KeyboardInterrupt:
            print("interrupted; the same command goes on with this trial", file=sys.stderr)
            return 130
    _score(options.out)
    return 0


def _run(options: argparse.Namespace, setting: Setting) -> None:
    """Run the trials that are not kept yet, while there is time for one more."""
    counts = {scenario: getattr(options, scenario) for scenario in SCENARIOS}
    asked = {
        "seed": options.seed,
        "wall_s": options.wall,
        "budget_s": setting.budget_s,
        "counts": counts,
        **_host(setting),
    }
    about = {"began_utc": _now(), "call_s": _call_s(setting)}
    run = keeping.begin(options.out, asked, about)
    setting = setting._replace(call_s=run["about"]["call_s"])
    trials, began_s, spent = plan(counts, options.seed), time.monotonic(), []
    longest_s = 3 * setting.wall_s + setting.budget_s
    done = {line["trial"] for line in keeping.trials(options.out)}
    for trial in trials:
        if trial.number in done:
            continue
        trial_s = time.monotonic()
        if options.minutes is not None and trial_s + longest_s > began_s + 60 * options.minutes:
            print(f"no time for another trial; {len(trials) - len(done)} are left for the next call", file=sys.stderr)
            return
        line = _trial(trial, setting, options.out)
        done.add(trial.number)
        spent.append(time.monotonic() - trial_s)
        longest_s = max(longest_s, *spent)
        _tell(line, len(done), len(trials), median(spent))


def _trial(trial: Trial, setting: Setting, out: Path) -> keeping.Line:
    """Run one trial, keep it, and return its line."""
    began_utc, rows, answers = _now(), {name: [] for name in keeping.TABLES}, {}
    log = setting.bench.scratch.parent / "neighbour.log"
    beside = neighbour(trial.seed, log) if trial.scenario == "neighbour" else contextlib.nullcontext()
    with beside as seen:
        for tool in trial.tools:
            answers[tool] = _answer(tool, trial, setting, rows)
    if seen is not None:
        rows[keeping.NEIGHBOURS].append((trial.number, " ".join(f"{phase_s:g}" for phase_s in seen.phases_s)))
    line = {
        "trial": trial.number,
        "scenario": trial.scenario,
        "change": trial.change,
        "seed": trial.seed,
        "order": trial.tools,
        "began_utc": began_utc,
        "neighbour": None if seen is None else seen.record(),
        "answers": answers,
    }
    keeping.append(out, line, rows)
    return line


def _answer(tool: str, trial: Trial, setting: Setting, rows: dict[str, list]) -> dict[str, object]:
    base, head = setting.project.base, setting.project.heads[trial.change]
    for tree in (base, head):
        project.clean(tree)
    shutil.rmtree(setting.bench.scratch, ignore_errors=True)
    setting.bench.scratch.mkdir()
    clock = Clock()
    found = RUN[tool](setting, base, head, trial.seed)
    record = clock.record()
    rows[keeping.SAMPLES] += keeping.sample_rows(trial.number, tool, found.samples)
    if found.gate is not None:
        rows[keeping.BLOCKS] += keeping.block_rows(trial.number, read_blocks(found.gate))
    return {
        "verdict": found.verdict,
        "exits": found.exits,
        **record,
        "also": found.also,
        "said": found.said,
        "lines": found.lines,
    }


def _setting(options: argparse.Namespace, work: Path) -> Setting:
    """Make what trials need: the environments, the repository, the scratch folder."""
    try:
        pythons = peer_venvs.make_gates(options.venvs, version("numpy"))
    except SystemExit as error:
        raise SystemExit(
            f"{error}\nthe peers are missing; `python benchmarks/gate_aa.py --setup` makes their environments where "
            "the package index can be reached, and they are kept"
        ) from None
    scratch = work / "scratch"
    scratch.mkdir()
    budget_s = options.wall if options.budget is None else options.budget
    bench = Bench(scratch, longest_s=120 + 10 * max(options.wall, budget_s))
    made = project.make(work)
    asv.prepare(bench, made, pythons["asv"], options.venvs)
    return Setting(bench, made, pythons, options.venvs, options.wall, budget_s, call_s=0.0)


def _call_s(setting: Setting) -> float:
    """Return how long a call of base takes here: the lower quartile of 300."""
    done = setting.bench.call([sys.executable, "-c", _CALL], setting.project.base.folder)
    if done.code != 0:
        raise SystemExit(f"the workload does not run in this Python:\n{done.out}")
    return sorted(float(line) for line in done.out.split())[75]


def _host(setting: Setting) -> dict[str, object]:
    """Return what must be the same when a run goes on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    found = {"Python": platform.python_version(), "numpy": version("numpy")}
    for name, python in setting.pythons.items():
        found[name] = peer_venvs.versions(python, (name,))[name]
    return {"cpu": cpu, "cores": os.cpu_count(), "versions": found}


def _tell(line: keeping.Line, done: int, planned: int, each_s: float) -> None:
    answers = line["answers"]
    said = []
    for tool in line["order"]:
        own = answers[tool]["said"].get("verdict", answers[tool]["verdict"])
        said.append(f"{tool} {own} {answers[tool]['wall_s']:.0f} s")
    left_h = (planned - done) * each_s / 3600
    print(f"[{done}/{planned}] {line['scenario']} {line['change']}: {', '.join(said)}; {left_h:.1f} h left", flush=True)


def _score(folder: Path) -> None:
    scores = score(folder)
    text = markdown(scores)
    (folder / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    (folder / "scores.md").write_text(text, encoding="utf-8")
    print(text)


@contextlib.contextmanager
def _alone(venvs: Path) -> Iterator[None]:
    """Hold the environments: two runs would measure each other, and install commits under each other."""
    venvs.mkdir(parents=True, exist_ok=True)
    with (venvs / "gate-aa.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit("another gate_aa.py is running here; wait for it") from None
        yield


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _options() -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="folder of the run; one that holds trials goes on")
    what.add_argument("--score", type=Path, metavar="FOLDER", help="measure nothing, score what was kept")
    what.add_argument("--setup", action="store_true", help="only make the environments of the peers")
    parser.add_argument("--minutes", type=float, help="begin no trial that would likely end after so long")
    parser.add_argument("--wall", type=float, default=45.0, help="seconds that each peer measures in a trial (45)")
    parser.add_argument("--budget", type=float, help="seconds that joulebench has in a trial, all in all (as --wall)")
    parser.add_argument("--seed", type=int, default=1)
    for scenario in SCENARIOS:
        shown = ",".join(f"{name.replace(' ', '')}={number}" for name, number in DEFAULT[scenario].items())
        shown = shown.replace("%", "%%")
        parser.add_argument(f"--{scenario}", default="", metavar="TRIALS", help=f"trials in that scenario ({shown})")
    parser.add_argument(
        "--venvs", type=Path, default=cache / "joulebench" / "peers", help="where environments are kept"
    )
    options = parser.parse_args()
    for scenario in SCENARIOS:
        try:
            setattr(options, scenario, parse_counts(getattr(options, scenario), DEFAULT[scenario]))
        except ValueError as error:
            parser.error(f"--{scenario}: {error}")
    if not 0 < options.wall <= MOST_S or not 0 < (options.budget or options.wall) <= MOST_S:
        parser.error(f"--wall and --budget must be above zero and at most {MOST_S:g} s")
    return options


if __name__ == "__main__":
    sys.exit(main())
