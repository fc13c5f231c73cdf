"""Base and head as folders: what is in them, where they lie, and that nothing of them is left."""

import os
import subprocess
import sys

import pytest

from harness.errors import UsageError
from harness.gate.slots import build, environment


@pytest.fixture
def repository(project, tmp_path):
    return project.repository(tmp_path / "repository", {".gitignore": "ignored.txt\n", "gone.txt": "here\n"})


def text(built, name):
    return (built.root / name).read_text(encoding="utf-8")


def test_base_is_the_commit_and_head_the_working_tree_with_what_is_not_ignored(project, repository):
    project.write(repository, {"package/work.py": "CHANGED = 1\n", "new.txt": "new\n", "ignored.txt": "private\n"})
    (repository / "gone.txt").unlink()
    with build(repository, "HEAD") as slots:
        for pair in slots.pairs:
            assert "def encode" in text(pair.base, "package/work.py")
            assert (pair.base.root / "gone.txt").exists()
            assert not (pair.base.root / "new.txt").exists()
            assert text(pair.head, "package/work.py") == "CHANGED = 1\n"
            assert text(pair.head, "new.txt") == "new\n"
            assert not (pair.head.root / "ignored.txt").exists()
            assert not (pair.head.root / "gone.txt").exists()
        assert slots.head.dirty
        assert not slots.base.dirty


def test_paths_have_equal_length_and_the_arms_exchange_places_between_the_pairs(repository):
    with build(repository, "HEAD") as slots:
        first, second = slots.pairs
        assert len({len(str(built.root)) for pair in slots.pairs for built in (pair.base, pair.head)}) == 1
        assert (first.base.place.name, first.head.place.name) == (second.head.place.name, second.base.place.name)


def test_a_clean_tree_is_not_dirty_and_head_may_be_a_ref(project, repository):
    first = project.git(repository, "rev-parse", "HEAD")
    project.write(repository, {"package/work.py": "CHANGED = 1\n"})
    second = project.commit(repository)
    project.write(repository, {"package/work.py": "DIRTY = 1\n"})
    with build(
        repository, "HEAD~1", "main" if project.git(repository, "branch", "--list", "main") else "HEAD"
    ) as slots:
        assert (slots.base.commit, slots.head.commit, slots.head.dirty) == (first, second, False)
        assert text(slots.pairs[0].head, "package/work.py") == "CHANGED = 1\n"


def test_results_that_lie_in_the_working_tree_are_no_part_of_it(project, repository):
    project.write(repository, {"results/old/blocks.jsonl": "{}\n"})
    with build(repository, "HEAD", apart=repository / "results") as slots:
        assert not slots.head.dirty
        assert not (slots.pairs[0].head.root / "results").exists()


def test_the_project_may_lie_below_the_top_of_the_repository_and_keep_its_packages_in_src(project, repository):
    project.write(repository, {"part/src/other/__init__.py": "", "part/gate.yaml": ""})
    project.commit(repository)
    with build(repository / "part", "HEAD") as slots:
        built = slots.pairs[0].base
        assert built.root == built.place / "part"
        assert environment(built)["PYTHONPATH"].split(":")[:2] == [str(built.root), str(built.root / "src")]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_nothing_is_left_after_an_error_or_ctrl_c_and_the_repository_is_as_it_was(project, repository, error):
    before = project.git(repository, "worktree", "list"), project.git(repository, "status", "--porcelain")
    seen = []

    def interrupted():
        with build(repository, "HEAD") as slots:
            seen.append(slots.pairs[0].base.place)
            raise error

    with pytest.raises(error):
        interrupted()
    assert not seen[0].parent.parent.exists()
    assert before == (project.git(repository, "worktree", "list"), project.git(repository, "status", "--porcelain"))


def test_a_build_runs_in_every_slot_and_its_environment_is_used(repository):
    command = "mkdir -p .venv/bin && ln -s $(command -v python3) .venv/bin/python && touch built.txt"
    with build(repository, "HEAD", command=command) as slots:
        for pair in slots.pairs:
            for built in (pair.base, pair.head):
                assert (built.root / "built.txt").exists()
                assert built.python == built.root / ".venv/bin/python"


def test_a_build_that_fails_is_told_with_its_last_words(repository):
    with (
        pytest.raises(UsageError, match="ended with exit code 3 for base") as caught,
        build(repository, "HEAD", command="echo no compiler; exit 3"),
    ):
        pass
    assert "no compiler" in str(caught.value)


def test_base_may_be_an_interpreter_which_then_runs_heads_code(repository):
    with build(repository, sys.executable) as slots:
        assert str(slots.pairs[0].base.python) == sys.executable
        assert slots.base.lock_sha256 is not None
        assert text(slots.pairs[0].base, "package/work.py") == text(slots.pairs[0].head, "package/work.py")


