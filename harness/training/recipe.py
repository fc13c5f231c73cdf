"""How to train: the numbers that every training technique shares."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from harness.records import Frozen

Count = Annotated[int, Meta(ge=1)]
Positive = Annotated[float, Meta(gt=0)]


class Recipe(Frozen, frozen=True, kw_only=True):
    """Parameters of the shared training loop; a technique's `Params` subclass it.

    epochs: passes over the training split.
    batch_size: examples a step.
    learning_rate: the peak rate of AdamW, reached after the warm-up.
    weight_decay: AdamW's decoupled decay; biases and normalisation weights are spared.
    warmup_fraction: share of all steps (0-1) during which the rate rises linearly; it falls linearly to 0 after.
    checkpoints_per_epoch: evaluations an epoch, evenly spaced over all steps; 0.2 is one every five epochs.
    """

    whole: ClassVar[bool] = True
    """Whether all weights of the model are trained: what each takes of memory while it is."""

    epochs: Count = 3
    batch_size: Count = 16
    learning_rate: Positive = 1e-4
    weight_decay: Annotated[float, Meta(ge=0)] = 0.01
    warmup_fraction: Annotated[float, Meta(ge=0, le=1)] = 0.1
    checkpoints_per_epoch: Positive = 2
