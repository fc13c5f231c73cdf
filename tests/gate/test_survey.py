"""What of the configuration can be gated: cases that would compare a thing with itself, or that head lost, are seen."""

import sys

import pytest

from harness.gate import targets
from harness.gate.arms import start_probe
from harness.gate.model import Verdict
from harness.gate.slots import build
from harness.gate.survey import Folders, survey
from harness.meters import open_meters

FOREVER = "9999-12-31"
TOOL = "#!/bin/sh\necho of the environment\n"


@pytest.fixture(scope="module")
def meters():
    window = open_meters(("modelled",))
    yield window
    window.close()


@pytest.fixture
def look(project, tmp_path, meters):
    """Return a function that surveys a working tree against its last commit."""

    def look(base, head, wanted=""):
        repository = project.repository(tmp_path / "repository", base)
        project.write(repository, head)
        with build(repository, "HEAD") as slots:
            config = targets.load(repository / "gate.yaml")
            folders = Folders(logs=tmp_path, scratch=tmp_path)
            how = {"file_name": "gate.yaml", "matches": lambda name: wanted in name, "say": lambda _: None}
            return survey(config, slots, meters, folders, **how)

    return look


def gated(*cases):
    return {"gate.yaml": "cases:\n" + "".join(f"  - {case}\n" for case in cases)}


def settled(found):
    return {case.name: (case.verdict, case.reason) for case in found.settled}


def names(found):
    return [case.name for case in found.cases]


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """A compiled program of the caller's own path, as far as anyone can tell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "mytool").write_text(TOOL, encoding="utf-8")
    (folder / "mytool").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder / "mytool"


def test_a_program_that_is_one_file_in_both_arms_is_gated_for_what_it_reads_and_noted(look, tool):
    found = look(gated("{name: tool, command: [mytool, --fast]}"), {})
    assert names(found) == ["tool"]
    (note,) = found.notes
    assert note.startswith(f"tool: both arms start {tool}, which lies outside the slots; only what that reads of the")


@pytest.mark.parametrize("argument", ["bench.sh", "--file=bench.sh", ".", "exec nice ./bench.sh", "package.cli"])
def test_a_command_that_names_something_of_the_slot_is_gated_and_noted(look, tool, argument):
    found = look(gated(f"{{name: tool, command: [mytool, '{argument}']}}") | {"bench.sh": "echo 1\n"}, {})
    assert names(found) == ["tool"]
    (note,) = found.notes
    assert note.startswith(f"tool: both arms start {tool}, which lies outside the slots; only what that reads")


@pytest.mark.parametrize(
    "command", ["[python, -m, package.cli]", "[python3, -S, -c, 'print(1)']", "[python, package/cli.py]", "[./run.sh]"]
)
def test_python_and_programs_of_the_slot_are_the_arms_own(look, project, tmp_path, command):
    repository = project.repository(tmp_path / "repository")
    (repository / "run.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    (repository / "run.sh").chmod(0o755)
    found = look(gated(f"{{name: a, command: {command}}}"), {})
    assert (names(found), found.notes) == (["a"], ())


def test_a_module_and_a_script_of_an_installed_package_are_judged_by_where_the_package_lies(look):
    cases = ["{name: module, command: [python, -m, json.tool]}", "{name: script, command: [pytest, --version]}"]
    ours = "{name: ours, command: [joulebench, --version]}"
    found = look(gated(*cases, ours) | {"harness/__init__.py": ""}, {})
    assert names(found) == ["ours"]
    assert [verdict for verdict, _ in settled(found).values()] == [Verdict.INVALID] * 2
    assert all("so both would measure the same" in reason for _, reason in settled(found).values())
    assert all('--build "COMMAND"' in reason for _, reason in settled(found).values())
    assert found.notes == ()


def test_a_command_that_only_one_arm_has_is_new_or_vanished(look):
    base = {"old/__init__.py": "", **gated("{name: a, command: [python, -m, old]}")}
    found = look(base, {"new/__init__.py": "", **gated("{name: b, command: [python, -m, new]}")})
    assert {name: verdict for name, (verdict, _) in settled(found).items()} == {
        "a": Verdict.VANISHED,
        "b": Verdict.NEW,
    }


def test_what_a_build_installs_is_what_a_command_runs(project, tmp_path, meters, tool):
    installs = f"mkdir -p .venv/bin; ln -s {sys.executable} .venv/bin/python; cp mytool.sh .venv/bin/mytool"
    assert tool.exists()
    repository = project.repository(tmp_path / "repository", {"mytool.sh": "#!/bin/sh\necho old\n"})
    project.write(repository, {"mytool.sh": "#!/bin/sh\necho new\n"})
    (repository / "mytool.sh").chmod(0o755)
    case = targets.CommandTarget(name="tool", command=("mytool",))
    checksums = {}
    with build(repository, "HEAD", command=f"{installs}; chmod +x .venv/bin/mytool") as slots:
        for arm in ("base", "head"):
            built = getattr(slots.pairs[0], arm)
            worker = start_probe(case, arm, built, seed=1, log=tmp_path / "log", meters=meters)
            worker.ready(60)
            checksums[arm] = worker.run(1, 0, 60).slot.checksum
            worker.kill()
    assert checksums["base"] != checksums["head"]


CHANGED = gated("{name: encode, target: 'package.fresh:encode'}")
FRESH = {"package/fresh.py": "def encode(): return 1\n"}


@pytest.mark.parametrize("accepted", [False, True])
def test_a_case_whose_target_changed_to_one_that_base_lacks_vanished_and_can_be_acknowledged(look, accepted):
    entry = f"accept: [{{case: encode, up_to: 0%, reason: rewritten, expires: {FOREVER}}}]\n" if accepted else ""
    head = {**FRESH, "gate.yaml": CHANGED["gate.yaml"] + entry}
    (case,) = look(gated("{name: encode, target: 'package.work:encode'}"), head).settled
    assert case.verdict is Verdict.VANISHED
    assert "its target changed, base's gate.yaml gates package.work:encode" in case.reason
    assert (case.accepted is not None) is accepted


def test_a_case_that_is_gated_otherwise_than_before_is_noted(look):
    found = look(
        gated("{name: encode, target: 'package.work:encode'}"),
        gated("{name: encode, target: 'package.work:encode', check: none}"),
    )
    assert names(found) == ["encode"]
    assert found.notes == ("encode stands otherwise in base's gate.yaml; both arms do what head's says",)


def test_a_base_without_the_configuration_is_noted(look):
    found = look({"gate.yml": "cases: []\n"}, gated("{name: encode, target: 'package.work:encode'}"))
    assert found.notes == ("base has no gate.yaml, so cases that it gated by another file are not seen",)


def test_cases_that_a_narrowed_suite_leaves_out_vanished(look, tiny, monkeypatch, cache):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    files = {"tiny.yaml": tiny.read_text(encoding="utf-8"), **gated("{suite: tiny.yaml, k: eager or bucketing}")}
    found = look(files, gated("{suite: tiny.yaml, k: eager}"), wanted="bucketing")
    why = "base has it, the suite tiny.yaml with k: eager of head does not"
    assert settled(found) == {"tiny/length_bucketing@cpu/offline": (Verdict.VANISHED, why)}
