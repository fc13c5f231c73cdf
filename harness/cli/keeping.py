"""The commands that keep results and hand them on, with their options: `export`, `baseline`, `calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.commands import _JSON, _RESULTS, _SELECT

_FORMATS = ("bmf", "github-action-benchmark", "pytest-benchmark", "csv", "parquet")
_RUN = click.argument("run", type=click.Path(path_type=Path))


@click.command()
@_RUN
@click.option("--to", "form", type=click.Choice(_FORMATS), required=True, help="The format to write.")
@click.option("--output", type=click.Path(path_type=Path), help="Write to this file instead of standard output.")
@click.option("--json", "as_json", is_flag=True, help="With --output: print what was written and what was left out.")
def export(run: Path, form: str, output: Path | None, as_json: bool) -> int:
    """Write a run or a gate in another tool's format; says on standard error which cases have no figures.

    \b
    joulebench export results/1a2b3c4d/20261123T140000Z-quick --to pytest-benchmark --output quick.json
    joulebench export results/1a2b3c4d/20261123T140000Z-gate --to bmf
    """
    from harness.cli import exporting

    return exporting.export(run, form, output, as_json=as_json)


@click.command()
@click.argument("action", type=click.Choice(["add", "list", "show"]))
@click.argument("what", required=False, metavar="[RUN|NUMBER]")
@_RESULTS
@click.option("--note", default="", help="With add: what this baseline is, for people.")
@_JSON
def baseline(action: str, what: str | None, results: Path, note: str, as_json: bool) -> int:
    """Keep runs as baselines for later ones, in an append-only file beside the results.

    `add` appends a finished run (do so from the default branch only), `list` lists them and fails where the file was
    edited, `show` checks the files of one against its entry. `joulebench gate --baseline` holds runs against them.

    \b
    joulebench baseline add results/1a2b3c4d/20261123T140000Z-quick --note "release 1.2"
    joulebench baseline list
    joulebench baseline show 3
    """
    from harness.cli import baselining

    if action == "list":
        return baselining.show_all(results, as_json=as_json)
    if what is None:
        raise click.UsageError("name the run to add" if action == "add" else "give the number that `list` shows")
    if action == "add":
        return baselining.add(Path(what), results, note, as_json=as_json)
    if not what.isdigit():
        raise click.UsageError(f"{what!r} is not a number that `joulebench baseline list` shows")
    return baselining.show(int(what), results, as_json=as_json)


@click.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("--trials", type=click.IntRange(min=1), default=20, show_default=True, help="Gate runs to make.")
@click.option("--budget", default="10m", show_default=True, metavar="DURATION", help="Wall time all of them may take.")
@_SELECT
@click.option(
    "--build", metavar="COMMAND", help="As in `gate`: run this in each slot; its .venv/bin/python is then used."
)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Where a trial that alarmed is kept.",
)
@_JSON
def calibrate(config: Path | None, **options: Any) -> int:
    """Count how often the gate alarms on this host where base and head are the same code.

    Measures a fixed kernel, or the cases of a gate.yaml (its last commit against itself). The counts are kept for
    hosts with this fingerprint, and every line of the gate prints them. A trial that alarms is kept as a gate run.

    \b
    joulebench calibrate
    joulebench calibrate gate.yaml --trials 100 --budget 2h
    """
    from harness.cli import aa

    return aa.calibrate(aa.Request(config=config, **options))
