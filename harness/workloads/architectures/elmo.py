"""ELMo on torch (Peters et al. 2018): character CNN, two projected LSTMs a direction, their mix. Imports torch at once.

Import this module inside functions. What is as published (bilm-tf `training.py`): convolutions, max over characters,
ReLU, highway layers whose gates start at -2, projection; shared by both directions. LSTMs without peepholes whose
forget gates start at 1; a layer after the first adds its input to its output. Dropout before each layer and before
the softmax, which both directions share.

What differs: the published LSTM clips its cells and its projections to [-3, 3] at every step. torch's fused LSTM
cannot, and a loop of cells in Python would cost a multiple of what anyone runs, so nothing is clipped here. It has
two bias vectors where one would do. The published training carries the state from one segment of 20 words to the
next; here each sentence starts from zeros, as the published model does when it is used.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple, cast

import torch
from torch import nn
from torch.nn import functional

from harness.workloads.architectures.presets import ElmoPreset
from harness.workloads.architectures.softmax import WordSoftmax


class States(NamedTuple):
    """What the model knows of each word; every tensor is zero where there is no word.

    `tokens_BTP` is the word alone. `forward` holds one tensor BTP a layer, which knows the words up to its own;
    `backward` one BTP a layer, which knows its own word and those after it.
    """

    mask_BT: torch.Tensor  # noqa: N815  # shape suffix
    tokens_BTP: torch.Tensor  # noqa: N815  # shape suffix
    forward: tuple[torch.Tensor, ...]
    backward: tuple[torch.Tensor, ...]

    def layers(self) -> tuple[torch.Tensor, ...]:
        """Return the layers to be mixed, each BT(2P): the word beside itself, then both directions side by side."""
        pairs = zip((self.tokens_BTP, *self.forward), (self.tokens_BTP, *self.backward), strict=True)
        return tuple(torch.cat(pair, dim=-1) for pair in pairs)


class CharacterEncoder(nn.Module):  # type: ignore[misc]  # torch gives mypy no types here
    """A word's vector out of its characters: embedding, convolutions, maximum, highway layers, projection."""

    def __init__(self, preset: ElmoPreset) -> None:
        super().__init__()
        self.embedding = nn.Embedding(preset.characters, preset.character_embedding, padding_idx=0)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(preset.character_embedding, number, width) for width, number in preset.filters
        )
        filters = sum(number for _, number in preset.filters)
        self.highways = nn.ModuleList(Highway(filters) for _ in range(preset.highways))
        self.projection = nn.Linear(filters, preset.projection)

    def forward(self, chars_BTC: torch.Tensor) -> torch.Tensor:
        """Return tokens_BTP of chars_BTC (int64)."""
        letters_NEC = self.embedding(chars_BTC.flatten(0, 1)).transpose(1, 2)
        found = [functional.relu(convolution(letters_NEC).amax(-1)) for convolution in self.convolutions]
        words_NF = torch.cat(found, dim=-1)
        for highway in self.highways:
            words_NF = highway(words_NF)
        return cast("torch.Tensor", self.projection(words_NF)).unflatten(0, chars_BTC.shape[:2])


class Highway(nn.Module):  # type: ignore[misc]  # torch gives mypy no types here
    """g * relu(W x + b) + (1 - g) * x with g = sigmoid(V x + c) (Srivastava et al. 2015)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.transform = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, x_NF: torch.Tensor) -> torch.Tensor:
        """Return a tensor of the shape of `x_NF`."""
        gate_NF = torch.sigmoid(self.gate(x_NF))
        return gate_NF * functional.relu(self.transform(x_NF)) + (1.0 - gate_NF) * x_NF


class Direction(nn.Module):  # type: ignore[misc]  # torch gives mypy no types here
    """The LSTM layers of one direction, reading from left to right."""

    def __init__(self, preset: ElmoPreset) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.LSTM(preset.projection, preset.cells, proj_size=preset.projection, batch_first=True)
            for _ in range(preset.layers)
        )
        self.dropout = nn.Dropout(preset.dropout)
        for layer in self.layers:
            forget = cast("nn.LSTM", layer).bias_ih_l0[preset.cells : 2 * preset.cells]
            nn.init.constant_(forget, 1.0)

    def forward(self, tokens_BTP: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the states BTP of each layer."""
        states: list[torch.Tensor] = []
        x_BTP = tokens_BTP
        for number, layer in enumerate(self.layers):
            x_BTP = self.dropout(x_BTP)
            read_BTP = layer(x_BTP)[0]
            x_BTP = read_BTP if number == 0 else read_BTP + x_BTP
            states.append(x_BTP)
        return tuple(states)


