"""Translate one sentence: the Transformer of "Attention Is All You Need" at its sizes; one task is one sentence.

Vaswani et al. 2017, arXiv 1706.03762: `tiny` (ours), `base` (65M), `big` (213M). The embedded data ask for a real
sequence-to-sequence task in one language, to restore case and punctuation; parallel files such as Multi30k's go
by path.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from harness.records import Frozen
from harness.workloads.pairs import DocumentationPairs, PairData
from harness.workloads.params import Count
from harness.workloads.sequence_to_sequence import SequenceToSequence, Settings
from harness.workloads.sources import Sized
from harness.workloads.strict import convert, spelled
from harness.workloads.vocabularies import FEWEST

SMOOTHING = 0.1
"""Label smoothing (section 5.4 of the paper)."""


class Params(Frozen, frozen=True, kw_only=True):
    """All parameters of the workload.

    `vocabulary` is the number of tokens that both languages share (None: the published 37,000; `tiny`: 4,000).
    Sentences are cut at `max_length` tokens; at most `new_tokens` are written.
    """

    data: PairData = DocumentationPairs()
    size: str = "tiny"
    vocabulary: Annotated[int, Meta(ge=FEWEST)] | None = None
    max_length: Annotated[int, Meta(ge=8)] = 64
    new_tokens: Count = 64


def load(params: dict[str, Any], seed: int) -> SequenceToSequence:
    """Return the workload; nothing is read yet.

    Raises: ConfigError: a parameter is not valid.
    """
    parsed = convert(params, Params)
    settings = Settings(
        seed=seed,
        max_length=parsed.max_length,
        new_tokens=parsed.new_tokens,
        vocabulary=parsed.vocabulary,
        smoothing=SMOOTHING,
    )
    return SequenceToSequence("translate", parsed.data, Sized("transformer", parsed.size, "translation"), settings)


def settle(params: dict[str, Any]) -> tuple[dict[str, Any], None]:
    """Return the parameters spelled out; nothing is ever replaced.

    Raises: ConfigError: a parameter is not valid.
    """
    load(params, 0)
    return spelled(params, Params), None
