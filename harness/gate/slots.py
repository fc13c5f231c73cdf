"""The slots: base and head as folders whose paths have equal length, so that neither arm has the longer one.

There are two pairs, with the arms in exchanged places, and forks use either: what a place does to an arm, it does to
both. A slot holds exactly what git knows: of a ref its files, of the working tree what is tracked, and what is
neither tracked nor ignored. Nothing of the repository is touched: trees are written through an index of the gate's
own. Both arms run in one environment, the current one, unless each builds its own (`--build`).
"""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness.errors import UsageError
from harness.gate.locking import dependencies, environment_sha256
from harness.gate.model import Arm
from harness.records import Frozen

_PLACES = ("slot-a", "slot-b")
"""Equal in length."""


class Built(Frozen, frozen=True, kw_only=True):
    """One arm on disk: `root` is the folder of the gate's configuration in it, `python` what runs it."""

    place: Path
    root: Path
    python: Path


class Pair(Frozen, frozen=True, kw_only=True):
    """Both arms, one in either place."""

    base: Built
    head: Built


class Slots(Frozen, frozen=True, kw_only=True):
    """Both arms in both places; `notes` are for people."""

    base: Arm
    head: Arm
    pairs: tuple[Pair, Pair]
    notes: tuple[str, ...] = ()


@contextlib.contextmanager
def build(
    project: Path, base: str, head: str | None = None, *, command: str | None = None, apart: Path | None = None
) -> Iterator[Slots]:
    """Build base and head, and remove them afterwards whatever happens.

    Args:
        project: the folder of the gate's configuration, in a git repository.
        base: a git ref; or a folder, which is copied; or a Python interpreter, which then runs head's code.
        head: a git ref; by default the working tree.
        command: run by the shell in each slot; `.venv/bin/python` of a slot is then used where it exists.
        apart: a folder of the working tree where results are written: what git does not track there is no part of it.

    Raises: UsageError: no git repository, an unknown ref, a build that fails, no room for the slots, an `apart` that
        holds the project.
    """
    top, prefix = _repository(project)
    tree = _Tree(top, prefix, _untracked(top, project, apart))
    with tempfile.TemporaryDirectory(prefix="joulebench-gate-", ignore_cleanup_errors=True) as scratch:
        try:
            slots = _laid_out(tree, base, head, Path(scratch).resolve())
        except (OSError, subprocess.CalledProcessError) as error:
            raise UsageError(
                f"base and head cannot be laid out in {scratch}: {_last_words(error)}; make room there, or set TMPDIR "
                "to another folder"
            ) from error
        first, second = slots.pairs
        notes = _differences(first.base, first.head, command, dirty=slots.head.dirty)
        if command is not None:
            first, second = _equipped(first, command), _equipped(second, command)
        yield msgspec.structs.replace(slots, pairs=(first, second), notes=notes)


def environment(built: Built) -> dict[str, str]:
    """Return where an arm finds its modules and programs.

    `PYTHONPATH` begins with its root, and `src` where the project keeps its packages there; `PATH` with the folder of
    its Python, where an environment has its programs.
    """
    own = [str(built.root), *([str(built.root / "src")] if (built.root / "src").is_dir() else [])]
    programs = built.python.parent
    found = {
        "PYTHONPATH": os.pathsep.join(filter(None, (*own, os.environ.get("PYTHONPATH")))),
        "PATH": os.pathsep.join([str(programs), *os.get_exec_path()]),
    }
    # A program that is told of an environment must be told of the arm's, not of the caller's.
    return found | ({"VIRTUAL_ENV": str(programs.parent)} if (programs.parent / "pyvenv.cfg").is_file() else {})


class _Tree(NamedTuple):
    """A repository, where the project lies in it, and which untracked files of its working tree to look at."""

    top: Path
    prefix: str
    untracked: tuple[str, ...]


def _laid_out(tree: _Tree, base: str, head: str | None, scratch: Path) -> Slots:
    first, second = scratch / "pair-1", scratch / "pair-2"
    first.mkdir()
    head_arm, newer = _of_git(tree, head, first / _PLACES[1])
    base_arm, older = _base(tree, base, head, first / _PLACES[0])
    exchanged = Pair(base=_copied(older, second / _PLACES[1]), head=_copied(newer, second / _PLACES[0]))
    return Slots(base=base_arm, head=head_arm, pairs=(Pair(base=older, head=newer), exchanged))


def _last_words(error: OSError | subprocess.CalledProcessError) -> str:
    """Return why a copy or git failed; one line, for `copytree` lists every file."""
    if isinstance(error, subprocess.CalledProcessError):
        return str(error.stderr).strip().splitlines()[-1] if str(error.stderr).strip() else str(error)
    return error.strerror or str(error)[:300]


def _untracked(top: Path, project: Path, apart: Path | None) -> tuple[str, ...]:
    """Return the pathspec of the files that git does not track and that are part of the working tree all the same."""
    if apart is None or not apart.resolve().is_relative_to(top.resolve()):
        return ()
    if project.resolve().is_relative_to(apart.resolve()):
        raise UsageError(
            f"results in {apart} would be taken for files of head: the project lies there; name a folder of their own, "
            f"for example --results {apart / 'results'}"
        )
    return ("--", ".", f":(top,exclude,literal){apart.resolve().relative_to(top.resolve())}")


def _copied(built: Built, place: Path) -> Built:
    shutil.copytree(built.place, place, symlinks=True)
    return msgspec.structs.replace(built, place=place, root=place / built.root.relative_to(built.place))


