"""The sizes of the four model families, as they were published, as frozen data.

`transformer`, `elmo`, `bert` and `gpt2` each have the sizes of their papers and a `tiny` that two cores can train.
What a paper printed stands in `Published`, with what it counts and why ours may differ; nothing here is computed.
A size is asked for as `preset("bert", "base")`.
"""

from __future__ import annotations

import difflib

from harness.errors import ModelError
from harness.records import Frozen


class Published(Frozen, frozen=True, kw_only=True):
    """A published number of parameters: how many, where it stands, and what differs from ours.

    `within` is the relative difference that rounding and the causes told in `note` explain; a test holds it.
    """

    parameters: int
    source: str
    note: str
    within: float = 0.01


class AttentionPreset(Frozen, frozen=True, kw_only=True):
    """A model of attention layers.

    `layers` are those of the encoder or of the decoder; an encoder-decoder has as many in each. `heads` are per
    layer, `feed_forward` is the inner width, `positions` the longest sequence in tokens. `dropout` acts on
    embeddings and on what each sub-layer adds, `attention_dropout` on the attention weights.
    """

    family: str
    size: str
    layers: int
    hidden: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    dropout: float
    attention_dropout: float
    activation: str
    tied_embeddings: bool
    published: Published | None


class ElmoPreset(Frozen, frozen=True, kw_only=True):
    """A bidirectional language model over characters.

    `filters` are (width in characters, number) of each convolution, `cells` the LSTM's memory cells and
    `projection` what they are projected to (and the width of a token), in `layers` layers a direction.
    `positions` is the longest sentence in words that the workloads feed it; the model itself has no limit.
    `negatives` is the number of words drawn for the sampled softmax; None takes the full softmax.
    """

    family: str = "elmo"
    size: str
    characters: int
    max_characters: int
    character_embedding: int
    filters: tuple[tuple[int, int], ...]
    highways: int
    cells: int
    projection: int
    layers: int
    vocabulary: int
    negatives: int | None
    positions: int
    dropout: float
    published: Published | None


Preset = AttentionPreset | ElmoPreset

_TABLE_3 = (
    "The published 65M is not what about 37,000 shared tokens (paper, section 5.1) give: layers of d_model 512 hold "
    "44.1M and 37,000 embedding rows 18.9M, 63.1M together. All rows of Table 3 of width 512 leave 20.6M to 21.5M "
    "beside their layers, as 40,000 to 42,000 embedding rows would; the big model leaves 36.6M, as 35,800 would. So "
    "the table fits no one vocabulary, and we keep that of the text. Sinusoidal positions are fixed and not counted; "
    "input, output and decoder embeddings are one matrix (section 3.4). Attention projections have biases here "
    "(0.04M at base), which tensor2tensor's do not."
)
_VASWANI = "Vaswani et al. 2017, Attention Is All You Need (arXiv 1706.03762), Table 3"
_TURC = "Turc et al. 2019, Well-Read Students Learn Better (arXiv 1908.08962), Table 1"
_TURC_NOTE = "counted with the heads of pre-training (masked words and next sentence); recalled, not read again"
_DEVLIN = "Devlin et al. 2019, BERT (arXiv 1810.04805), section 3"
_GPT2_NOTE = (
    "The repository says that the counts of the paper were wrong: the paper's Table 2 prints {paper}M. The output "
    "layer is the input embedding."
)
_GPT2 = "openai/gpt-2, README.md and DEVELOPERS.md (after the correction of the paper's counts)"
_ELMO_NOTE = (
    "Counted is the model that gives the embeddings: character encoder and both directions of the LSTM, without the "
    "softmax (512 x 793,471 weights and 793,471 biases, 407.0M more), without the scalar mix. torch's LSTM has two "
    "bias vectors where the published one has one: 4 x 16,384 = 65,536 more here. The published LSTM clips cells and "
    "projections to [-3, 3] at every step and carries its state over segments of 20 words; torch's has no clipping, "
    "and a sentence starts from zeros here."
)


def _transformer(size: str, hidden: int, heads: int, feed_forward: int, dropout: float, **other: object) -> Preset:
    fields: dict[str, object] = {"layers": 6, "vocabulary": 37_000, "positions": 512, **other}
    return AttentionPreset(
        family="transformer",
        size=size,
        hidden=hidden,
        heads=heads,
        feed_forward=feed_forward,
        dropout=dropout,
        attention_dropout=0.0,
        activation="relu",
        tied_embeddings=True,
        **fields,  # type: ignore[arg-type]
    )


def _bert(size: str, layers: int, hidden: int, published: Published) -> Preset:
    return AttentionPreset(
        family="bert",
        size=size,
        layers=layers,
        hidden=hidden,
        heads=hidden // 64,
        feed_forward=4 * hidden,
        vocabulary=30_522,
        positions=512,
        dropout=0.1,
        attention_dropout=0.1,
        activation="gelu",
        tied_embeddings=True,
        published=published,
    )


