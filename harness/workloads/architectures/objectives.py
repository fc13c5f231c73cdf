"""What a family is trained on: random micro-batches in the published shape, the published loss, what differs.

Import this module freely; its functions import torch. Shape suffixes: B sequences, T tokens, N words, C characters,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

MASKED_SHARE = 0.15
"""Share of a sequence that BERT predicts (Devlin et al. 2019, section 3.1)."""
LABEL_SMOOTHING = 0.1
"""Vaswani et al. 2017, section 5.4."""

Batch = Mapping[str, Any]
"""The tensors of a micro-batch."""

_FIRST_WORD = 3
"""Ids below are padding, start and end (`building.SpecialIds`)."""
_FIRST_BYTE, _BYTES = 1, 256


def _words(below: int, shape: tuple[int, ...], generator: Any) -> Any:
    import torch

    return torch.randint(_FIRST_WORD, below, shape, generator=generator)


def _bert_batch(preset: Any, sequences: int, length: int, generator: Any) -> dict[str, Any]:
    """Return two segments a sequence, and as many masked places in each as are 15 % of it."""
    import torch

    masked = max(1, round(MASKED_SHARE * length))
    places_BN = torch.rand(sequences, length, generator=generator).topk(masked).indices
    rows_B1 = torch.arange(sequences).unsqueeze(1) * length
    segments_T = (torch.arange(length) >= length // 2).long()
    return {
        "ids_BT": _words(preset.vocabulary, (sequences, length), generator),
        "segments_BT": segments_T.expand(sequences, length).contiguous(),
        "places_N": (places_BN + rows_B1).flatten(),
        "words_N": _words(preset.vocabulary, (sequences * masked,), generator),
        "next_B": torch.randint(2, (sequences,), generator=generator),
    }


def _bert_loss(model: Any, batch: Batch) -> Any:
    """Return the loss of masked words and next sentences; the words' head sees the masked places only."""
    from torch.nn.functional import cross_entropy

    seen = model.bert(input_ids=batch["ids_BT"], token_type_ids=batch["segments_BT"])
    words_NV = model.cls.predictions(seen.last_hidden_state.flatten(0, 1)[batch["places_N"]])
    pairs_B2 = model.cls.seq_relationship(seen.pooler_output)
    return cross_entropy(words_NV.float(), batch["words_N"]) + cross_entropy(pairs_B2.float(), batch["next_B"])


def _gpt2_batch(preset: Any, sequences: int, length: int, generator: Any) -> dict[str, Any]:
    return {"ids_BT": _words(preset.vocabulary, (sequences, length), generator)}


def _gpt2_loss(model: Any, batch: Batch) -> Any:
    return model(input_ids=batch["ids_BT"], labels=batch["ids_BT"], use_cache=False).loss


def _translation_batch(preset: Any, sequences: int, length: int, generator: Any) -> dict[str, Any]:
    import torch

    from harness.workloads.architectures.building import SpecialIds

    target_BT = _words(preset.vocabulary, (sequences, length), generator)
    start_B1 = torch.full((sequences, 1), SpecialIds().start)
    return {
        "source_BT": _words(preset.vocabulary, (sequences, length), generator),
        "before_BT": torch.cat([start_B1, target_BT[:, :-1]], dim=1),
        "target_BT": target_BT,
    }


def _translation_loss(model: Any, batch: Batch) -> Any:
    from torch.nn.functional import cross_entropy

    seen = model(input_ids=batch["source_BT"], decoder_input_ids=batch["before_BT"], use_cache=False)
    logits_NV = seen.logits.flatten(0, 1).float()
    return cross_entropy(logits_NV, batch["target_BT"].flatten(), label_smoothing=LABEL_SMOOTHING)


def _elmo_batch(preset: Any, sequences: int, length: int, generator: Any) -> dict[str, Any]:
    import torch

    shape = (sequences, length, preset.max_characters)
    return {
        "chars_BTC": torch.randint(_FIRST_BYTE, _FIRST_BYTE + _BYTES, shape, generator=generator),
        "words_BT": torch.randint(preset.vocabulary, shape[:2], generator=generator),
    }


def _elmo_loss(model: Any, batch: Batch) -> Any:
    return model(batch["chars_BTC"], batch["words_BT"])


BATCHES: dict[str, Callable[[Any, int, int, Any], dict[str, Any]]] = {
    "bert": _bert_batch,
    "gpt2": _gpt2_batch,
    "transformer": _translation_batch,
    "elmo": _elmo_batch,
}
"""By family: (preset, sequences, tokens the model reads, generator) to a micro-batch on the CPU."""

LOSSES: dict[str, Callable[[Any, Batch], Any]] = {
    "bert": _bert_loss,
    "gpt2": _gpt2_loss,
    "transformer": _translation_loss,
    "elmo": _elmo_loss,
}
"""By family: (model, micro-batch) to its mean loss in nats."""

DEPARTURES: dict[str, tuple[str, ...]] = {
    "bert": (
        (
            "masked words (15 % of a sequence) and next sentences are predicted; the words' head sees the masked "
            "places only, as in the authors' code (recalled)"
        ),
    ),
    "gpt2": (),
    "transformer": (f"label smoothing is {LABEL_SMOOTHING:g}; source and target have one length and no padding",),
    "elmo": (
        (
            "the character encoder runs once for both directions, in the authors' code once for each (recalled); "
            "LSTM states are not clipped, start from zeros in every sequence, and cells have no peepholes"
        ),
        (
            "words for the sampled softmax are drawn anew for every micro-batch, so smaller ones draw more a sequence; "
            "with Adagrad, gradients of its matrix hold the drawn rows only, as in the authors' code (recalled)"
        ),
    ),
}
"""By family: how the work differs from the published one, or what of the published one is meant."""
