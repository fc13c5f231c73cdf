"""What a suite may say about the sentence classification workload, strictly checked."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from harness.errors import ConfigError
from harness.records import Frozen
from harness.workloads.strict import convert

SPLITS = ("train", "validation", "test")
"""The splits every data set has, in this order."""

Count = Annotated[int, Meta(ge=1)]
Column = str | Annotated[int, Meta(ge=0)]


class Limit(Frozen, frozen=True, kw_only=True):
    """At most so many examples a split, drawn so that classes keep their shares; None takes all."""

    train: Count | None = None
    validation: Count | None = None
    test: Count | None = None


class DocstringData(Frozen, frozen=True, kw_only=True, tag_field="source", tag="docstrings"):
    """Real English out of the running Python's standard library."""

    limit: Limit = Limit()


class FileData(Frozen, frozen=True, kw_only=True, tag_field="source", tag="file"):
    """The user's own files; TSV, CSV or JSONL by their extension.

    `text` and `label` are column names (JSONL: keys), or indices from 0 where `header` is false.
    """

    train: str
    validation: str
    test: str
    text: Column = "text"
    label: Column = "label"
    header: bool = True
    limit: Limit = Limit()


class HubSplits(Frozen, frozen=True, kw_only=True):
    """What the three splits are called in a hub data set."""

    train: str = "train"
    validation: str = "validation"
    test: str = "test"


class HubData(Frozen, frozen=True, kw_only=True, tag_field="source", tag="hub"):
    """A data set of the Hugging Face hub; needs the extra `datasets`."""

    id: Annotated[str, Meta(min_length=1)]
    config: str | None = None
    revision: str | None = None
    text: str = "text"
    label: str = "label"
    splits: HubSplits = HubSplits()
    limit: Limit = Limit()


class FolderModel(Frozen, frozen=True, kw_only=True, tag_field="source", tag="folder"):
    """A local folder in the `transformers` layout; `sha256` pins its `model.safetensors`."""

    path: Annotated[str, Meta(min_length=1)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None


class HubModel(Frozen, frozen=True, kw_only=True, tag_field="source", tag="hub"):
    """A model of the Hugging Face hub; safetensors only, never its own code."""

    id: Annotated[str, Meta(min_length=1)]
    revision: str | None = None


class RandomModel(Frozen, frozen=True, kw_only=True, tag_field="source", tag="random"):
    """A BERT of given depth and width from random weights; `vocabulary` is the tokeniser's size at most."""

    layers: Count = 4
    hidden: Count = 256
    heads: Count = 4
    vocabulary: Annotated[int, Meta(ge=100)] = 8000


class SizedModel(Frozen, frozen=True, kw_only=True, tag_field="source", tag="size"):
    """A BERT of a published size (`tiny`, `mini`, `small`, `base`, `large`) from random weights.

    `vocabulary` is its number of tokens, None the published one; the tokeniser has as many at most.
    """

    size: str
    vocabulary: Annotated[int, Meta(ge=100)] | None = None


class MinilmModel(Frozen, frozen=True, kw_only=True, tag_field="source", tag="minilm"):
    """The packaged MiniLM (extra `minilm`), its weights checked by sha256.

    `otherwise` is the model that stands in where the package is not installed; it is named in every output.
    """

    otherwise: RandomModel | None = None


Data = DocstringData | FileData | HubData
Model = MinilmModel | FolderModel | HubModel | RandomModel | SizedModel


class Params(Frozen, frozen=True, kw_only=True):
    """All parameters of the workload; texts longer than `max_length` tokens are cut there."""

    data: Data = DocstringData()
    model: Model = MinilmModel()
    max_length: Annotated[int, Meta(ge=8)] = 64


def parse(params: dict[str, Any]) -> Params:
    """Return the checked parameters.

    Raises: ConfigError: a key or value is not valid; names its path and the nearest valid one.
    """
    parsed = convert(params, Params)
    spelled = parsed.model.otherwise if isinstance(parsed.model, MinilmModel) else parsed.model
    if isinstance(spelled, RandomModel) and spelled.hidden % spelled.heads:
        raise ConfigError(f"workload.model.hidden: {spelled.hidden} is not a multiple of heads ({spelled.heads})")
    if isinstance(parsed.data, FileData) and not parsed.data.header and not parsed.data.train.endswith(".jsonl"):
        for key, column in (("text", parsed.data.text), ("label", parsed.data.label)):
            if isinstance(column, str):
                raise ConfigError(
                    f"workload.data.{key}: with `header: false` a column is given by its index from 0, not {column!r}"
                )
    return parsed
