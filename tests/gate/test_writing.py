"""The gate on disk: strict, versioned, and a torn line costs one block, not the run."""

import json

import msgspec
import pytest

from harness.errors import InvalidMeasurement, ResultsError
from harness.gate import writing
from harness.gate.model import Verdict

STARTED = "2026-11-23T14:00:00Z"


@pytest.fixture
def folder(tmp_path):
    return writing.create_gate(tmp_path / "results", "7c1e90ab" + "0" * 56, STARTED)


def test_the_folder_is_named_by_host_and_time(folder, tmp_path):
    assert folder == tmp_path / "results" / "7c1e90ab" / "20261123T140000Z-gate"
    assert writing.read_blocks(folder) == ()


def test_two_gates_of_one_second_do_not_share_a_folder(folder, tmp_path):
    second = writing.create_gate(tmp_path / "results", "7c1e90ab" + "0" * 56, STARTED)
    assert second.name == "20261123T140000Z-gate-2"


def test_a_gate_comes_back_as_it_was(folder, make):
    result = make.everything(strict=True)
    writing.write_gate(folder, result)
    assert writing.read_gate(folder) == result
    assert writing.read_gate(folder / "gate.json") == result


def test_the_reports_stand_beside_it_and_nothing_half_written(folder, make):
    writing.write_gate(folder, make.everything())
    assert sorted(path.name for path in folder.iterdir()) == ["blocks.jsonl", "gate.json", "gate.md", "gate.xml"]


def test_blocks_come_back_in_order(folder, make):
    blocks = make.blocks("encode", 0.03, forks=2, each=3)
    for block in blocks:
        writing.append_block(folder, block)
    assert list(writing.read_blocks(folder)) == blocks


def test_a_torn_last_line_is_not_read_and_cut_off_by_the_next_block(folder, make):
    blocks = make.blocks("encode", 0.03, forks=1, each=3)
    for block in blocks[:2]:
        writing.append_block(folder, block)
    with (folder / "blocks.jsonl").open("ab") as file:
        file.write(b'{"case":"encode","stage":"ma')
    assert list(writing.read_blocks(folder)) == blocks[:2]
    writing.append_block(folder, blocks[2])
    assert list(writing.read_blocks(folder)) == blocks


def test_a_dropped_fork_is_not_evidence_and_is_kept_with_its_reason(folder, make):
    from msgspec.structs import replace

    first, second, again = (
        make.block("encode", 0, 0, 0.1),
        make.block("encode", 0, 1, 0.2),
        make.block("encode", 0, 0, 0.3),
    )
    dead = [replace(block, void=f"{writing.DROPPED}the worker died") for block in (first, second)]
    for block in (first, second, *dead, again):
        writing.append_block(folder, block)
    assert writing.read_blocks(folder) == (again,)
    assert [block.void for block in writing.read_dropped(folder)] == ["dropped with its fork: the worker died"] * 2


def test_a_damaged_block_names_file_and_line(folder, make):
    for block in make.blocks("encode", 0.0, forks=1, each=3):
        writing.append_block(folder, block)
    path = folder / "blocks.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], b'{"case": 7}', *lines[2:]]))
    with pytest.raises(ResultsError, match=r"blocks\.jsonl:2 is not a Block"):
        writing.read_blocks(folder)


def test_blocks_that_are_gone_are_an_error_and_not_none(folder):
    (folder / "blocks.jsonl").unlink()
    with pytest.raises(ResultsError, match=r"blocks\.jsonl does not exist"):
        writing.read_blocks(folder)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused_before_anything_is_written(folder, make, bad):
    case = make.case(Verdict.PASS, estimate=msgspec.structs.replace(make.LEVEL, high=bad))
    with pytest.raises(InvalidMeasurement, match=r"cases\[0\]\.estimate\.high"):
        writing.write_gate(folder, make.result(case))
    assert [path.name for path in folder.iterdir()] == ["blocks.jsonl"]


def test_an_edited_file_is_refused_by_name(folder, make):
    writing.write_gate(folder, make.everything())
    path = folder / "gate.json"
    edited = json.loads(path.read_bytes()) | {"verdict_wanted": "pass"}
    path.write_text(json.dumps(edited), encoding="utf-8")
    with pytest.raises(ResultsError, match=r"gate\.json is damaged, or was edited.*verdict_wanted"):
        writing.read_gate(folder)


def test_a_file_cut_short_is_refused_by_name(folder, make):
    writing.write_gate(folder, make.everything())
    path = folder / "gate.json"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ResultsError, match=r"gate\.json is damaged"):
        writing.read_gate(folder)


def test_another_version_of_the_format_is_told_as_such(folder, make):
    writing.write_gate(folder, make.everything())
    path = folder / "gate.json"
    path.write_text(json.dumps({"schema": 2, "of_the_future": True}), encoding="utf-8")
    with pytest.raises(ResultsError, match="has format 2, this joulebench reads 1"):
        writing.read_gate(folder)


def test_a_gate_that_has_not_ended_has_no_verdict(folder):
    with pytest.raises(ResultsError, match=r"gate\.json does not exist; `joulebench gate` writes it"):
        writing.read_gate(folder)


def test_results_that_cannot_be_written_say_where_and_what_to_do(tmp_path):
    (tmp_path / "results").write_text("a file", encoding="utf-8")
    with pytest.raises(ResultsError, match=r"cannot write the gate's results to .*--results"):
        writing.create_gate(tmp_path / "results", "7c1e90ab" + "0" * 56, STARTED)


@pytest.mark.parametrize("place", ["file/out.xml", "folder"])
def test_a_place_where_nothing_can_be_written_is_told_beforehand(tmp_path, place):
    (tmp_path / "file").write_text("a file", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ResultsError, match=f"cannot write .*{place}: .*; choose another place"):
        writing.check_place(tmp_path / place)
    writing.check_place(tmp_path / "new" / "out.xml")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_gate_is_found_by_folder_file_and_id(folder, make, tmp_path):
    writing.write_gate(folder, make.everything())
    root = tmp_path / "results"
    for name in (str(folder), str(folder / "gate.json"), folder.name):
        assert writing.find_gate(name, root) == folder


def test_a_gate_that_is_not_there_names_the_newest(folder, make, tmp_path):
    writing.write_gate(folder, make.everything())
    with pytest.raises(ResultsError, match=r"no gate run r-8f3a.*the newest is 20261123T140000Z-gate"):
        writing.find_gate("r-8f3a", tmp_path / "results")


def test_one_id_on_two_hosts_is_not_guessed(folder, make, tmp_path):
    root = tmp_path / "results"
    writing.write_gate(folder, make.everything())
    writing.write_gate(writing.create_gate(root, "f" * 64, STARTED), make.everything())
    with pytest.raises(ResultsError, match="several gate runs"):
        writing.find_gate(folder.name, root)