def _repository(project: Path) -> tuple[Path, str]:
    """Return the top of the repository and where the project lies in it."""
    if shutil.which("git") is None:
        raise UsageError("the gate needs git to build base and head; install it")
    try:
        top, prefix = _git(project, "rev-parse", "--show-toplevel", "--show-prefix").split("\n")[:2]
    except subprocess.CalledProcessError as error:
        raise UsageError(
            f"{project.resolve()} is not in a git repository, so there is no base to compare with; run the gate where "
            f"gate.yaml is under git ({error.stderr.strip()})"
        ) from error
    return Path(top), prefix


def _base(tree: _Tree, base: str, head: str | None, place: Path) -> tuple[Arm, Built]:
    path = Path(base).expanduser()
    # Files and folders may be called like a branch.
    if _commit(tree.top, base) is not None:
        return _of_git(tree, base, place)
    if path.is_dir():
        shutil.copytree(path, place, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__"))
        arm = Arm(ref=base, commit=None, dirty=False, lock_sha256=dependencies(place).sha256)
        return arm, Built(place=place, root=place, python=Path(sys.executable))
    if path.is_file() and os.access(path, os.X_OK):
        arm, built = _of_git(tree, head, place)
        # A link into a virtual environment must stay as it is: resolved, it would be the interpreter outside.
        python = path.absolute()
        arm = msgspec.structs.replace(arm, ref=base, lock_sha256=environment_sha256(python))
        return arm, msgspec.structs.replace(built, python=python)
    return _of_git(tree, base, place)


def _of_git(tree: _Tree, ref: str | None, place: Path) -> tuple[Arm, Built]:
    place.mkdir()
    if ref is None:
        commit = _commit(tree.top, "HEAD")
        dirty = commit is None or bool(_changes(tree))
        _copy_tree(tree, place)
    else:
        commit, dirty = _known_commit(tree.top, ref), False
        _write_tree(tree.top, commit, place)
    root = place / tree.prefix
    root.mkdir(parents=True, exist_ok=True)
    arm = Arm(ref=ref or "working tree", commit=commit, dirty=dirty, lock_sha256=dependencies(root).sha256)
    return arm, Built(place=place, root=root, python=Path(sys.executable))


def _changes(tree: _Tree) -> str:
    tracked = _git(tree.top, "status", "--porcelain", "--untracked-files=no")
    return tracked + _git(tree.top, "ls-files", "--others", "--exclude-standard", *tree.untracked)


def _copy_tree(tree: _Tree, place: Path) -> None:
    listed = _git(tree.top, "ls-files", "-z", "--cached", "--deduplicate")
    listed += _git(tree.top, "ls-files", "-z", "--others", "--exclude-standard", *tree.untracked)
    for name in filter(None, listed.split("\0")):
        source, target = tree.top / name, place / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def _write_tree(top: Path, commit: str, place: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="joulebench-index-") as scratch:
        index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        _git(top, "read-tree", commit, environment=index)
        _git(top, "checkout-index", "--all", f"--prefix={place}/", environment=index)


def _known_commit(top: Path, ref: str) -> str:
    commit = _commit(top, ref)
    if commit is not None:
        return commit
    names = _git(top, "for-each-ref", "--format=%(refname:short)").split()
    near = difflib.get_close_matches(ref, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    shallow = _git(top, "rev-parse", "--is-shallow-repository").strip() == "true"
    more = "this clone is shallow: fetch the whole history (fetch-depth: 0). " if shallow else ""
    raise UsageError(f"git knows no {ref!r}; {hint}{more}Known: {', '.join(names[:10]) or 'no ref at all'}")


def _commit(top: Path, ref: str) -> str | None:
    try:
        return _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}").strip()
    except subprocess.CalledProcessError:
        return None


def _git(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> str:
    # Hooks and aliases of CI may have set these for a repository that is not the one asked about.
    clean = {key: value for key, value in os.environ.items() if key not in ("GIT_DIR", "GIT_WORK_TREE")}
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607 git from the PATH, as users have it
        cwd=folder,
        env={**clean, **(environment or {})},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=True,
    )
    return done.stdout


def _differences(older: Built, newer: Built, command: str | None, *, dirty: bool) -> tuple[str, ...]:
    notes = []
    if dirty:
        notes.append("head is the working tree with changes that no commit holds; --head HEAD leaves them out")
    names = dependencies(newer.root).differing(dependencies(older.root))
    if names and command is None and older.python == newer.python:
        notes.append(
            f"base and head ask for different dependencies ({', '.join(names)}), but both were measured in the current "
            'environment; --build "COMMAND" gives each its own'
        )
    if (newer.place / ".gitmodules").exists():
        notes.append("submodules are not part of the slots; a case that needs them fails")
    return tuple(notes)


def _equipped(pair: Pair, command: str) -> Pair:
    return Pair(base=_built(pair.base, "base", command), head=_built(pair.head, "head", command))


def _built(built: Built, arm: str, command: str) -> Built:
    # The shell is what was asked for: people write `uv sync && make`.
    with subprocess.Popen(  # noqa: S602
        command,
        cwd=built.root,
        shell=True,
        env={key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as shell:
        try:
            said, _ = shell.communicate()
        except BaseException:
            # What the shell has started must end with it: the slots are removed next.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            raise
    if shell.returncode != 0:
        last = "\n".join(said.strip().splitlines()[-10:])
        raise UsageError(
            f"--build {command!r} ended with exit code {shell.returncode} for {arm}, in {built.root}:\n{last}"
        )
    python = built.root / ".venv/bin/python"
    return msgspec.structs.replace(built, python=python) if python.exists() else built
