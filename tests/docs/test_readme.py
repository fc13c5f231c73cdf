"""The README shows what the program prints, from results that are committed."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_is_what_report_prints_of_the_committed_run(joulebench):
    command, shown = re.search(r"<!-- example: (.*?) -->\n```\n(.*?)```", README, re.DOTALL).groups()
    folder = command.removeprefix("joulebench report ")
    printed = joulebench("report", str(ROOT / folder)).stdout
    lines = [line.rstrip() for line in printed.splitlines()]
    wanted = [line.rstrip() for line in shown.splitlines()]
    start = lines.index(wanted[0])
    assert lines[start : start + len(wanted)] == wanted


def test_every_command_of_the_table_exists():
    from harness.cli import cli

    named = set(re.findall(r"^\| `joulebench ([\w-]+)", README, re.MULTILINE))
    assert named == set(cli.commands)


def test_every_suite_the_readme_names_is_there():
    for name in set(re.findall(r"configs/\w+\.yaml", README)):
        assert (ROOT / name).is_file()


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_example_in_python_runs_as_it_stands(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    names["step"]()
    assert capsys.readouterr().out.startswith("encode: ")
    assert names["window"].energy_per_task_j > 0
    assert len(names["step"].windows) == 1
