"""Whole gates over real repositories: what was changed in head is what is found, and nothing else."""

import collections
import os
import signal
import subprocess
import time

import msgspec
import pytest

from harness.gate import running, targets
from harness.gate.findings import Finding, Kind
from harness.gate.model import GateResult, Stage, Verdict
from harness.gate.slots import build
from harness.gate.stages import Deciding
from harness.gate.survey import Folders
from harness.gate.writing import append_block, read_blocks

GATE = """\
gate:
  {forks: 6, blocks: 24, looks: 1, confirmations: 1, min_effect: 30%, tolerance: 60%, control_drift: 90%, slot_s: 0.004}
meters: [modelled]
"""
CASES = """\
cases:
  - {name: encode, target: "package.work:encode"}
  - {name: same, target: "package.other:same", tasks: 2}
  - {name: wrong, target: "package.other:wrong"}
  - {name: unsteady, target: "package.other:unsteady"}
  - {name: crash, target: "package.other:crash"}
  - {name: broken, target: "package.fragile:work"}
  - {name: gone, target: "package.other:gone"}
  - {name: fresh, target: "package.other:fresh"}
  - {name: scored, target: "package.other:scored"}
  - {name: cli, command: [python, -S, -c, "print(1)"]}
"""
OTHER = """\
import itertools
from types import SimpleNamespace

from package.work import unit

RIGHT = 60
NUMBERS = itertools.count()

def same(): return [unit() for _ in range(20)]
def wrong(): return [unit() for _ in range(20)] + [RIGHT]
def unsteady(): return [unit() for _ in range(20)] + [next(NUMBERS)]
def crash(): return 1
def gone(): return 1
def scored(): unit(); return SimpleNamespace(scores=[1.0] * RIGHT + [0.0] * (60 - RIGHT))
"""


@pytest.fixture(autouse=True)
def temporary(monkeypatch, tmp_path_factory):
    """A temporary folder for the processes of each test, and with it a lock of their own."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def run(repository, folder, **changes):
    """Run a gate of the repository's HEAD against its working tree; return its results by name, and its blocks."""
    folder.mkdir()
    config = targets.load(repository / "gate.yaml")
    kept = []

    def keep(block):
        kept.append(block)
        append_block(folder, block)

    asked = {
        "config_name": "gate.yaml",
        "budget_s": 300.0,
        "seed": 7,
        "folders": Folders(logs=folder, scratch=folder),
        "keep": keep,
        "on_progress": lambda _: None,
    }
    with build(repository, "HEAD") as slots:
        outcome = running.run(config, slots, running.Asked(**{**asked, **changes}))
    return {result.name: result for result in outcome.results}, kept, outcome.notes


@pytest.fixture(scope="module")
def everything(project, tmp_path_factory):
    """One gate in which head has every fault that there is, and one case that it has not touched."""
    root = tmp_path_factory.mktemp("gate")
    before = CASES.replace("fresh", "withdrawn") + '  - {name: fresh, target: "package.other:fresh"}\n'
    files = {"package/other.py": OTHER, "package/fragile.py": "def work(): return 1\n", "gate.yaml": GATE + before}
    repository = project.repository(root / "repository", files)
    work = (repository / "package/work.py").read_text(encoding="utf-8")
    project.write(
        repository,
        {
            "gate.yaml": GATE + CASES + "overrides: {'clii*': {warn: true}}\n",
            "package/work.py": work.replace("range(UNITS", "range(2 * UNITS"),
            "package/fragile.py": "1 / 0\n",
            "package/other.py": OTHER.replace("RIGHT = 60", "RIGHT = 30")
            .replace("def crash(): return 1", "def crash(): raise ValueError('no data')")
            .replace("def gone", "def renamed")
            + "\ndef fresh(): return 1\n",
        },
    )
    return *run(repository, root / "results"), root / "results"


def test_every_case_ends_in_its_one_right_verdict(everything):
    results = everything[0]
    assert {name: result.verdict for name, result in results.items()} == {
        "encode": Verdict.REGRESSED,
        "same": Verdict.PASS,
        "wrong": Verdict.INVALID,
        "unsteady": Verdict.INVALID,
        "crash": Verdict.INVALID,
        "broken": Verdict.INVALID,
        "gone": Verdict.VANISHED,
        "fresh": Verdict.NEW,
        "withdrawn": Verdict.VANISHED,
        "scored": Verdict.WORSE_QUALITY,
        "cli": Verdict.PASS,
    }