def test_base_may_be_a_folder(project, repository, tmp_path):
    project.write(tmp_path / "release", {"package/work.py": "RELEASED = 1\n"})
    with build(repository, str(tmp_path / "release")) as slots:
        assert text(slots.pairs[1].base, "package/work.py") == "RELEASED = 1\n"
        assert slots.base.commit is None


def test_unlike_dependencies_in_one_environment_are_noted(project, repository):
    project.write(repository, {"requirements.txt": "numpy==2.4.0\n"})
    with build(repository, "HEAD") as slots:
        assert any("requirements.txt" in note for note in slots.notes)
        assert slots.base.lock_sha256 != slots.head.lock_sha256
    with build(repository, "HEAD", command="true") as slots:
        assert not any("requirements.txt" in note for note in slots.notes)


def test_changes_that_no_commit_holds_are_noted(project, repository):
    with build(repository, "HEAD") as slots:
        assert slots.notes == ()
    project.write(repository, {"new.txt": "new\n"})
    with build(repository, "HEAD") as slots:
        assert "changes that no commit holds" in slots.notes[0]
    with build(repository, "HEAD", "HEAD") as slots:
        assert slots.notes == ()


def test_slots_that_cannot_be_laid_out_say_where_and_why(repository, tmp_path):
    (tmp_path / "release").mkdir()
    os.mkfifo(tmp_path / "release/fifo")
    with (
        pytest.raises(UsageError, match=r"cannot be laid out in .*fifo.*; make room there, or set TMPDIR"),
        build(repository, str(tmp_path / "release")),
    ):
        pass


def test_an_unknown_ref_names_the_nearest(project, repository):
    project.git(repository, "tag", "v1.2")
    with pytest.raises(UsageError, match=r"git knows no 'v1\.3'; did you mean 'v1\.2'"), build(repository, "v1.3"):
        pass


def test_a_shallow_clone_says_how_to_get_the_base(project, repository, tmp_path):
    project.write(repository, {"a.txt": "1"})
    project.commit(repository)
    clone = ["git", "clone", "--quiet", "--depth=1", f"file://{repository}", str(tmp_path / "clone")]
    subprocess.run(clone, check=True)
    with pytest.raises(UsageError, match="fetch-depth: 0"), build(tmp_path / "clone", "HEAD~1"):
        pass
    with build(tmp_path / "clone", "HEAD") as slots:
        assert text(slots.pairs[0].base, "a.txt") == "1"


def test_a_folder_that_is_not_under_git_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is not in a git repository"), build(tmp_path, "HEAD"):
        pass


def test_tracked_results_are_in_both_arms_and_what_was_measured_since_in_neither(project, repository):
    project.write(repository, {"results/reference/own.json": "1\n"})
    project.commit(repository)
    project.write(repository, {"results/ab/blocks.jsonl": "{}\n"})
    with build(repository, "HEAD", apart=repository / "results") as slots:
        for built in (slots.pairs[0].base, slots.pairs[0].head):
            assert text(built, "results/reference/own.json") == "1\n"
            assert not (built.root / "results/ab").exists()
        assert not slots.head.dirty
    project.write(repository, {"results/reference/own.json": "2\n"})
    with build(repository, "HEAD", apart=repository / "results") as slots:
        assert text(slots.pairs[0].head, "results/reference/own.json") == "2\n"
        assert slots.head.dirty


def test_results_where_the_project_lies_are_refused_for_they_would_be_part_of_head(repository):
    with pytest.raises(UsageError, match=r"name a folder of their own"), build(repository, "HEAD", apart=repository):
        pass


def test_a_ref_counts_before_a_program_of_its_name(project, repository, monkeypatch):
    monkeypatch.chdir(repository)
    project.git(repository, "branch", "release")
    (repository / "release").symlink_to(sys.executable)
    with build(repository, "release") as slots:
        assert slots.base.commit == project.git(repository, "rev-parse", "HEAD")
        assert slots.pairs[0].base.python == slots.pairs[0].head.python


def test_programs_of_an_arms_environment_come_first(repository):
    command = "mkdir -p .venv/bin && ln -s $(command -v python3) .venv/bin/python && touch .venv/pyvenv.cfg"
    with build(repository, "HEAD", command=command) as slots:
        built = slots.pairs[0].head
        assert environment(built)["PATH"].startswith(f"{built.root / '.venv/bin'}{os.pathsep}")
        assert environment(built)["VIRTUAL_ENV"] == str(built.root / ".venv")
