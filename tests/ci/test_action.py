"""The GitHub action's own steps, and the GitLab job's own script, run here as shell from the files themselves."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.cli import cli

ROOT = Path(__file__).resolve().parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = ACTION["runs"]["steps"]
CODES = [0, 2, 10, 11, 12, 13, 14]

# What stands for joulebench where only the plumbing is tested: it notes how it was called, and ends as it is told.
STAND_IN = """\
#!{python}
import json, os, pathlib, sys
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1:2] == ["gate"]:
    folder = pathlib.Path(sys.argv[sys.argv.index("--results") + 1], "7c1e90ab", "20261123T140000Z-gate")
    code = int(os.environ["ENDS_WITH"])
    if code != 2:
        folder.mkdir(parents=True)
        (folder / "gate.md").write_text("<!-- joulebench-gate -->\\n## the summary of a stand-in\\n")
    sys.exit(code)
"""

# What stands for GitHub's own program: it notes its arguments and answers with the comments it was given.
GH = """\
#!{python}
import json, os, sys
with open(os.environ["GH_CALLS"], "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if os.environ.get("GH_FAILS"):
    sys.exit(1)
if "--jq" in sys.argv and os.environ.get("COMMENT"):
    print(os.environ["COMMENT"])
"""

GATED = """\
gate: {forks: 6, blocks: 48, looks: 1, slot_s: 0.002, min_effect: 50%, tolerance: 60%, control_drift: 90%}
cases:
  - name: count
    target: gated:count
"""


class Job:
    """One GitHub job on this machine: contexts, files, and the steps of a composite action in their order.

    Only what a runner does is done here: expressions in `env`, `if` and `working-directory`, step outputs, the
    summary file, and bash as `bash --noprofile --norc -eo pipefail FILE`.
    """

    def __init__(self, folder: Path, workspace: Path, *, event: dict, inputs: dict, environment: dict) -> None:
        self.folder, self.workspace = folder, workspace
        defaults = {name: str(each.get("default", "")) for name, each in ACTION["inputs"].items()}
        self.contexts = {
            "inputs": {**defaults, **inputs},
            "github": {"event": event, "token": "a-token"},
            "steps": {},
        }
        self.summary = folder / "summary.md"
        self.summary.touch()
        (folder / "temp").mkdir(exist_ok=True)
        self.environment = {
            **environment,
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_REPOSITORY": "someone/project",
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_WORKSPACE": str(workspace),
            "RUNNER_TEMP": str(folder / "temp"),
        }
        self.log = ""
        self.ran: list[str] = []
        self.code = 0

    def run(self) -> Job:
        for step in STEPS:
            if "run" in step and self._wanted(step):
                code = self._step(step)
                self.ran.append(step["name"])
                self.code = self.code or code
        return self

    @property
    def outputs(self) -> dict:
        return self.contexts["steps"]["gate"]["outputs"]

    def evaluate(self, expression: str) -> object:
        """Return the value of an expression in the part of GitHub's language that the action uses."""
        tokens = re.findall(r"'[^']*'|always\(\)|[\w.-]+|\|\||&&|==|!=", expression)
        assert "".join(tokens) == re.sub(r"\s", "", expression), f"unknown syntax in {expression!r}"
        words = {"||": "or", "&&": "and", "==": "==", "!=": "!=", "always()": "True"}
        python = " ".join(
            words.get(token) or (token if token.startswith("'") else f"at({token!r})") for token in tokens
        )
        return eval(python, {"at": self._at})

    def _at(self, path: str) -> object:
        value: object = self.contexts
        for part in path.split("."):
            value = value.get(part, "") if isinstance(value, dict) else ""
        return value

    def _text(self, value: str) -> str:
        return re.sub(r"\$\{\{(.*?)\}\}", lambda found: str(self.evaluate(found[1].strip())), value)

    def _wanted(self, step: dict) -> bool:
        condition = step.get("if", "")
        if self.code and "always()" not in condition:
            return False
        return bool(self.evaluate(condition)) if condition else True

    def _step(self, step: dict) -> int:
        assert step["shell"] == "bash"
        script, output = self.folder / "step.sh", self.folder / "output"
        script.write_text(step["run"], encoding="utf-8")
        output.write_text("", encoding="utf-8")
        ended = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.workspace / self._text(step.get("working-directory", ".")),
            env={
                **self.environment,
                **{name: self._text(value) for name, value in step.get("env", {}).items()},
                "GITHUB_OUTPUT": str(output),
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.log += ended.stdout + ended.stderr
        if "id" in step:
            lines = output.read_text(encoding="utf-8").splitlines()
            self.contexts["steps"][step["id"]] = {"outputs": dict(line.split("=", 1) for line in lines)}
        return ended.returncode


def git(folder: Path, *arguments: str) -> str:
    command = [
        "git",
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.org",
        "-c",
        "init.defaultBranch=main",
        *arguments,
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def program(path: Path, text: str) -> None:
    path.write_text(text.format(python=sys.executable), encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def project(tmp_path):
    """Return a repository with two commits that do the same work, cloned from an origin that has both."""
    origin = tmp_path / "origin"
    origin.mkdir()
    git(origin, "init", "--quiet")
    (origin / "gate.yaml").write_text(GATED, encoding="utf-8")
    work = "def count():\n    return sum(i * i for i in range(20_000))\n"
    (origin / "gated.py").write_text(work, encoding="utf-8")
    git(origin, "add", ".")
    git(origin, "commit", "--quiet", "-m", "base")
    (origin / "README").write_text("documentation only\n", encoding="utf-8")
    git(origin, "add", ".")
    git(origin, "commit", "--quiet", "-m", "head")
    git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")
    clone = tmp_path / "project"
    # As actions/checkout does it: head alone.
    subprocess.run(
        ["git", "clone", "--quiet", "--depth=1", origin.as_uri(), str(clone)], check=True, capture_output=True
    )
    return clone


@pytest.fixture
def base(project):
    return git(project.parent / "origin", "rev-parse", "HEAD~1")


@pytest.fixture
def programs(tmp_path):
    """Return a folder to put first on the path, with `gh`."""
    folder = tmp_path / "programs"
    folder.mkdir()
    program(folder / "gh", GH)
    return folder


@pytest.fixture
def surroundings(tmp_path, programs, environment):
    """Return the environment of the job: the programs of this test, those of this Python, and the system's."""
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {name: value for name, value in environment.items() if not name.startswith(("GITHUB_", "CI_"))}
    return {**kept, "PATH": path, "CALLS": str(tmp_path / "calls"), "GH_CALLS": str(tmp_path / "gh-calls")}


@pytest.fixture
def job(tmp_path, project, base, surroundings):
    """Return a function that runs the action on the pull request of this project."""

    def start(*, number: int | None = None, **inputs: str) -> Job:
        folder = tmp_path / "runner"
        folder.mkdir(exist_ok=True)
        request = {"base": {"sha": base}, **({"number": number} if number else {})}
        return Job(folder, project, event={"pull_request": request}, inputs=inputs, environment=surroundings)

    return start


@pytest.fixture
def stand_in(programs, surroundings):
    """Return a function that puts a joulebench on the path that ends with a given code."""

    def place(code: int) -> None:
        program(programs / "joulebench", STAND_IN)
        surroundings["ENDS_WITH"] = str(code)

    return place


def calls(tmp_path, name="calls"):
    path = tmp_path / name
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def test_no_script_holds_an_expression_so_no_branch_name_is_ever_run():
    assert all("${{" not in step.get("run", "") for step in STEPS)


def test_every_input_is_described_and_every_one_the_steps_read_exists():
    assert all(each["description"] for each in ACTION["inputs"].values())
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(ACTION["inputs"])
    documented = (ROOT / "docs" / "ci" / "github.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([\w-]+)` \|", documented, re.MULTILINE)) == set(ACTION["inputs"])


@pytest.mark.parametrize("code", CODES)
def test_the_exit_code_of_the_gate_is_that_of_the_job(job, stand_in, code):
    stand_in(code)
    ended = job().run()
    assert ended.code == code
    assert ended.outputs["exit-code"] == str(code)
    assert "Pass on the exit code" in ended.ran


def test_the_summary_of_the_gate_is_that_of_the_job(job, stand_in):
    stand_in(10)
    ended = job().run()
    assert ended.summary.read_text(encoding="utf-8") == "<!-- joulebench-gate -->\n## the summary of a stand-in\n"


def test_a_gate_that_ends_without_a_verdict_says_so_in_the_summary(job, stand_in):
    stand_in(2)
    assert "no verdict (exit 2)" in job().run().summary.read_text(encoding="utf-8")


def test_the_gate_is_asked_what_the_inputs_say(job, stand_in, tmp_path, base):
    stand_in(0)
    ended = job(config="ci/gate.yaml", budget="3m", strict="true").run()
    results = ended.outputs["results"]
    asked = ["gate", "ci/gate.yaml", "--base", base, "--budget", "3m", "--results", results, "--strict"]
    assert calls(tmp_path) == [["--version"], asked]
    assert Path(results).parent == tmp_path / "runner" / "temp"


def test_a_selection_and_a_build_are_passed_on_as_one_word_each(job, stand_in, tmp_path):
    stand_in(0)
    job(select="encode or decode", build="uv sync --frozen").run()
    assert calls(tmp_path)[1][-4:] == ["-k", "encode or decode", "--build", "uv sync --frozen"]


def test_the_second_gate_of_a_job_never_shows_the_result_of_the_first(job, stand_in):
    stand_in(0)
    first = job().run()
    stand_in(2)
    second = job().run()
    assert first.outputs["results"] != second.outputs["results"]
    shown = second.summary.read_text(encoding="utf-8")
    assert shown.count("the summary of a stand-in") == 1
    assert "no verdict (exit 2)" in shown


def test_a_named_gate_has_its_name_in_summary_comment_and_artifact(job, stand_in, tmp_path):
    stand_in(10)
    ended = job(number=7, comment="true", name="ci-2").run()
    assert ended.code == 10
    shown = ended.summary.read_text(encoding="utf-8")
    assert shown == "<!-- joulebench-gate ci-2 -->\n## ci-2: the summary of a stand-in\n"
    listed, posted = calls(tmp_path, "gh-calls")
    assert 'startswith("<!-- joulebench-gate ci-2 -->")' in listed[-1]
    assert Path(posted[6].removeprefix("body=@")).read_text(encoding="utf-8") == shown
    (kept,) = [step for step in STEPS if step.get("uses", "").startswith("actions/upload-artifact")]
    assert "inputs.name" in kept["with"]["name"]


def test_a_name_that_could_be_more_than_a_name_is_refused(job, stand_in, tmp_path):
    stand_in(0)
    ended = job(name='x") | halt_error').run()
    assert ended.code == 2
    assert "name may hold letters" in ended.log
    assert calls(tmp_path) == []


def test_the_first_push_of_a_branch_is_compared_with_the_default_branch(job, stand_in, project, tmp_path):
    stand_in(0)
    started = job()
    started.contexts["github"]["event"] = {"before": "0" * 40, "repository": {"default_branch": "main"}}
    assert started.run().code == 0
    assert calls(tmp_path)[1][3] == git(project.parent / "origin", "rev-parse", "main")


def test_a_base_that_a_shallow_checkout_lacks_is_fetched(job, stand_in, project, base):
    stand_in(0)
    job().run()
    assert git(project, "cat-file", "-t", base) == "commit"


def test_a_base_by_the_name_of_a_branch_becomes_its_commit(job, stand_in, project, tmp_path):
    stand_in(0)
    git(project.parent / "origin", "branch", "release", "HEAD~1")
    job(base="origin/release").run()
    wanted = git(project.parent / "origin", "rev-parse", "release")
    assert calls(tmp_path)[1][3] == wanted


def test_a_base_that_does_not_exist_is_left_to_the_gate_to_refuse(job, stand_in, tmp_path):
    stand_in(2)
    assert job(base="no-such-branch").run().code == 2
    assert calls(tmp_path)[1][3] == "no-such-branch"


def test_an_event_without_a_base_is_told_before_anything_runs(job, stand_in, tmp_path):
    stand_in(0)
    started = job()
    started.contexts["github"]["event"] = {}
    assert started.run().code == 2
    assert "nothing to compare with" in started.log
    assert calls(tmp_path) == [["--version"]]


def test_a_hostile_name_is_only_a_name(job, stand_in, project, tmp_path):
    stand_in(2)
    job(base='$(touch pwned)"; touch pwned #', config="a b; touch pwned").run()
    assert calls(tmp_path)[1][1] == "a b; touch pwned"
    assert not (project / "pwned").exists()


def test_no_comment_is_written_unless_asked_for(job, stand_in, tmp_path):
    stand_in(10)
    job(number=7).run()
    assert calls(tmp_path, "gh-calls") == []


def test_the_first_comment_is_posted(job, stand_in, tmp_path):
    stand_in(10)
    assert job(number=7, comment="true").run().code == 10
    _, posted = calls(tmp_path, "gh-calls")
    assert posted[:4] == ["api", "--silent", "--method", "POST"]
    assert posted[4] == "repos/someone/project/issues/7/comments"
    assert posted[6].startswith("body=@")


def test_the_next_run_updates_its_own_comment_found_by_the_marker(job, stand_in, tmp_path, surroundings):
    from harness.gate.markdown import MARKER

    stand_in(0)
    surroundings["COMMENT"] = "1234\n5678"
    job(number=7, comment="true").run()
    listed, patched = calls(tmp_path, "gh-calls")
    assert MARKER in listed[-1]
    assert patched[3:5] == ["PATCH", "repos/someone/project/issues/comments/1234"]


def test_a_comment_that_may_not_be_written_changes_no_verdict(job, stand_in, surroundings):
    stand_in(0)
    surroundings["GH_FAILS"] = "yes"
    ended = job(number=7, comment="true").run()
    assert ended.code == 0
    assert "::warning::the energy gate's comment was not written" in ended.log


def test_the_real_gate_runs_from_the_action(job):
    ended = job(budget="90s").run()
    # Two commits of the same code: no regression, whatever else a busy machine leaves undecided.
    assert ended.code == 0, ended.log
    summary = ended.summary.read_text(encoding="utf-8")
    assert summary.startswith("<!-- joulebench-gate -->\n## ")
    assert "count" in summary
    (gate,) = Path(ended.outputs["results"]).glob("*/*/gate.json")
    assert json.loads(gate.read_bytes())["cases"][0]["name"] == "count"
    assert gate.with_name("gate.xml").exists()


def test_a_real_regression_fails_the_job_with_10_and_names_the_case(job, project):
    code = (project / "gated.py").read_text(encoding="utf-8")
    # Twice the work for the same answer.
    (project / "gated.py").write_text(code.replace("return sum", "sum(i * i for i in range(20_000))\n    return sum"))
    git(project, "commit", "--quiet", "-am", "costs more")
    ended = job(budget="2m").run()
    assert ended.code == 10, ended.log
    assert "| FAIL | count |" in ended.summary.read_text(encoding="utf-8")
    assert "GATE FAIL count" in ended.log
    assert "::error::energy a task has risen (exit 10)" in ended.log


def test_a_config_that_is_not_there_ends_the_job_with_2(job):
    ended = job(config="missing.yaml").run()
    assert ended.code == 2
    assert "missing.yaml" in ended.log


class TestGitLab:
    TEMPLATE = yaml.safe_load((ROOT / "docs" / "ci" / "gitlab-template.yml").read_text(encoding="utf-8"))
    JOB = TEMPLATE[".joulebench-gate"]

    def run(self, project, surroundings, **variables):
        script = "set -eo pipefail\n" + "\n".join(self.JOB["script"])
        values = {**self.JOB["variables"], **variables}
        return subprocess.run(
            ["bash", "-c", script],
            cwd=project,
            env={**surroundings, **values},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    @pytest.mark.parametrize("code", CODES)
    def test_the_exit_code_of_the_gate_is_that_of_the_job(self, project, base, surroundings, stand_in, tmp_path, code):
        stand_in(code)
        ended = self.run(project, surroundings, CI_MERGE_REQUEST_DIFF_BASE_SHA=base)
        assert ended.returncode == code, ended.stderr
        asked = ["gate", "gate.yaml", "--base", base, "--budget", "10m", "--results", "joulebench-gate"]
        assert calls(tmp_path) == [asked]

    def test_strict_is_passed_on(self, project, base, surroundings, stand_in, tmp_path):
        stand_in(11)
        assert self.run(project, surroundings, JOULEBENCH_BASE=base, JOULEBENCH_STRICT="true").returncode == 11
        assert calls(tmp_path)[0][-1] == "--strict"
        assert self.JOB["allow_failure"]["exit_codes"] == [11]

    def test_the_first_push_of_a_branch_is_compared_with_the_default_branch(
        self, project, surroundings, stand_in, tmp_path
    ):
        stand_in(0)
        ended = self.run(project, surroundings, CI_COMMIT_BEFORE_SHA="0" * 40, CI_DEFAULT_BRANCH="main")
        assert ended.returncode == 0, ended.stderr
        assert calls(tmp_path)[0][3] == git(project.parent / "origin", "rev-parse", "main")
        assert self.run(project, surroundings, CI_COMMIT_BEFORE_SHA="0" * 40).returncode == 2

    def test_a_selection_and_a_build_are_passed_on_as_one_word_each(
        self, project, base, surroundings, stand_in, tmp_path
    ):
        stand_in(0)
        asked = {"JOULEBENCH_SELECT": "encode or decode", "JOULEBENCH_BUILD": "uv sync --frozen"}
        assert self.run(project, surroundings, JOULEBENCH_BASE=base, **asked).returncode == 0
        assert calls(tmp_path)[0][-4:] == ["-k", "encode or decode", "--build", "uv sync --frozen"]

    def test_a_pipeline_without_a_base_is_told(self, project, surroundings, stand_in):
        stand_in(0)
        ended = self.run(project, surroundings)
        assert ended.returncode == 2
        assert "set JOULEBENCH_BASE" in ended.stdout

    def test_the_junit_of_the_artifacts_is_where_the_gate_writes_it(self, tmp_path, monkeypatch):
        from harness.gate import writing

        monkeypatch.chdir(tmp_path)
        folder = writing.create_gate(Path("joulebench-gate"), "7c1e90ab" + "0" * 56, "2026-11-23T14:00:00Z")
        pattern = self.JOB["artifacts"]["reports"]["junit"]
        assert pattern.endswith(writing.JUNIT)
        assert folder in [path.parent for path in [folder / writing.JUNIT] if path.match(pattern)]

    def test_the_real_gate_runs_from_the_template(self, project, base, surroundings):
        ended = self.run(project, surroundings, JOULEBENCH_BASE=base, JOULEBENCH_BUDGET="90s")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert len(list(project.glob("joulebench-gate/*/*/gate.xml"))) == 1

    def test_every_variable_is_documented(self):
        documented = (ROOT / "docs" / "ci" / "gitlab.md").read_text(encoding="utf-8")
        assert set(re.findall(r"`(JOULEBENCH_\w+)` \|", documented)) == set(self.JOB["variables"])


def test_the_examples_name_inputs_variables_and_jobs_that_exist():
    folder = ROOT / "docs" / "ci"
    workflow = yaml.safe_load((folder / "example-workflow.yml").read_text(encoding="utf-8"))
    (step,) = [step for step in workflow["jobs"]["gate"]["steps"] if "joulebench" in step.get("uses", "")]
    assert set(step["with"]) <= set(ACTION["inputs"])
    example = yaml.safe_load((folder / "gitlab-example.yml").read_text(encoding="utf-8"))["energy"]
    assert example["extends"] in TestGitLab.TEMPLATE
    assert set(example["variables"]) <= set(TestGitLab.JOB["variables"])


def test_every_command_in_the_docs_of_ci_exists():
    for page in (ROOT / "docs" / "gate.md", *(ROOT / "docs" / "ci").glob("*.md")):
        for command in re.findall(r"^joulebench (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert shlex.split(command)[0] in cli.commands
