"""What a meter does wrong, and a machine that is not steady: a third party's meter follows a script."""

import pytest

from harness.gate.writing import read_blocks


def changed(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.accident("NaN reading", exits=13)
def test_joules_that_are_no_number_are_invalid(repository, gate):
    gate(repository(meter="scripted:nan")).ends(
        13, "GATE INVALID encode", "do not count", "scripted reads nan J, which cannot be", verdict="invalid"
    )


@pytest.mark.accident("counter reset again and again", exits=13)
def test_a_counter_that_goes_backwards_is_invalid(repository, gate):
    gate(repository(meter="scripted:resets")).ends(
        13, "do not count", "the energy counter went backwards", verdict="invalid"
    )


@pytest.mark.accident("counter reset once", exits=0)
def test_one_counter_reset_costs_one_block_which_says_so(repository, gate):
    folder = repository(meter="scripted:one-reset")
    changed(folder / "gate.yaml", "blocks: 24", "blocks: 30")
    ended = gate(folder)
    ended.ends(0, "GATE PASS encode", verdict="pass")
    (void,) = [block.void for block in read_blocks(ended.folder) if block.void is not None]
    assert "the energy counter went backwards" in void
    assert ended.cases["encode"].estimate.blocks == 29


@pytest.mark.accident("counter stands still", exits=13)
def test_a_counter_that_stands_still_is_invalid_and_no_saving(repository, gate):
    gate(repository(meter="scripted:stuck")).ends(
        13, "do not count", "the energy counter did not change", verdict="invalid"
    )


@pytest.mark.accident("provenance changed", exits=13)
def test_joules_of_unlike_provenance_are_not_compared(repository, gate):
    gate(repository(meter="scripted:other-provenance")).ends(
        13, "the provenance of the joules changed while they were measured: ", "counter (", "integrated-power (",
        verdict="invalid",
    )  # fmt: skip


HALF_WAY = """
import os
from pathlib import Path

_encode = encode


def encode():
    blocks = Path(os.environ["RESULTS"]).glob("*/*-gate*/blocks.jsonl")
    early = sum(file.read_bytes().count(b"\\n") for file in blocks) < 12
    return [_encode() for _ in range({early} if early else 1)][0]
"""


@pytest.fixture
def unsteady(repository, work):
    """A repository whose head costs more in the first half of the blocks alone, while the machine draws ever more."""
    base, head = (work(60) + HALF_WAY.format(early=early) for early in (1, 4))
    return repository(meter="scripted:soaring-cpu", base={"package/work.py": base}, head={"package/work.py": head})


@pytest.mark.accident("contaminated run", exits=0)
def test_what_changes_with_an_unsteady_machine_is_not_decided(unsteady, gate):
    ended = gate(unsteady, RESULTS=str(unsteady / "results"))
    ended.ends(0, "GATE INCONCLUSIVE encode", "the machine was not steady, its control changed by",
               "--strict makes this exit 11", verdict="inconclusive")  # fmt: skip
    assert ended.cases["encode"].control_change > 0.9


@pytest.mark.accident("contaminated run, strict", exits=11)
def test_what_changes_with_an_unsteady_machine_fails_where_it_is_asked_to_be_strict(unsteady, gate):
    ended = gate(unsteady, "--strict", RESULTS=str(unsteady / "results"))
    ended.ends(11, "the machine was not steady", verdict="inconclusive")


@pytest.mark.accident("unsteady machine, like arms throughout", exits=0)
def test_like_arms_pass_on_an_unsteady_machine_if_they_are_alike_before_and_after(repository, gate):
    ended = gate(repository(meter="scripted:drift"))
    ended.ends(0, "GATE PASS encode", verdict="pass")
    assert ended.cases["encode"].control_change > 0.9


@pytest.mark.accident("contaminated run with a cost far beyond it", exits=10)
def test_a_cost_that_is_larger_than_the_drift_of_the_machine_is_found_all_the_same(repository, gate, work):
    folder = repository(meter="scripted:drifting-cpu", head={"package/work.py": work(60)})
    changed(folder / "gate.yaml", "control_drift: 90%", "control_drift: 5%")
    ended = gate(folder)
    ended.ends(10, "GATE FAIL encode", verdict="regressed")
    assert ended.cases["encode"].control_change > 0.05
