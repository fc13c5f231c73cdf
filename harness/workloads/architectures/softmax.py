"""Word losses of ELMo: the full softmax, and the published sampled one. Import this module inside functions: torch.

With 793,471 words the full softmax of one word costs 406 million multiplications, more than the model itself. The
published model was trained with a sampled softmax of 8,192 words a batch (bilm-tf `training.py`), so that is what a
sampled stretch of its recipe must do; torch's own `AdaptiveLogSoftmaxWithLoss` is another model with another cost.
Words must be numbered by falling frequency, as in the published vocabulary: words are drawn log-uniformly.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

_CHUNK_ELEMENTS = 1 << 25
"""Logits held at once when the full softmax is evaluated without gradients (128 MiB in fp32)."""


class WordSoftmax(nn.Module):  # type: ignore[misc]  # torch gives mypy no types here
    """A softmax over words, shared by both directions, full or (while training) sampled.

    Args:
        width: Width of a state.
        vocabulary: Number of words.
        negatives: Number of words drawn a batch; None, or as many as there are words, takes all of them.
    """

    def __init__(self, width: int, vocabulary: int, negatives: int | None) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.negatives = None if negatives is None or negatives >= vocabulary else negatives
        self.sparse = False
        # The published initialisation: normal, one over the root of the width.
        self.weight = nn.Parameter(torch.empty(vocabulary, width).normal_(std=width**-0.5))
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def use_sparse_gradients(self) -> None:
        """Let the sampled loss give the matrix a gradient of the drawn rows only, as the published one had.

        The optimizer must be able to take it (Adagrad, SGD).
        """
        self.sparse = True
        # What is off already is switched off by name, because torch warns while nobody has said so.
        torch.sparse.check_sparse_tensor_invariants.disable()

    def forward(self, states_NP: torch.Tensor, words_N: torch.Tensor) -> torch.Tensor:
        """Return the mean loss in nats per word (a scalar); sampled only while training with negatives."""
        if self.training and self.negatives is not None:
            return self._sampled(states_NP, words_N, self.negatives)
        if torch.is_grad_enabled():
            return functional.cross_entropy(functional.linear(states_NP, self.weight, self.bias), words_N)
        rows = max(1, _CHUNK_ELEMENTS // self.vocabulary)
        losses = [
            functional.cross_entropy(functional.linear(states, self.weight, self.bias), words, reduction="sum")
            for states, words in zip(states_NP.split(rows), words_N.split(rows), strict=True)
        ]
        return torch.stack(losses).sum() / words_N.numel()

    def _sampled(self, states_NP: torch.Tensor, words_N: torch.Tensor, negatives: int) -> torch.Tensor:
        """Return the sampled softmax's loss (Jean et al. 2015, section 3.2; tf.nn.sampled_softmax_loss).

        Every logit, the target's too, is lowered by the log of its word's probability of being drawn; a drawn word
        that is the target is taken out of the drawn ones.
        """
        drawn_S, threshold = draw(self.vocabulary, negatives, states_NP.device)
        true_N = (states_NP * self._rows(words_N)).sum(-1) + self.bias[words_N]
        true_N = true_N - _inclusion(words_N, self.vocabulary, threshold).log()
        drawn_NS = functional.linear(states_NP, self._rows(drawn_S), self.bias[drawn_S])
        drawn_NS = drawn_NS - _inclusion(drawn_S, self.vocabulary, threshold).log()
        drawn_NS = drawn_NS.masked_fill(words_N[:, None] == drawn_S[None, :], -math.inf)
        return (torch.cat([true_N[:, None], drawn_NS], dim=1).logsumexp(1) - true_N).mean()

    def _rows(self, words: torch.Tensor) -> torch.Tensor:
        return functional.embedding(words, self.weight, sparse=True) if self.sparse else self.weight[words]


def draw(vocabulary: int, number: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `number` different words drawn log-uniformly, and the threshold that gives their probabilities.

    A word of probability p rings after a time of Exp(1)/p; the first to ring are drawn. That is the distribution of
    drawing with repetition until `number` words are different, without a loop. Given the time t at which the next
    word rings, each word had rung before it with probability 1 - exp(-p t) (bottom-k sampling, Cohen and Kaplan 2007).
    """
    p_V = _log_uniform(torch.arange(vocabulary, device=device), vocabulary)
    rings_V = torch.empty(vocabulary, device=device).exponential_() / p_V
    first, words = rings_V.topk(number + 1, largest=False)
    return words[:number], first[number]


def _inclusion(words: torch.Tensor, vocabulary: int, threshold: torch.Tensor) -> torch.Tensor:
    return -torch.expm1(-_log_uniform(words, vocabulary) * threshold)


def _log_uniform(words: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """Return P(word) = log((word + 2) / (word + 1)) / log(vocabulary + 1), an approximation of Zipf's law."""
    return torch.log1p(1.0 / (words.float() + 1.0)) / math.log(vocabulary + 1)