def test_reasons_name_the_arm_and_what_happened(everything):
    reasons = {name: result.reason for name, result in everything[0].items()}
    assert "fresh forks show" in reasons["encode"]
    assert "the result of head differs from that of base" in reasons["wrong"]
    assert "changes from slot to slot" in reasons["unsteady"]
    assert reasons["crash"] == "head: ValueError: no data"
    assert "ZeroDivisionError" in reasons["broken"]
    assert reasons["gone"] == "base has it, head does not: package.other has no gone (for package.other:gone)"
    assert reasons["withdrawn"] == "base's gate.yaml gates it, head's does not"


def test_the_estimate_is_that_of_the_extra_work(everything):
    assert everything[0]["encode"].estimate.change == pytest.approx(1.0, abs=0.25)
    assert everything[0]["encode"].confirmed == 1
    assert everything[0]["same"].estimate.change == pytest.approx(0.0, abs=0.15)


def test_a_pattern_that_fits_no_case_is_noted(everything):
    assert "overrides.clii* fits no case; is it misspelt?" in everything[2]


def test_blocks_are_on_disk_as_they_were_measured(everything):
    _, kept, _, folder = everything
    assert read_blocks(folder) == tuple(block for block in kept if not (block.void or "").startswith("dropped"))


def test_blocks_are_mirrored_in_random_order_with_a_control_in_each(everything):
    blocks = [block for block in everything[1] if block.case == "same"]
    orders = collections.Counter(block.order for block in blocks)
    assert orders.keys() == {"ABBA", "BAAB"}
    for block in blocks:
        arms = [slot.arm for slot in block.slots]
        assert arms == (["base", "head", "head", "base"] if block.order == "ABBA" else ["head", "base", "base", "head"])
        assert len({slot.tasks for slot in block.slots}) == 1
        assert [slot.arm for slot in block.control] == ["control"]
        assert min(slot.duration_s for slot in block.slots) > 0.001
    assert {block.fork for block in blocks} == set(range(6))


def test_a_confirmation_has_forks_of_its_own(everything):
    stages = collections.defaultdict(set)
    for block in everything[1]:
        if block.case == "encode":
            stages[block.stage].add(block.fork)
    assert stages == {Stage.MAIN: set(range(6)), Stage.CONFIRM: set(range(6, 12))}
    assert not any(block.stage is Stage.CONFIRM for block in everything[1] if block.case != "encode")


def test_a_fork_whose_worker_dies_is_dropped_as_a_whole_and_started_anew(project, tmp_path):
    dies = f"""\
        import os, pathlib
        from package.work import encode
        CALLS = pathlib.Path({str(tmp_path / "calls")!r})
        def work():
            with CALLS.open("a") as file: file.write("x")
            if CALLS.stat().st_size in (60, 200): os.kill(os.getpid(), 9)
            return encode()
        """
    files = {"package/dies.py": dies, "gate.yaml": GATE + "cases: [{name: a, target: 'package.dies:work'}]\n"}
    repository = project.repository(tmp_path / "repository", files)
    results, _, _ = run(repository, tmp_path / "results")
    assert results["a"].verdict is Verdict.PASS
    forks = collections.Counter(block.fork for block in read_blocks(tmp_path / "results"))
    assert forks == dict.fromkeys(range(6), 4)


def test_a_worker_that_always_dies_makes_its_case_invalid_and_no_other(project, tmp_path):
    cases = "cases: [{name: a, target: 'package.dies:work'}, {name: b, target: 'package.work:encode'}]\n"
    files = {"package/dies.py": "import os\ndef work(): os.kill(os.getpid(), 9)\n", "gate.yaml": GATE + cases}
    results, _, _ = run(project.repository(tmp_path / "repository", files), tmp_path / "results")
    assert results["a"].verdict is Verdict.INVALID
    assert "was ended by SIGKILL" in results["a"].reason
    assert "3 times in a row" in results["a"].reason
    assert results["b"].verdict is Verdict.PASS


def test_a_budget_that_is_too_short_leaves_cases_inconclusive_and_ends_in_time(project, tmp_path):
    files = {"gate.yaml": GATE + "cases: [{name: a, target: 'package.work:encode'}]\n"}
    repository = project.repository(tmp_path / "repository", files)
    results, _, _ = run(repository, tmp_path / "results", budget_s=0.2)
    assert results["a"].verdict is Verdict.INCONCLUSIVE
    assert "too few to decide anything" in results["a"].reason


