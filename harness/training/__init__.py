"""The training loop that training techniques share."""

from harness.training.batches import Collate, Inputs, by_length, encode, pad, text_batches
from harness.training.loop import fit
from harness.training.recipe import Recipe

__all__ = ["Collate", "Inputs", "Recipe", "by_length", "encode", "fit", "pad", "text_batches"]