class BiLanguageModel(nn.Module):  # type: ignore[misc]  # torch gives mypy no types here
    """The model that gives ELMo's embeddings; `elmo@original` has the published 93.6M parameters here."""

    def __init__(self, preset: ElmoPreset) -> None:
        super().__init__()
        self.characters = CharacterEncoder(preset)
        self.forwards = Direction(preset)
        self.backwards = Direction(preset)

    def forward(self, chars_BTC: torch.Tensor) -> States:
        """Return the states of a right-padded batch out of `characters.batch`.

        Padding lies after every real word in both reading orders, because the backward direction reads each sentence
        turned round within its own length: so it can change no state of a word.
        """
        mask_BT = (chars_BTC > 0).any(-1)
        here_BT1 = mask_BT.unsqueeze(-1)
        tokens_BTP = self.characters(chars_BTC) * here_BT1
        turned_BT = _turned(mask_BT)
        backward = (_take(states, turned_BT) for states in self.backwards(_take(tokens_BTP, turned_BT)))
        return States(
            mask_BT=mask_BT,
            tokens_BTP=tokens_BTP,
            forward=tuple(states * here_BT1 for states in self.forwards(tokens_BTP)),
            backward=tuple(states * here_BT1 for states in backward),
        )


class Elmo(nn.Module):  # type: ignore[misc]  # torch gives mypy no types here
    """ELMo while it is trained: the model and the softmax that predicts words from it.

    Args:
        preset: The size.
        vocabulary: Number of words to predict, by falling frequency; the published number if not given.
    """

    def __init__(self, preset: ElmoPreset, vocabulary: int | None = None) -> None:
        super().__init__()
        self.model = BiLanguageModel(preset)
        self.dropout = nn.Dropout(preset.dropout)
        self.softmax = WordSoftmax(preset.projection, vocabulary or preset.vocabulary, preset.negatives)

    def forward(self, chars_BTC: torch.Tensor, words_BT: torch.Tensor) -> torch.Tensor:
        """Return the mean loss in nats of predicting the next word forward and the one before backward.

        `words_BT` (int64) are the numbers of the words, the sentence's two marks among them; what stands at padding
        is not looked at. Published: the mean of both directions (bilm-tf; eq. in section 3.1 without the half).
        """
        return self.loss(self.model(chars_BTC), words_BT)

    def loss(self, states: States, words_BT: torch.Tensor) -> torch.Tensor:
        """Return the same out of states that are there already."""
        pairs_BT = states.mask_BT[:, 1:]
        ahead_NP = self.dropout(states.forward[-1][:, :-1][pairs_BT])
        behind_NP = self.dropout(states.backward[-1][:, 1:][pairs_BT])
        forward = self.softmax(ahead_NP, words_BT[:, 1:][pairs_BT])
        backward = self.softmax(behind_NP, words_BT[:, :-1][pairs_BT])
        return cast("torch.Tensor", 0.5 * (forward + backward))


class ScalarMix(nn.Module):  # type: ignore[misc]  # torch gives mypy no types here
    """gamma * sum over layers of softmax(s)_j h_j (Peters et al. 2018, eq. 1); belongs to the task, not to ELMo."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))
        self.gamma = nn.Parameter(torch.ones(()))

    def forward(self, layers: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the mix of layers of one shape (`States.layers()`), in that shape: BT(2P)."""
        return self.gamma * sum(weight * layer for weight, layer in zip(self.weights.softmax(0), layers, strict=True))


def build(preset: ElmoPreset, *, seed: int, vocabulary: int | None = None, device: str = "cpu") -> Elmo:
    """Return ELMo in fp32, random by `seed`; torch's random state on the CPU is left as it was."""
    with torch.random.fork_rng(devices=[]), torch.device("meta" if device == "meta" else "cpu"):
        torch.manual_seed(seed)
        model = Elmo(preset, vocabulary)
    if device == "meta":
        return model
    hear_of_projections()
    return cast("Elmo", model.to(device))


def hear_of_projections() -> None:
    """Let torch say, once and unheard, that oneDNN has no projected LSTM: it warns at the first one of a process."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        nn.LSTM(1, 2, proj_size=1)(torch.zeros(1, 1, 1))


def _turned(mask_BT: torch.Tensor) -> torch.Tensor:
    """Return the places that turn each sentence round within its length and leave padding where it is."""
    place_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    return torch.where(mask_BT, mask_BT.sum(1, keepdim=True) - 1 - place_T, place_T)


def _take(x_BTP: torch.Tensor, place_BT: torch.Tensor) -> torch.Tensor:
    return x_BTP.gather(1, place_BT.unsqueeze(-1).expand_as(x_BTP))
