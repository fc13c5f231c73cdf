"""The command about published training recipes, with its options: `sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.commands import _JSON, _RESULTS


@click.command()
@click.argument("recipe")
@click.option(
    "--for", "duration", default="10m", show_default=True, metavar="DURATION", help="How long to measure, in all."
)
@click.option("--micro-batch", type=click.IntRange(min=1), help="Sequences at once; by default what fits.")
@click.option("--length", type=click.IntRange(min=2), help="Tokens a sequence, where the recipe has none.")
@click.option("--steps", type=click.IntRange(min=1), help="Steps of the full run, where the recipe has none.")
@click.option("--recipes", type=click.Path(path_type=Path), help="A file of recipes of your own.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:<number>.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option(
    "--meters", multiple=True, metavar="NAME", help="Meters instead of all this host offers; may be given again."
)
@click.option("--confidence", default=0.95, show_default=True, help="Of the interval.")
@click.option("--target", metavar="NAME", help="Other hardware that the full run is to be claimed for.")
@click.option("--ratio", type=float, help="With --target: joules of this work there over those here.")
@click.option("--ratio-source", default="", metavar="TEXT", help="With --ratio: where it is from.")
@_RESULTS
@_JSON
def sample(recipe: str, **options: Any) -> int:
    """Measure a stretch of a published training recipe here, and extrapolate to the full run with an interval.

    RECIPE is a workload and a size, such as bert@base; `joulebench ls recipes` lists them. A published batch that does
    not fit is run as micro-batches whose gradients add up. Building the model and trying micro-batches come on top of
    the time. What is assumed: docs/sampling.md.

    \b
    joulebench sample bert@base --for 5m
    joulebench sample translate@base --device cuda
    joulebench sample gpt2@small --steps 600000
    joulebench sample bert@base --target "8 x NVIDIA P100" --ratio 0.1 --ratio-source "what you measured"
    """
    from harness.cli import sampling

    return sampling.sample(recipe, sampling.Wishes(**options))
