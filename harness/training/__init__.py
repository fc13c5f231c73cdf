"""The training loop that training techniques share."""

from harness.training.batches import Collate, Inputs, by_length, encode, pad, padded, text_batches
from harness.training.loop import fit
from harness.training.objectives import Labelled
from harness.training.recipe import Count, Positive, Recipe

__all__ = [
    "Collate",
    "Count",
    "Inputs",
    "Labelled",
    "Positive",
    "Recipe",
    "by_length",
    "encode",
    "fit",
    "pad",
    "padded",
    "text_batches",
]
