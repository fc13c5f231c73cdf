"""`joulebench explain`: why a case got its verdict, from what is on disk."""

import json

import pytest

from harness.errors import UsageError
from harness.gate import writing
from harness.gate.explaining import explain, render_explanation
from harness.gate.model import Stage, Verdict


@pytest.fixture
def on_disk(tmp_path, make):
    """Return the folder of a gate with a regression found in four forks and confirmed in two, with voided blocks."""
    name = "infer/regressed"
    folder = writing.create_gate(tmp_path / "results", "7c1e90ab" + "0" * 56, "2026-11-23T14:00:00Z")
    for block in make.blocks(name, 0.041):
        writing.append_block(folder, block)
    for fork in (0, 1):
        for index in range(4):
            writing.append_block(folder, make.block(name, fork, index, 0.04, Stage.CONFIRM))
    wrong = "head answered otherwise than base"
    for index in (90, 91):
        writing.append_block(folder, make.block(name, 2, index, 3.0, void=wrong))
    writing.append_block(folder, make.block("infer/pass", 0, 0, 0.0))
    writing.write_gate(folder, make.everything())
    return folder


def seen(on_disk, which="infer/regressed"):
    return explain(writing.read_gate(on_disk), writing.read_blocks(on_disk), which)


def test_forks_are_told_apart_by_stage_and_only_of_this_case(on_disk):
    forks = seen(on_disk).forks
    assert [(each.stage.value, each.fork, each.blocks, each.voided) for each in forks] == [
        ("main", 0, 6, 0), ("main", 1, 6, 0), ("main", 2, 6, 2), ("main", 3, 6, 0),
        ("confirm", 0, 4, 0), ("confirm", 1, 4, 0),
    ]  # fmt: skip


def test_a_fork_shows_its_median_change_and_quartiles(on_disk):
    forks = seen(on_disk).forks
    assert forks[4].change == pytest.approx(0.04)
    for fork in forks[:4]:
        assert fork.change == pytest.approx(0.041, abs=0.015)
        assert fork.low_quartile <= fork.change <= fork.high_quartile


def test_a_voided_block_is_listed_and_not_in_the_change(on_disk):
    explanation = seen(on_disk)
    assert [(each.fork, each.index) for each in explanation.voided] == [(2, 90), (2, 91)]
    assert explanation.forks[2].change < 0.1
    text = render_explanation(explanation)
    assert "2 × head answered otherwise than base (main fork 2 block 90, main fork 2 block 91)" in text


def test_a_block_without_a_reading_does_not_count_and_says_why(make):
    from msgspec.structs import replace

    block = make.block("infer/regressed", 0, 0, 0.1)
    lost = replace(block, slots=(*block.slots[:3], replace(block.slots[3], energy_j=None, gap="counter was reset")))
    explanation = explain(make.everything(), [lost], "infer/regressed")
    assert "no joules of base (counter was reset)" in explanation.voided[0].reason
    assert explanation.forks[0].change is None


def test_a_fork_that_was_dropped_is_listed_and_not_counted(make):
    gone = make.block("infer/pass", 0, 0, 0.5, void="dropped with its fork: the worker died")
    explanation = explain(make.everything(), make.blocks("infer/pass", 0.0), "infer/pass", dropped=[gone])
    assert [fork.voided for fork in explanation.forks] == [0, 0, 0, 0]
    assert "1 × dropped with its fork: the worker died (main fork 0 block 0)" in render_explanation(explanation)


def test_a_control_that_moves_in_one_fork_is_seen_there(make):
    from msgspec.structs import replace

    blocks = make.blocks("infer/pass", 0.0, forks=5, each=4)
    blocks = [
        replace(block, control=tuple(replace(slot, energy_j=0.6) for slot in block.control))
        if block.fork == 4
        else block
        for block in blocks
    ]
    forks = explain(make.everything(), blocks, "infer/pass").forks
    assert [round(each.control_change, 3) for each in forks] == [0, 0, 0, 0, 0.2]


def test_the_text_has_numbers_plot_meters_and_what_to_do(on_disk):
    text = render_explanation(seen(on_disk))
    for part in (
        "20261123T140000Z-gate#2  infer/regressed",
        "FAIL: +4.1% a task, found again in fresh processes",
        "accept it by an `accept` entry",
        "+4.10%  [+2.6%, +5.7%] at 98%",
        "8 of 8 point the way of the estimate",
        "look 3 of 4",
        "1 of 1 fresh stages found the regression again",
        "control    +0.2% within forks",
        "meter rapl: cpu-package, dram, counter",
        "NOT sound in 8 windows of 0.25 s; FAULTS: leapt",
    ):
        assert part in text


def test_the_plot_has_zero_left_of_a_regression_and_one_row_a_fork(on_disk):
    text = render_explanation(seen(on_disk))
    plotted = [line for line in text.splitlines() if "●" in line]
    assert len(plotted) == 6
    assert all(line.index("|") < line.index("●") for line in plotted)
    assert len({line.index("|") for line in plotted}) == 1


def test_more_time_is_told_where_it_would_settle_and_else_that_it_is_not_known(make):
    known = explain(make.everything(), [], "infer/inconclusive")
    assert known.advice == "about 1m35s more of measuring would settle it; give the gate a larger --budget."
    unknown = explain(make.result(make.case(Verdict.INCONCLUSIVE, more_s=None)), [], "1")
    assert "cannot be told" in unknown.advice
    not_time = explain(make.result(make.case(Verdict.INCONCLUSIVE, more_s=0.0)), [], "1")
    assert "cannot be told" in not_time.advice


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_can_be_explained_without_a_single_block(make, verdict):
    text = render_explanation(explain(make.everything(), [], f"infer/{verdict.value}"))
    assert make.REASONS[verdict] in text
    assert "Next: " in text


def test_a_case_that_is_not_there_names_the_nearest(make):
    with pytest.raises(UsageError, match="no case 'infer/regresed'; did you mean 'infer/regressed'"):
        explain(make.everything(), [], "infer/regresed")
    with pytest.raises(UsageError, match="no case '9'"):
        explain(make.everything(), [], "9")


def test_the_command_explains_by_folder_and_by_id(joulebench, on_disk, tmp_path):
    by_folder = joulebench("explain", f"{on_disk}#2")
    by_id = joulebench("explain", "20261123T140000Z-gate#infer/regressed")
    assert by_folder.returncode == by_id.returncode == 0, by_folder.stderr + by_id.stderr
    assert by_folder.stdout == by_id.stdout
    assert "●" in by_folder.stdout


def test_the_command_prints_one_json_document(joulebench, on_disk):
    told = json.loads(joulebench("explain", f"{on_disk}#2", "--json").stdout)
    assert told["case"]["verdict"] == "regressed"
    assert len(told["forks"]) == 6


def test_the_command_without_a_case_lists_them(joulebench, on_disk):
    ended = joulebench("explain", str(on_disk))
    assert ended.returncode == 2
    assert f"{on_disk}#2  infer/regressed" in ended.stderr
