"""One worker of one arm: what it loads, what its clocks say, and what it refuses."""

import math
import os
import signal
import sys
import textwrap
from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness.errors import WorkerFailed
from harness.gate.arms import Reported, start_control, start_probe
from harness.gate.control import TARGET, kernel
from harness.gate.probe import Refused, digest
from harness.gate.resolving import resolve
from harness.gate.slots import Built
from harness.gate.suites import SOURCE
from harness.gate.targets import CallableTarget, CommandTarget
from harness.meters import open_meters
from harness.records import Provenance

TIMEOUT_S = 60

MODULE = """\
    import dataclasses, os, subprocess, sys, time

    def spin(for_s=0.05):
        end = time.process_time() + for_s
        while time.process_time() < end:
            pass
        return [1, "a", 2.5]

    def sleep(): time.sleep(0.05)

    def child(): subprocess.run([sys.executable, "-c", "for i in range(3_000_000): pass"], check=True)

    def unhashable(): return object()

    def raises(): raise ValueError("no data")

    def exits(): sys.exit(3)

    def dies(): os.kill(os.getpid(), 9)

    def hangs(): time.sleep(60)

    def prints(): print("garbage", flush=True); os.write(1, b"more\\n")

    async def later(): pass

    @dataclasses.dataclass
    class Answer:
        scores: list

    def scored(): return Answer([1.0, 0.0, 1.0])

    def nothing_scored(): return Answer([])

    def badly_scored(): return Answer([1.0, float("nan")])

    def where():
        import harness
        return harness.__file__

    def order(): return str(list({"a", "b", "c", "d", "e"}))

    def path(): return sys.path[:1] + [os.getcwd()]
"""


@pytest.fixture(scope="module")
def meters():
    window = open_meters(("modelled",))
    yield window
    window.close()


@pytest.fixture
def slot(tmp_path):
    """A slot with a package of its own, a broken module, and a package of joulebench's own name."""
    root = tmp_path / "slot"
    for name, text in {
        "work.py": MODULE,
        "broken.py": "1 / 0\n",
        "script.py": "raise SystemExit(2)\n",
        "stranger.py": "import nowhere_to_be_found\n",
        "harness/__init__.py": "MINE = True\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(text), encoding="utf-8")
    return Built(place=root, root=root, python=Path(sys.executable))


@pytest.fixture
def start(slot, meters, tmp_path):
    workers = []

    def begin(case, seed=1):
        case = CallableTarget(name=case, target=f"work:{case}") if isinstance(case, str) else case
        worker = start_probe(case, "head", slot, seed=seed, log=tmp_path / "log", meters=meters)
        workers.append(worker)
        worker.ready(TIMEOUT_S)
        return worker

    yield begin
    for worker in workers:
        worker.kill()


def test_a_slot_bills_the_workers_own_cpu_time_over_all_its_repeats(start):
    slot, scores = start("spin").run(4, 0, TIMEOUT_S)
    assert slot.tasks == 4
    assert 0.2 <= slot.cpu_s < 0.25
    assert slot.energy_j > 0
    assert slot.provenance is Provenance.MODELLED
    assert scores == {}


def test_waiting_costs_no_cpu_time(start):
    slot, _ = start("sleep").run(2, 0, TIMEOUT_S)
    assert slot.cpu_s < 0.02
    assert slot.duration_s >= 0.1


def test_the_cpu_time_of_children_is_counted(start):
    slot, _ = start("child").run(1, 0, TIMEOUT_S)
    assert slot.cpu_s > 0.03


def test_a_command_is_started_anew_by_the_arms_python_and_its_output_compared(start):
    printed = CommandTarget(name="c", command=("python", "-c", "import sys; print(sys.executable)"), tasks=3)
    other = CommandTarget(name="d", command=("python", "-c", "print(1)"))
    slot, _ = start(printed).run(2, 0, TIMEOUT_S)
    assert slot.tasks == 6
    assert slot.cpu_s > 0.01
    assert slot.checksum == digest((sys.executable + "\n").encode())
    assert slot.checksum != start(other).run(1, 0, TIMEOUT_S).slot.checksum


def test_a_command_that_fails_is_told_with_its_last_words(start):
    failing = CommandTarget(name="c", command=("python", "-c", "raise SystemExit('no such file')"))
    with pytest.raises(Reported, match="ended with exit code 1: no such file"):
        start(failing).run(1, 0, TIMEOUT_S)


def test_scores_come_item_by_item_and_then_decide_instead_of_the_checksum(start):
    slot, scores = start("scored").run(1, 0, TIMEOUT_S)
    assert scores == {0: 1.0, 1: 0.0, 2: 1.0}
    assert slot.checksum is None


def test_what_a_task_prints_does_not_garble_the_protocol(start, tmp_path):
    start("prints").run(2, 0, TIMEOUT_S)
    assert "garbage" in (tmp_path / "log").read_text(encoding="utf-8")


def test_joulebench_under_test_is_the_slots_own(start, slot):
    worker = start("where")
    assert worker.run(1, 0, TIMEOUT_S).slot.checksum == digest(str(slot.root / "harness/__init__.py"))


def test_the_slot_is_first_on_the_path_and_the_working_directory(start, slot):
    assert start("path").run(1, 0, TIMEOUT_S).slot.checksum == digest([str(slot.root), str(slot.root)])


def test_the_hash_seed_is_the_forks_own(start):
    first, second, other = (start("order", seed).run(1, 0, TIMEOUT_S).slot.checksum for seed in (1, 1, 2))
    assert first == second != other


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("unhashable", "the result is a object, which has no canonical form .* write `check: none`"),
        ("raises", "ValueError: no data"),
        ("exits", "SystemExit: 3"),
        ("nothing_scored", "the result's `scores` is empty"),
        ("badly_scored", "the score of item 1 is nan"),
    ],
)
def test_a_task_that_cannot_be_measured_says_why(start, task, message):
    with pytest.raises(Reported, match=message):
        start(task).run(1, 0, TIMEOUT_S)


