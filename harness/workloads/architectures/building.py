"""Models of attention layers out of a preset, random by a seed: what `transformers` has, set to the published sizes.

- `bert`: `BertForPreTraining`, `BertForMaskedLM` or `BertForSequenceClassification`.
- `gpt2`: `GPT2LMHeadModel`.
- `transformer`: `MarianMTModel`, which is Vaswani's model once it is told to be: ReLU, embeddings scaled by the root
  of the width and shared three ways, layer norm after each sum, fixed sinusoids. Two things stay different and change
  neither cost nor function class: the sines fill the first half of a position's vector and the cosines the second
  (the paper interleaves them, a fixed permutation of dimensions), and projections in attention have biases.
"""

from __future__ import annotations

from typing import Any, Literal

from harness.errors import ModelError
from harness.records import Frozen
from harness.workloads.architectures.presets import AttentionPreset
from harness.workloads.quiet import quiet_loading

Head = Literal["pretraining", "masked", "classes", "causal", "translation"]

HEADS: dict[str, tuple[Head, ...]] = {
    "bert": ("pretraining", "masked", "classes"),
    "gpt2": ("causal",),
    "transformer": ("translation",),
}
"""The heads a family can have; the first is the one it was published and counted with."""


class SpecialIds(Frozen, frozen=True, kw_only=True):
    """Ids of the tokeniser that the model must know. `start` begins what a decoder writes."""

    pad: int = 0
    start: int = 1
    end: int = 2


class Fitting(Frozen, frozen=True, kw_only=True):
    """What the data asks of a model.

    `vocabulary` is the number of tokens of the tokeniser and `positions` the longest sequence in tokens, the published
    numbers where None; `classes` is the number of labels of a BERT with a classifier.
    """

    vocabulary: int | None = None
    positions: int | None = None
    classes: int = 2
    special: SpecialIds = SpecialIds()


def config(preset: AttentionPreset, fitting: Fitting | None = None) -> Any:
    """Return the `transformers` configuration of a preset, fitted to the data.

    Raises: ModelError: the numbers cannot make a model, or a special id lies outside the vocabulary.
    """
    fit = fitting or Fitting()
    tokens = preset.vocabulary if fit.vocabulary is None else fit.vocabulary
    length = preset.positions if fit.positions is None else fit.positions
    ids, classes = fit.special, fit.classes
    name = f"{preset.family}@{preset.size}"
    if length < 1 or classes < 1 or preset.hidden % preset.heads:
        raise ModelError(f"{name}: cannot be built with {length} positions, {classes} classes, {preset.heads} heads")
    if not all(0 <= number < tokens for number in (ids.pad, ids.start, ids.end)):
        raise ModelError(
            f"{name}: the special ids {ids.pad}, {ids.start}, {ids.end} do not lie within {tokens} tokens; "
            "give the tokeniser's own"
        )
    with quiet_loading():
        if preset.family == "bert":
            return _bert(preset, tokens, length, classes, ids)
        return (_gpt2 if preset.family == "gpt2" else _marian)(preset, tokens, length, ids)


def build(
    preset: AttentionPreset,
    *,
    seed: int,
    head: Head | None = None,
    fitting: Fitting | None = None,
    device: str = "cpu",
) -> Any:
    """Return a model in fp32 with random weights; the same seed gives the same weights.

    The initialisation is that of `transformers` (BERT and GPT-2: as published; Marian: normal, one over the root of the
    width, which is what Glorot gives a square matrix). Its default attention is kept. Torch's random state on the CPU
    is left as it was.

    Args:
        preset: The size.
        seed: Of the weights.
        head: One of `HEADS[family]`; the first, with which it was published, if not given.
        fitting: What the data asks for; as published if not given.
        device: Where the model goes; "meta" takes no memory.

    Raises: ModelError: as `config`, or the family has no such head.
    """
    import torch

    kind, settings = _class(preset, head), config(preset, fitting)
    with torch.random.fork_rng(devices=[]), torch.device("meta" if device == "meta" else "cpu"), quiet_loading():
        torch.manual_seed(seed)
        model = kind(settings).float()
    if preset.family == "gpt2":
        # transformers reads the loss off the class's name and warns where, as here, the name does not say it.
        model.loss_type = "ForCausalLM"
    return model if device in ("cpu", "meta") else model.to(device)


def _class(preset: AttentionPreset, head: Head | None) -> Any:
    import transformers

    known = HEADS[preset.family]
    if head is not None and head not in known:
        raise ModelError(f"{preset.family}@{preset.size} has no head {head!r}; it has {', '.join(known)}")
    return {
        "pretraining": transformers.BertForPreTraining,
        "masked": transformers.BertForMaskedLM,
        "classes": transformers.BertForSequenceClassification,
        "causal": transformers.GPT2LMHeadModel,
        "translation": transformers.MarianMTModel,
    }[head or known[0]]


def _bert(preset: AttentionPreset, vocabulary: int, positions: int, classes: int, special: SpecialIds) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=preset.hidden,
        num_hidden_layers=preset.layers,
        num_attention_heads=preset.heads,
        intermediate_size=preset.feed_forward,
        hidden_act=preset.activation,
        hidden_dropout_prob=preset.dropout,
        attention_probs_dropout_prob=preset.attention_dropout,
        max_position_embeddings=positions,
        pad_token_id=special.pad,
        tie_word_embeddings=preset.tied_embeddings,
        num_labels=classes,
    )


def _gpt2(preset: AttentionPreset, vocabulary: int, positions: int, special: SpecialIds) -> Any:
    from transformers import GPT2Config

    return GPT2Config(
        vocab_size=vocabulary,
        n_positions=positions,
        n_embd=preset.hidden,
        n_layer=preset.layers,
        n_head=preset.heads,
        n_inner=preset.feed_forward,
        activation_function=preset.activation,
        resid_pdrop=preset.dropout,
        embd_pdrop=preset.dropout,
        attn_pdrop=preset.attention_dropout,
        pad_token_id=special.pad,
        bos_token_id=special.start,
        eos_token_id=special.end,
        tie_word_embeddings=preset.tied_embeddings,
    )


def _marian(preset: AttentionPreset, vocabulary: int, positions: int, special: SpecialIds) -> Any:
    from transformers import MarianConfig

    return MarianConfig(
        vocab_size=vocabulary,
        max_position_embeddings=positions,
        d_model=preset.hidden,
        encoder_layers=preset.layers,
        decoder_layers=preset.layers,
        encoder_attention_heads=preset.heads,
        decoder_attention_heads=preset.heads,
        encoder_ffn_dim=preset.feed_forward,
        decoder_ffn_dim=preset.feed_forward,
        activation_function=preset.activation,
        dropout=preset.dropout,
        attention_dropout=preset.attention_dropout,
        scale_embedding=True,
        share_encoder_decoder_embeddings=preset.tied_embeddings,
        tie_word_embeddings=preset.tied_embeddings,
        pad_token_id=special.pad,
        decoder_start_token_id=special.start,
        eos_token_id=special.end,
        # Marian's default would force an end at the last position, which no paper does.
        forced_eos_token_id=None,
        # The embedding is scaled by the root of the width, so this makes a token's entries of the size of a position's.
        init_std=preset.hidden**-0.5,
    )
