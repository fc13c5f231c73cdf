"""Accidents that are a verdict of their own, each alone in its gate; and what must not fail a gate."""

import datetime as dt

import pytest

FOREVER = dt.date(9999, 12, 31)
NEW = "cases: [{name: fresh, target: 'package.fresh:work'}]\n"
GONE = "cases: [{name: gone, target: 'package.gone:work'}]\n"
ONE = "def work(): return 1\n"
SCORED = """\
from types import SimpleNamespace
from package.work import unit
def work(): return SimpleNamespace(scores=[1.0] * RIGHT + [0.0] * (60 - RIGHT), work=[unit() for _ in range(UNITS)])
"""


def scored(right, units):
    return {"package/scored.py": SCORED.replace("RIGHT", str(right)).replace("UNITS", str(units))}


def entry(case, up_to, expires):
    return f"accept: [{{case: {case}, up_to: {up_to}, reason: checks its input, expires: {expires}}}]\n"


@pytest.fixture(scope="module")
def encode(repository, work):
    """Return a function that makes a repository whose head needs so many units of work instead of 20."""
    case = "cases: [{name: encode, target: 'package.work:encode'}]\n"
    return lambda units, more="": repository(case + more, head={"package/work.py": work(units)})


@pytest.fixture(scope="module")
def dirty(encode, gate):
    """A gate of a dirty working tree that needs thrice the work, beside an entry that accepted it until yesterday."""
    return gate(encode(60, entry("encode", "90%", dt.date(2020, 1, 1))))


@pytest.mark.accident("expired acceptance", exits=10)
def test_an_expired_entry_is_listed_and_accepts_nothing(dirty):
    dirty.ends(10, "the entry that accepts encode expired on 2020-01-01 and is ignored", "GATE FAIL encode",
               verdict="regressed")  # fmt: skip
    assert dirty.cases["encode"].accepted is None
    assert dirty.cases["encode"].confirmed == 1


@pytest.mark.accident("dirty head", exits=10)
def test_a_dirty_head_is_gated_as_it_is_and_said_to_be_dirty(dirty):
    dirty.ends(10, "note: head is the working tree with changes that no commit holds", verdict="regressed")
    assert (dirty.result.base.dirty, dirty.result.head.dirty) == (False, True)


@pytest.mark.accident("dirty tree, of which neither arm is made", exits=2)
def test_changes_that_are_not_committed_are_never_in_the_base(encode, gate):
    folder = encode(60)
    (folder / "package/fresh.py").write_text(ONE)
    (folder / "gate.yaml").write_text(NEW)
    ended = gate(folder, "--head", "HEAD")
    assert ended.result is None
    ended.ends(2, "case 'fresh': neither base nor head has it")


@pytest.mark.accident("accepted cost", exits=0)
def test_a_cost_within_its_entry_passes(encode, gate):
    ended = gate(encode(34, entry("encode", "99%", FOREVER)))
    ended.ends(0, "accepted by up to +0.99 until 9999-12-31: checks its input", verdict="pass")


@pytest.mark.accident("all improved", exits=0)
def test_an_improvement_of_every_case_is_no_accident(repository, gate, project, work):
    head = {"package/work.py": work(7), "requirements.txt": "numpy==2.4.0\n"}
    folder = repository(base={"requirements.txt": "numpy==2.3.0\n"}, head=head)
    project.commit(folder)
    gate_of_commit = gate(folder, "--base", "HEAD~1")
    gate_of_commit.ends(0, "GATE IMPROVED encode", "base and head ask for different dependencies (requirements.txt)",
                        verdict="improved")  # fmt: skip
    assert "changes that no commit holds" not in gate_of_commit.err
    assert gate_of_commit.cases["encode"].estimate.high < -0.3


@pytest.mark.accident("lock file differs", exits=0)
def test_a_lock_file_that_differs_is_noted_and_kept_in_the_result(repository, gate):
    folder = repository(NEW, {"uv.lock": "1\n"}, {"uv.lock": "2\n", "package/fresh.py": ONE})
    ended = gate(folder)
    ended.ends(0, "note: base and head ask for different dependencies (uv.lock), but both were", verdict="new")
    assert ended.result.base.lock_sha256 != ended.result.head.lock_sha256


@pytest.fixture(scope="module")
def without(repository):
    """Return a function that makes a repository whose head has not the module that is gated."""

    def make(more=""):
        folder = repository(GONE + more, {"package/gone.py": ONE})
        (folder / "package/gone.py").unlink()
        return folder

    return make


@pytest.mark.accident("vanished case", exits=12)
def test_a_case_that_vanished_fails_though_nothing_got_costlier(without, gate):
    gate(without()).ends(12, "GATE VANISHED gone", "there is no module package.gone", verdict="vanished")


@pytest.mark.accident("vanished case, acknowledged", exits=0)
def test_a_case_that_was_removed_on_purpose_is_acknowledged_by_an_entry(without, gate):
    gate(without(entry("gone", "0%", FOREVER))).ends(0, "GATE ACCEPTED gone", verdict="vanished")


@pytest.mark.accident("new case", exits=0)
def test_a_new_case_is_a_warning(repository, gate):
    folder = repository(NEW, head={"package/fresh.py": ONE})
    gate(folder).ends(0, "GATE warning new: fresh", "--strict makes this exit 11", verdict="new")


@pytest.mark.accident("new case, strict", exits=11)
def test_a_new_case_fails_where_it_is_asked_to_be_strict(repository, gate):
    folder = repository(NEW, head={"package/fresh.py": ONE})
    gate(folder, "--strict").ends(11, "GATE NEW fresh", verdict="new")


@pytest.mark.accident("quality worse", exits=14)
def test_a_saving_bought_with_quality_fails(repository, gate):
    folder = repository(
        "cases: [{name: scored, target: 'package.scored:work'}]\n", scored(60, units=40), scored(30, units=5)
    )
    ended = gate(folder)
    ended.ends(14, "GATE WORSE-QUALITY scored", "score of 60 items fell from 1 to 0.5", verdict="worse-quality")
    assert ended.cases["scored"].estimate.change < -0.3


@pytest.mark.accident("budget too short", exits=0)
def test_a_budget_that_proves_nothing_is_inconclusive_and_says_so(encode, gate):
    ended = gate(encode(60), "--budget", "0.2s")
    ended.ends(0, "GATE INCONCLUSIVE encode", "too few to decide anything", "--strict makes this exit 11",
               verdict="inconclusive")  # fmt: skip


@pytest.mark.accident("budget too short, strict", exits=11)
def test_a_budget_that_proves_nothing_fails_where_it_is_asked_to_be_strict(encode, gate):
    gate(encode(60), "--budget", "0.2s", "--strict").ends(11, "too few to decide anything", verdict="inconclusive")


@pytest.mark.accident("result of another version", exits=2)
@pytest.mark.parametrize(("written", "words"), [('"schema": 99,', "has format 99"), ('"scheme": 1,', "is damaged")])
def test_a_result_of_another_version_is_refused_by_name(without, gate, start, written, words):
    folder = without()
    ended = gate(folder)
    file = ended.folder / "gate.json"
    file.write_text(file.read_text().replace('"schema": 1,', written))
    again = start(folder, "explain", f"{ended.folder.name}#1").end()
    again.ends(2, "gate.json", words)
