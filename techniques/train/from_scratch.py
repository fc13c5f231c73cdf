"""Train the classifier from random weights.

What it does
    Takes the architecture of the workload's model with freshly drawn weights and trains all of them on the
    labelled texts alone.

Why it may save energy
    It does not try to; it is what the other ways of training are measured against. It owes nothing to an
    earlier pretraining, whose energy the other ways use without paying for it again.

What it costs
    Full forward and backward passes for every step, and far more of them: the model learns the language
    along with the task.

Limits
    On a few hundred texts it learns little, whatever it spends. Its rate suits BERT-like encoders of up to
    about a hundred million parameters.

Source
    Devlin et al. 2019, arXiv 1810.04805 (architecture, AdamW with warm-up and linear decay).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from harness.contract import Checkpoint, Resumed, TechniqueInfo
from harness.records import Phase
from harness.training import Positive, Recipe, fit

INFO = TechniqueInfo(
    name="from_scratch",
    phase=Phase.TRAIN,
    family="baseline",
    summary="All weights trained from random ones",
    source="arXiv 1810.04805",
    baseline=True,
    imports=("torch", "transformers"),
)


class Params(Recipe, frozen=True, kw_only=True):
    """See `Recipe`; the rate is higher than in fine-tuning, as there is nothing to preserve."""

    learning_rate: Positive = 3e-4


def supports(workload: Any, device: str) -> str | None:  # noqa: ARG001 (the contract's signature)
    """Return None: any workload can be trained from random weights."""
    return None


def train(workload: Any, params: Params, device: str, resumed: Resumed | None = None) -> Iterator[Checkpoint]:
    """Yield a checkpoint before the first step and after each chunk of work."""
    model = workload.new_model(pretrained=False, seed=workload.seed)
    goal = partial(workload.objective, device)
    yield from fit(model, goal, params, seed=workload.seed, device=device, resumed=resumed)