def test_check_none_compares_nothing(start):
    case = CallableTarget(name="u", target="work:unhashable", check="none")
    assert start(case).run(1, 0, TIMEOUT_S).slot.checksum is None


def test_a_coroutine_function_is_refused(start):
    with pytest.raises(Reported, match="is a coroutine function: gate a function that runs it"):
        start("later")


def test_a_worker_that_dies_is_told_from_one_that_says_it_failed(start):
    with pytest.raises(WorkerFailed, match="was ended by SIGKILL") as caught:
        start("dies").run(1, 0, TIMEOUT_S)
    assert not isinstance(caught.value, Reported)


def test_a_worker_that_hangs_is_ended(start):
    with pytest.raises(WorkerFailed, match="said nothing for 0 s and was ended; a slot that takes so long"):
        start("hangs").run(1, 0, 0.3)


def test_targets_that_are_absent_are_told_from_those_that_cannot_be_loaded(slot, tmp_path):
    targets = {
        "fine": "work:spin",
        "method": "work:Answer.fields",
        "gone": "nowhere:spin",
        "broken": "broken:f",
        "script": "script:f",
        "stranger": "stranger:f",
        "outside": "json:dumps",
    }
    cases = [CallableTarget(name=name, target=target) for name, target in targets.items()]
    found = resolve(slot, cases, tmp_path / "log", TIMEOUT_S)
    assert found.absent == {
        "method": "work has no Answer.fields (for work:Answer.fields)",
        "gone": "there is no module nowhere (for nowhere:spin)",
    }
    assert "ZeroDivisionError" in found.broken["broken"]
    assert found.broken["script"] == "script:f cannot be imported: SystemExit: 2"
    assert "No module named 'nowhere_to_be_found'" in found.broken["stranger"]
    assert "so both arms would measure the same code" in found.broken["outside"]
    assert "fine" not in found.broken


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import os\nos._exit(0)\n", "ended with exit code 0 before its work was done"),
        ("import os\nos.kill(os.getpid(), 11)\n", "was ended by SIGSEGV"),
        ("while True: pass\n", "said nothing for 1 s and was ended"),
    ],
)
def test_a_target_that_takes_the_process_with_it_is_broken_and_no_other(slot, tmp_path, text, message):
    (slot.root / "fatal.py").write_text(text, encoding="utf-8")
    targets = {"fatal": "fatal:f", "fine": "work:spin", "gone": "work:gone"}
    cases = [CallableTarget(name=name, target=target) for name, target in targets.items()]
    found = resolve(slot, cases, tmp_path / "log", 1)
    assert found.broken.keys() == {"fatal"}
    assert message in found.broken["fatal"]
    assert found.absent.keys() == {"gone"}


@pytest.mark.parametrize(
    ("value", "same", "other"),
    [
        ({"a": 1, "b": [1.5]}, {"b": [1.5], "a": 1}, {"a": 1, "b": [1.25]}),
        ({3, 1, 2}, {1, 2, 3}, {1, 2}),
        (np.arange(4.0), np.arange(4.0), np.arange(4)),
        (np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((3, 2))),
        (float("nan"), math.nan, 0.0),
        (b"ab", b"ab", "ab"),
        (["a", "b"], ["a", "b"], ["ab"]),
        ([[1], 2], [[1], 2], [[1, 2]]),
        (None, None, 0),
    ],
)
def test_equal_results_have_one_checksum_and_unequal_ones_another(value, same, other):
    assert digest(value) == digest(same)
    assert digest(value) != digest(other)


def test_a_result_that_shows_only_its_address_has_no_checksum():
    with pytest.raises(Refused):
        digest([1, object()])


def test_the_control_is_the_same_every_time():
    assert kernel() == kernel()


def test_a_control_that_dies_is_started_anew_within_its_slot(meters, tmp_path, request):
    here = Built(place=SOURCE, root=SOURCE, python=Path(sys.executable))
    control = start_control(TARGET, here, log=tmp_path / "log", meters=meters)
    request.addfinalizer(control.kill)
    control.ready(TIMEOUT_S)
    before, died = control.run(1, 0, TIMEOUT_S).slot, control.pid
    os.kill(died, signal.SIGKILL)
    after = control.run(1, 0, TIMEOUT_S).slot
    assert control.pid != died
    assert (after.checksum, after.arm) == (before.checksum, "control")


def test_a_slot_without_a_reading_says_why_and_holds_no_number(start, meters, monkeypatch):
    real = type(meters).interpret

    def lost(self, span, states=()):
        measured = real(self, span, states)
        return msgspec.structs.replace(measured, energies=())

    monkeypatch.setattr(type(meters), "interpret", lost)
    slot, _ = start("sleep").run(1, 0, TIMEOUT_S)
    assert slot.energy_j is None
    assert "no billed domain" in slot.gap
