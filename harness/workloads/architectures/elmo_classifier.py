"""A classifier on ELMo's embeddings: the mix of its layers, the mean over words, normalised, one linear layer.

Imports torch at once: import this module inside functions. Nothing flows back from the classifier into ELMo. The mean
is normalised over the batch, as in the classifier that ELMo was published with (McCann et al. 2017, arXiv 1708.00107):
what all sentences share is most of a state, and what tells them apart is small beside it.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional

from harness.workloads.architectures.elmo import Elmo, ScalarMix, States, hear_of_projections
from harness.workloads.architectures.presets import ElmoPreset


class ElmoClassifier(nn.Module):  # type: ignore[misc]  # torch gives mypy no types here
    """ELMo while it is trained, and a classifier that reads it."""

    def __init__(self, preset: ElmoPreset, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.elmo = Elmo(preset, vocabulary)
        self.mix = ScalarMix(preset.layers + 1)
        self.norm = nn.BatchNorm1d(2 * preset.projection, affine=False)
        self.head = nn.Linear(2 * preset.projection, classes)

    def classified(self, states: States) -> torch.Tensor:
        """Return logits_BC of sentences out of ELMo's states."""
        mixed_BTP = self.mix(tuple(layer.detach() for layer in states.layers()))
        here_BT1 = states.mask_BT.unsqueeze(-1)
        mean_BP = (mixed_BTP * here_BT1).sum(1) / here_BT1.sum(1)
        # A batch of one has no spread of its own.
        alone = self.training and len(mean_BP) == 1
        mean_BP = self._as_known(mean_BP) if alone else self.norm(mean_BP)
        return cast("torch.Tensor", self.head(mean_BP))

    def _as_known(self, mean_BP: torch.Tensor) -> torch.Tensor:
        norm = self.norm
        return cast("torch.Tensor", functional.batch_norm(mean_BP, norm.running_mean, norm.running_var, eps=norm.eps))


def build(preset: ElmoPreset, *, seed: int, vocabulary: int, classes: int, device: str = "cpu") -> ElmoClassifier:
    """Return the model in fp32, random by `seed`; on the device "meta" it takes no memory.

    Torch's random state on the CPU is left as it was.
    """
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(seed)
        model = ElmoClassifier(preset, vocabulary, classes)
    if device != "meta":
        hear_of_projections()
    return model
