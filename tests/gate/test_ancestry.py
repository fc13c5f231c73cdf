"""Base and head that grew apart: what base gained is held against head, and the gate says so."""

import pytest

from harness.gate.ancestry import parted_note
from harness.gate.model import Arm


def arm(ref, commit):
    return Arm(ref=ref, commit=commit, dirty=False, lock_sha256=None)


@pytest.fixture
def parted(tmp_path, project):
    """Return a repository whose branch `work` lacks the last commit of `trunk`, and the commits of all three."""
    folder = project.repository(
        tmp_path / "project", {"gate.yaml": "cases: [{name: a, target: 'package.work:encode'}]\n"}
    )
    fork = project.git(folder, "rev-parse", "HEAD")
    project.git(folder, "branch", "trunk")
    project.git(folder, "checkout", "--quiet", "-b", "work")
    project.write(folder, {"head.txt": ""})
    head = project.commit(folder)
    project.git(folder, "checkout", "--quiet", "trunk")
    project.write(folder, {"package/saved.py": ""})
    base = project.commit(folder)
    project.git(folder, "checkout", "--quiet", "work")
    return folder, fork, base, head


def test_a_head_that_is_behind_is_told_where_the_two_parted(parted):
    folder, fork, base, head = parted
    (note,) = parted_note(folder, arm("trunk", base), arm("HEAD", head))
    assert "head lacks commits of base trunk" in note
    assert f"--base {fork[:12]}" in note


def test_a_base_that_head_grew_from_needs_no_note(parted):
    folder, fork, _, head = parted
    assert parted_note(folder, arm("main", fork), arm("HEAD", head)) == ()
    assert parted_note(folder, arm("HEAD", head), arm("HEAD", head)) == ()
    assert parted_note(folder, arm("some folder", None), arm("HEAD", head)) == ()


def test_a_shallow_clone_cannot_tell_and_says_nothing(parted, project, tmp_path):
    folder, _, base, head = parted
    project.git(tmp_path, "clone", "--quiet", "--no-single-branch", "--depth=1", folder.as_uri(), "clone")
    assert parted_note(tmp_path / "clone", arm("trunk", base), arm("HEAD", head)) == ()


def test_the_gate_notes_it(parted, joulebench, tmp_path):
    folder, fork, _, _ = parted
    ended = joulebench("gate", str(folder / "gate.yaml"), "--base", "trunk", "-k", "nothing_like_it")
    assert "note: head lacks commits of base trunk" in ended.stderr
    assert fork[:12] in ended.stderr
