"""The command line. Importing it loads no torch and nothing else that is slow.

Results go to standard output, progress and errors to standard error; `--json` prints one document.
Exit codes: 0 done, 1 a defect of joulebench, 2 usage, 12 not comparable, 13 invalid measurement, 130 interrupted;
those of the gate stand in `harness.gate.exits`.
"""

from __future__ import annotations

import sys

import click

from harness import __version__
from harness.cli.commands import calibrate_power, compare, doctor, explain, gate, ls, plan, replay, report, run, sweep
from harness.cli.keeping import baseline, calibrate, export
from harness.cli.recipes import sample
from harness.errors import INTERRUPTED_EXIT, JoulebenchError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="joulebench")
def cli() -> None:
    """Measure what training and serving language models costs in joules.

    \b
    joulebench run configs/quick.yaml     run a suite and print what saved energy
    joulebench doctor                     what can be measured on this host, and what cannot
    """


_GATE = (gate, explain, baseline, calibrate)
for _command in (run, sweep, plan, report, export, compare, ls, doctor, calibrate_power, replay, sample, *_GATE):
    cli.add_command(_command)


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; what was measured is kept, the same command goes on from there", err=True)
        code = INTERRUPTED_EXIT
    except JoulebenchError as error:
        click.echo(f"joulebench: {error}", err=True)
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)