def test_a_regression_that_no_time_was_left_to_confirm_says_how_much_was_missing(project, tmp_path):
    files = {"gate.yaml": GATE + "cases: [{name: a, target: 'package.work:encode'}]\n"}
    repository = project.repository(tmp_path / "repository", files)
    budget_s = 1.5

    def found_late(blocks, policy, taken, names, **_):
        time.sleep(budget_s)
        return {name: Finding(case=name, kind=Kind.SUSPECTED, reason="dear", look=1, family=1) for name in names}

    results, _, _ = run(repository, tmp_path / "results", budget_s=budget_s, decide=Deciding(look=found_late))
    assert results["a"].verdict is Verdict.INCONCLUSIVE
    assert "only 0 of 1 confirmations could be run" in results["a"].reason
    assert results["a"].more_s >= 1.0
    assert not list((tmp_path / "results").glob("confirm-*"))


@pytest.mark.parametrize("wanted", [True, False])
def test_an_undecided_case_gets_what_is_left_of_the_budget_if_that_is_wanted(project, tmp_path, wanted):
    repository = project.repository(
        tmp_path / "repository", {"gate.yaml": GATE + "cases: [{name: a, target: 'package.work:encode'}]\n"}
    )

    def found_later(blocks, policy, taken, names, **_):
        kind = Kind.PASS if len(taken) == 3 else Kind.GO_ON
        return {
            name: Finding(case=name, kind=kind, reason="so", look=taken[-1].look, family=1, more_blocks=24)
            for name in names
        }

    results, kept, _ = run(repository, tmp_path / "results", decide=Deciding(look=found_later), overtime=wanted)
    found = results["a"]
    if wanted:
        assert (found.verdict, found.look, found.looks, found.blocks_allowed) == (Verdict.PASS, 3, 3, 72)
    else:
        assert (found.verdict, found.look, found.more_blocks) == (Verdict.INCONCLUSIVE, 1, 24)
        assert found.more_s >= 1.0
    assert {block.fork for block in kept} == set(range(18 if wanted else 6))


@pytest.fixture
def regressed(project, tmp_path, joulebench):
    """The folder of a test made a repository whose head does twice the work."""
    project.repository(tmp_path, {"gate.yaml": GATE + "cases: [{name: encode, target: 'package.work:encode'}]\n"})
    work = tmp_path / "package/work.py"
    work.write_text(work.read_text(encoding="utf-8").replace("range(UNITS", "range(2 * UNITS"), encoding="utf-8")
    return joulebench


def test_the_command_exits_with_10_names_the_case_and_writes_its_results(regressed, tmp_path):
    done = regressed("gate", "--base", "HEAD", "--budget", "2m", "--seed", "5", "--junit", "out.xml", "--md", "out.md")
    assert done.returncode == 10, done.stderr
    assert done.stdout.splitlines()[0].startswith("GATE FAIL encode cpu_time_per_task")
    assert done.stdout.splitlines()[-1].endswith("seed 5; exit 10")
    (path,) = tmp_path.glob("results/*/*/gate.json")
    result = msgspec.json.decode(path.read_bytes(), type=GateResult)
    assert (result.exit_code, result.seed, result.head.dirty, result.base.dirty) == (10, 5, True, False)
    assert (tmp_path / "out.xml").exists()
    assert (tmp_path / "out.md").exists()


def test_without_a_configuration_the_smallest_one_is_shown(joulebench):
    done = joulebench("gate", "--base", "HEAD")
    assert done.returncode == 2
    assert "target: mypackage.work:encode" in done.stderr


def test_a_misspelt_target_that_neither_arm_has_is_a_usage_error(project, tmp_path, joulebench):
    project.repository(tmp_path, {"gate.yaml": GATE + "cases: [{name: a, target: 'package.work:encod'}]\n"})
    done = joulebench("gate", "--base", "HEAD")
    assert done.returncode == 2
    assert "neither base nor head has it: package.work has no encod" in done.stderr


def test_ctrl_c_ends_every_worker_and_removes_the_slots(temporary, regressed, start):
    assert regressed
    process = start("gate", "--base", "HEAD")
    for line in process.stderr:
        if "fork 3" in line:
            break
    workers = children(process.pid)
    assert workers
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    time.sleep(0.1)
    assert not [pid for pid in workers if alive(pid)]
    assert not list(temporary.glob("joulebench-gate-*"))


def children(pid):
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
