"""Any model of `transformers` by folder or hub id: classify, write or go on with text; one task as for its kind.

XLNet, ModernBERT, T5, Llama-like and others: safetensors only, never a model's own code. `task: classes` takes labelled
texts, `task: sequence_to_sequence` pairs, `task: causal` running text.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from harness.contract import Workload
from harness.errors import ConfigError
from harness.records import Frozen
from harness.workloads import causal_generation, sequence_to_sequence
from harness.workloads import params as labelled
from harness.workloads.causal_generation import CausalGeneration
from harness.workloads.language import DocumentationData, TextData
from harness.workloads.pairs import DocumentationPairs, PairData
from harness.workloads.params import Count, FolderModel, HubModel
from harness.workloads.sentence_classification import SentenceClassification
from harness.workloads.sequence_to_sequence import SequenceToSequence
from harness.workloads.sources import Kept
from harness.workloads.strict import convert, spelled

Kind = FolderModel | HubModel
Length = Annotated[int, Meta(ge=8)]


class ClassesParams(Frozen, frozen=True, kw_only=True):
    """Classify labelled texts, cut at `max_length` tokens."""

    task: Literal["classes"]
    model: Kind
    data: labelled.Data = labelled.DocstringData()
    max_length: Length = 64


class PairsParams(Frozen, frozen=True, kw_only=True):
    """Write at most `new_tokens` from a text cut at `max_length` tokens."""

    task: Literal["sequence_to_sequence"]
    model: Kind
    data: PairData = DocumentationPairs()
    max_length: Length = 64
    new_tokens: Count = 64


class CausalParams(Frozen, frozen=True, kw_only=True):
    """Generate `new_tokens` after a prompt of `prompt_words` words; train on blocks of `max_length` tokens."""

    task: Literal["causal"]
    model: Kind
    data: TextData = DocumentationData()
    max_length: Annotated[int, Meta(ge=16)] = 64
    prompt_words: Count = 12
    new_tokens: Count = 16


KINDS: dict[str, type[Frozen]] = {"classes": ClassesParams, "sequence_to_sequence": PairsParams, "causal": CausalParams}


class AnyClassification(SentenceClassification):
    """Sentence classification by a model of the user's."""

    name = "any"


def load(params: dict[str, Any], seed: int) -> Workload:
    """Return the workload; nothing is read yet.

    Raises: ConfigError: a parameter is not valid.
    """
    task = params.get("task")
    if task == "classes":
        convert(params, ClassesParams)
        return AnyClassification(labelled.parse({key: value for key, value in params.items() if key != "task"}), seed)
    if task == "sequence_to_sequence":
        paired = convert(params, PairsParams)
        return SequenceToSequence(
            "any",
            paired.data,
            Kept(paired.model, "translation"),
            sequence_to_sequence.Settings(seed=seed, max_length=paired.max_length, new_tokens=paired.new_tokens),
        )
    if task == "causal":
        causal = convert(params, CausalParams)
        settings = causal_generation.Settings(
            seed=seed, max_length=causal.max_length, prompt_words=causal.prompt_words, new_tokens=causal.new_tokens
        )
        return CausalGeneration("any", causal.data, Kept(causal.model, "causal"), settings)
    raise ConfigError(f"workload.task: say which task the model does; valid: {', '.join(KINDS)}, not {task!r}")


def settle(params: dict[str, Any]) -> tuple[dict[str, Any], None]:
    """Return the parameters spelled out; nothing is ever replaced.

    Raises: ConfigError: a parameter is not valid.
    """
    load(params, 0)
    return spelled(params, KINDS[params["task"]]), None
