"""Requests that cannot be carried out end in 2 before anything is measured, and say what to do."""

import shutil
import subprocess

import pytest

from harness import host

ONE = "cases: [{name: encode, target: 'package.work:encode'}]\n"


def configured(repository, text):
    """Return a repository whose gate.yaml is this text."""
    folder = repository()
    (folder / "gate.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.accident("no git repository", exits=2)
def test_no_git_repository_is_a_usage_error(repository, gate):
    folder = repository()
    shutil.rmtree(folder / ".git")
    gate(folder).ends(2, "is not in a git repository, so there is no base to compare with")


@pytest.mark.accident("unknown base", exits=2)
def test_an_unknown_base_names_the_nearest_ref(repository, gate, project):
    folder = repository()
    project.git(folder, "branch", "release")
    gate(folder, "--base", "relaese").ends(2, "git knows no 'relaese'; did you mean 'release'?")


@pytest.mark.accident("unknown head", exits=2)
def test_an_unknown_head_names_what_there_is(repository, gate):
    gate(repository(), "--head", "nowhere").ends(2, "git knows no 'nowhere'; Known: ma")


@pytest.mark.accident("shallow clone without base", exits=2)
def test_a_shallow_clone_without_the_base_says_how_to_fetch_it(repository, gate, project, tmp_path):
    origin = repository(head={"a.txt": "1"})
    project.commit(origin)
    subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{origin}", tmp_path / "clone"], check=True)
    gate(tmp_path / "clone", "--base", "HEAD~1").ends(
        2, "this clone is shallow: fetch the whole history (fetch-depth: 0)"
    )


@pytest.mark.accident("base is a program that is no Python", exits=2)
def test_a_base_that_is_no_interpreter_is_named(repository, gate):
    gate(repository(), "--base", shutil.which("false")).ends(2, "false does not run as a Python interpreter")


@pytest.mark.accident("no configuration", exits=2)
def test_no_configuration_shows_the_smallest_one(repository, gate):
    gate(repository(), "absent.yaml").ends(2, "there is no absent.yaml", "target: mypackage.work:encode")


CONFIGURATIONS = {
    "misspelt key": ("gate: {blcoks: 30}\n" + ONE, "gate.yaml:1: gate.blcoks: unknown key 'blcoks'; did you mean 'blo"),
    "misspelt key of a case": ("cases: [{name: a, targte: 'package.work:encode'}]\n", "a case has one of target, comm"),
    "empty": ("", "gate.yaml"),
    "no cases": ("cases: []\n", "name at least one case"),
    "not YAML": ("cases: [{name: a\n", "gate.yaml"),
    "a name that stands twice": (ONE.replace("]", ", {name: encode, target: 'package.work:unit'}]"),
                                 "cases.1.name: the name 'encode' stands twice; keep one"),
    "too few forks to decide": ("gate: {forks: 2}\n" + ONE, "gate.forks: must be 6 or more: fewer never decide"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(*row, marks=pytest.mark.accident(f"configuration: {name}", exits=2), id=name)
        for name, row in CONFIGURATIONS.items()
    ],
)
def test_a_bad_configuration_is_refused_with_its_place(repository, gate, text, words):
    gate(configured(repository, text)).ends(2, words)


@pytest.mark.accident("misspelt target", exits=2)
def test_a_target_that_neither_arm_has_is_no_vanished_case(repository, gate):
    folder = repository("cases: [{name: a, target: 'package.work:encod'}]\n")
    gate(folder).ends(2, "case 'a': neither base nor head has it: package.work has no encod")


@pytest.mark.accident("no case selected", exits=2)
def test_a_selection_that_fits_no_case_is_no_pass(repository, gate):
    ended = gate(repository(), "-k", "nothing_like_it")
    ended.ends(
        2, "GATE nothing was gated: no case was selected; name what to gate, or widen the selection", verdicts=[]
    )


@pytest.mark.accident("budget of zero", exits=2)
def test_a_budget_of_zero_is_refused(repository, gate):
    gate(repository(), "--budget", "0s").ends(2, "a duration must be longer than zero")


@pytest.mark.accident("unknown meter", exits=2)
def test_a_misspelt_meter_is_refused(repository, gate):
    gate(repository(meter="modeled")).ends(2, "unknown meter 'modeled'; did you mean 'modelled'?")


@pytest.mark.accident("meter of unknown refresh", exits=13)
def test_a_meter_of_which_no_slot_is_long_enough_is_not_used(repository, gate):
    gate(repository(meter="scripted:unknown-refresh")).ends(13, "the refresh of a meter is not known")


@pytest.mark.accident("unwritable results", exits=2)
def test_results_that_cannot_be_written_are_told_before_anything_is_measured(repository, gate):
    folder = repository()
    (folder / "results").write_text("a file, no folder")
    ended = gate(folder)
    ended.ends(2, "cannot write the gate's results", "choose another folder with --results")
    assert "warming up" not in ended.err


@pytest.mark.accident("unwritable JUnit or Markdown", exits=2)
@pytest.mark.parametrize(("option", "place"), [("--junit", "gate.yaml/out"), ("--md", "package")])
def test_a_report_that_cannot_be_written_is_told_before_anything_is_measured(repository, gate, option, place):
    ended = gate(repository(), option, place)
    ended.ends(2, f"cannot write {place}", "choose another place for it")
    assert "warming up" not in ended.err


@pytest.mark.accident("build fails", exits=2)
def test_a_build_that_fails_is_told_with_its_arm_and_last_words(repository, gate):
    build = "test ! -e broken.txt || { echo no compiler; exit 3; }"
    folder = repository(head={"broken.txt": ""})
    gate(folder, "--build", build).ends(2, "ended with exit code 3 for head", "no compiler")


@pytest.mark.accident("count of false alarms damaged", exits=2)
def test_a_damaged_count_of_false_alarms_is_told_before_anything_is_measured(repository, gate, tmp_path):
    file = tmp_path / "joulebench/calibration" / f"{host.fingerprint(host.probe())[:8]}.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text("{}\n")
    ended = gate(repository(), XDG_DATA_HOME=str(tmp_path))
    ended.ends(2, f"{file}:1 is not a Entry")
    assert "warming up" not in ended.err