def _gpt2(size: str, layers: int, hidden: int, heads: int, counts: tuple[int, int] | None) -> Preset:
    return AttentionPreset(
        family="gpt2",
        size=size,
        layers=layers,
        hidden=hidden,
        heads=heads,
        feed_forward=4 * hidden,
        vocabulary=50_257 if counts else 4_096,
        positions=1_024 if counts else 256,
        dropout=0.1,
        attention_dropout=0.1,
        activation="gelu_new",
        tied_embeddings=True,
        published=Published(
            parameters=counts[0] * 1_000_000, source=_GPT2, note=_GPT2_NOTE.format(paper=f"{counts[1]:,}")
        )
        if counts
        else None,
    )


def _elmo(size: str, **fields: object) -> Preset:
    return ElmoPreset(
        size=size,
        characters=262,
        max_characters=50,
        character_embedding=16,
        layers=2,
        dropout=0.1,
        **fields,  # type: ignore[arg-type]
    )


def _turc(parameters: int) -> Published:
    return Published(parameters=parameters, source=_TURC, note=_TURC_NOTE)


PRESETS: tuple[Preset, ...] = (
    _transformer("tiny", 128, 4, 512, 0.1, layers=2, vocabulary=4_000, positions=256, published=None),
    _transformer(
        "base",
        512,
        8,
        2_048,
        0.1,
        published=Published(parameters=65_000_000, source=_VASWANI, note=_TABLE_3, within=0.03),
    ),
    _transformer(
        "big", 1_024, 16, 4_096, 0.3, published=Published(parameters=213_000_000, source=_VASWANI, note=_TABLE_3)
    ),
    _elmo(
        "tiny",
        filters=((1, 16), (2, 16), (3, 32), (4, 64)),
        highways=1,
        cells=256,
        projection=64,
        vocabulary=4_000,
        negatives=None,
        positions=128,
        published=None,
    ),
    _elmo(
        "original",
        filters=((1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1_024)),
        highways=2,
        cells=4_096,
        projection=512,
        vocabulary=793_471,
        negatives=8_192,
        positions=512,
        published=Published(
            parameters=93_600_000,
            source="allennlp.org/elmo, pre-trained models, Original (Peters et al. 2018, arXiv 1802.05365)",
            note=_ELMO_NOTE,
        ),
    ),
    _bert("tiny", 2, 128, _turc(4_400_000)),
    _bert("mini", 4, 256, _turc(11_300_000)),
    _bert("small", 4, 512, _turc(29_100_000)),
    _bert(
        "base",
        12,
        768,
        Published(
            parameters=110_000_000,
            source=_DEVLIN,
            note="110.1M with the heads of pre-training, as counted here; 109.5M without, which rounds to the same",
        ),
    ),
    _bert(
        "large",
        24,
        1_024,
        Published(
            parameters=340_000_000,
            source=_DEVLIN,
            note="the paper's sizes give 336.2M with the heads of pre-training and 335.1M without; it rounds to 340M",
            within=0.015,
        ),
    ),
    _gpt2("tiny", 2, 128, 2, None),
    _gpt2("small", 12, 768, 12, (124, 117)),
    _gpt2("medium", 24, 1_024, 16, (355, 345)),
    _gpt2("large", 36, 1_280, 20, (774, 762)),
    _gpt2("xl", 48, 1_600, 25, (1_558, 1_542)),
)
"""Every size, families together, from small to large."""

FAMILIES: tuple[str, ...] = ("transformer", "elmo", "bert", "gpt2")


def sizes(family: str) -> tuple[str, ...]:
    """Return the sizes of a family, from small to large.

    Raises: ModelError: there is no such family; names the nearest.
    """
    if family not in FAMILIES:
        raise ModelError(f"there is no model family {family!r}{_nearest(family, FAMILIES)}; {', '.join(FAMILIES)} are")
    return tuple(preset.size for preset in PRESETS if preset.family == family)


def preset(family: str, size: str) -> Preset:
    """Return one size of a family, such as `preset("bert", "base")`.

    Raises: ModelError: there is no such family or size; names the nearest.
    """
    known = sizes(family)
    if size not in known:
        raise ModelError(f"{family} has no size {size!r}{_nearest(size, known)}; it has {', '.join(known)}")
    return next(one for one in PRESETS if one.family == family and one.size == size)


def attention_preset(family: str, size: str) -> AttentionPreset:
    """Return one size of a family of attention layers (every family but `elmo`).

    Raises: ModelError: there is no such family or size, or it is ELMo.
    """
    found = preset(family, size)
    if not isinstance(found, AttentionPreset):
        raise ModelError(f"{family} is not made of attention layers; ask `elmo_preset` for it")
    return found


def elmo_preset(size: str) -> ElmoPreset:
    """Return one size of ELMo.

    Raises: ModelError: there is no such size.
    """
    found = preset("elmo", size)
    if not isinstance(found, ElmoPreset):
        raise ModelError(f"elmo@{size} is not described as an ELMo")
    return found


def _nearest(given: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(given, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
