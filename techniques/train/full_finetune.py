"""Fine-tune all weights of the pretrained model.

What it does
    Starts from the pretrained weights, with a new head where they have none for the task, and trains every one.

Why it may save energy
    The encoder already knows the language, so a few passes over the texts reach what training from random
    weights does not reach at all.

What it costs
    A step costs as much as a step from scratch. The pretraining was paid for once, by someone else, and is
    not in the measured energy.

Limits
    Needs pretrained weights. AdamW keeps two extra copies of all weights in memory.

Source
    Devlin et al. 2019, arXiv 1810.04805, section 3 and appendix A.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from harness.contract import Checkpoint, Resumed, TechniqueInfo
from harness.records import Phase
from harness.training import Positive, Recipe, fit

INFO = TechniqueInfo(
    name="full_finetune",
    phase=Phase.TRAIN,
    family="transfer",
    summary="All weights trained from pretrained ones",
    source="arXiv 1810.04805",
    imports=("torch", "transformers"),
)


class Params(Recipe, frozen=True, kw_only=True):
    """See `Recipe`; the rate suits MiniLM on thousands of texts. A few hundred want more, a BERT-base 2e-5 to 5e-5."""

    learning_rate: Positive = 1e-4


def supports(workload: Any, device: str) -> str | None:  # noqa: ARG001 (the contract's signature)
    """Return None where pretrained weights are at hand, else the reason why not."""
    reason: str | None = workload.has_pretrained()
    return reason


def train(workload: Any, params: Params, device: str, resumed: Resumed | None = None) -> Iterator[Checkpoint]:
    """Yield a checkpoint before the first step and after each chunk of work."""
    model = workload.new_model(pretrained=True, seed=workload.seed)
    goal = partial(workload.objective, device)
    yield from fit(model, goal, params, seed=workload.seed, device=device, resumed=resumed)
