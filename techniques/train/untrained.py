"""Train nothing: the model as it was drawn, or as it came.

What it does
    Takes the workload's model with its pretrained weights where there are some, else with random ones, and hands it on
    as it is.

Why it may save energy
    It spends nothing. What a forward pass costs does not depend on what the weights have learned, so the energy
    of inference at a size can be measured without a training that nobody here could afford.

What it costs
    No quality: what random weights answer is worth nothing, and the measured quality says so.

Limits
    A classifier from a folder or the hub keeps its head only if its label2id names the classes of the data; otherwise
    the head is drawn at random, and the record says that it is new. Where the work depends on the answer (a text that
    ends when the model says so), untrained weights do other work than trained ones.

Source
    This project.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.contract import Checkpoint, Resumed, TechniqueInfo
from harness.records import Frozen, Phase

INFO = TechniqueInfo(
    name="untrained",
    phase=Phase.TRAIN,
    family="reference",
    summary="Nothing trained: weights as they were drawn or came",
    source="this project",
    imports=("torch", "transformers"),
)


class Params(Frozen, frozen=True, kw_only=True):
    """Nothing to set."""


def supports(workload: Any, device: str) -> str | None:  # noqa: ARG001 (the contract's signature)
    """Return None: any model can be left as it is."""
    return None


def train(
    workload: Any,
    params: Params,  # noqa: ARG001 (likewise)
    device: str,  # noqa: ARG001
    resumed: Resumed | None = None,  # noqa: ARG001
) -> Iterator[Checkpoint]:
    """Yield the one checkpoint there is."""
    pretrained = workload.has_pretrained() is None
    model = workload.new_model(pretrained=pretrained, seed=workload.seed)
    yield Checkpoint(model=model, steps=0, examples=0, last=True)
