"""Classify one sentence, or fill in its masked words: BERT at its published sizes; one task is one sentence.

Devlin et al. 2019, arXiv 1810.04805, and Turc et al. 2019, arXiv 1908.08962: `tiny`, `mini`, `small`, `base` (110M),
`large` (340M), from random weights. `goal: classes` trains a classifier on labelled texts, `goal: masked_words` is the
pretraining on running text.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from harness.contract import Workload
from harness.errors import ConfigError
from harness.records import Frozen
from harness.workloads import params as labelled
from harness.workloads.language import DocumentationData, TextData
from harness.workloads.masked_words import MaskedWords, Settings
from harness.workloads.sentence_classification import SentenceClassification
from harness.workloads.sources import Sized
from harness.workloads.strict import convert, spelled

Vocabulary = Annotated[int, Meta(ge=100)] | None
Length = Annotated[int, Meta(ge=8)]


class ClassesParams(Frozen, frozen=True, kw_only=True):
    """All parameters with `goal: classes`; texts are cut at `max_length` tokens.

    `vocabulary` is the number of tokens, None the published 30,522.
    """

    goal: Literal["classes"] = "classes"
    data: labelled.Data = labelled.DocstringData()
    size: str = "tiny"
    vocabulary: Vocabulary = None
    max_length: Length = 64


class MaskedParams(Frozen, frozen=True, kw_only=True):
    """All parameters with `goal: masked_words`; as with `classes`, but on running text, cut into pieces."""

    goal: Literal["masked_words"]
    data: TextData = DocumentationData()
    size: str = "tiny"
    vocabulary: Vocabulary = None
    max_length: Length = 64


class BertClassification(SentenceClassification):
    """Sentence classification by a BERT of a published size."""

    name = "bert"


def load(params: dict[str, Any], seed: int) -> Workload:
    """Return the workload; nothing is read yet.

    Raises: ConfigError: a parameter is not valid.
    """
    goal = params.get("goal", "classes")
    if goal == "masked_words":
        masked = convert(params, MaskedParams)
        settings = Settings(seed=seed, max_length=masked.max_length, vocabulary=masked.vocabulary)
        return MaskedWords("bert", masked.data, Sized("bert", masked.size, "masked"), settings)
    if goal != "classes":
        raise ConfigError(f"workload.goal: there is no goal {goal!r}; valid: classes, masked_words")
    parsed = convert(params, ClassesParams)
    Sized("bert", parsed.size, "classes")  # an unknown size is refused here, where the suite is read
    model = {"source": "size", "size": parsed.size, "vocabulary": parsed.vocabulary}
    whole: dict[str, Any] = {key: params[key] for key in ("data", "max_length") if key in params}
    whole["model"] = model
    return BertClassification(labelled.parse(whole), seed)


def settle(params: dict[str, Any]) -> tuple[dict[str, Any], None]:
    """Return the parameters spelled out; nothing is ever replaced.

    Raises: ConfigError: a parameter is not valid.
    """
    load(params, 0)
    return spelled(params, MaskedParams if params.get("goal") == "masked_words" else ClassesParams), None
