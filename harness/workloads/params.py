"""What a suite may say about the sentence classification workload, strictly checked."""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from harness.errors import ConfigError
from harness.records import Frozen

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


class MinilmModel(Frozen, frozen=True, kw_only=True, tag_field="source", tag="minilm"):
    """The packaged MiniLM (extra `minilm`), its weights checked by sha256.

    `otherwise` is the model that stands in where the package is not installed; it is named in every output.
    """

    otherwise: RandomModel | None = None


Data = DocstringData | FileData | HubData
Model = MinilmModel | FolderModel | HubModel | RandomModel


class Params(Frozen, frozen=True, kw_only=True):
    """All parameters of the workload; texts longer than `max_length` tokens are cut there."""

    data: Data = DocstringData()
    model: Model = MinilmModel()
    max_length: Annotated[int, Meta(ge=8)] = 64


def parse(params: dict[str, Any]) -> Params:
    """Return the checked parameters.

    Raises: ConfigError: a key or value is not valid; names its path and the nearest valid one.
    """
    try:
        parsed = msgspec.convert(params, Params)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), params)) from error
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


def _explain(message: str, params: dict[str, Any]) -> str:
    where = re.search(r" - at `\$\.?(.*?)`$", message)
    path = where[1] if where else ""
    what = message[: where.start()] if where else message
    full = "workload" + (f".{path}" if path else "")
    unknown = re.search(r"unknown field `(.*?)`", what)
    if unknown:
        return f"{full}: unknown key {unknown[1]!r}{_hint(unknown[1], _keys(path, params))}"
    value = re.search(r"Invalid value '(.*?)'", what)
    if value and path.endswith("source"):
        return f"{full}: there is no source {value[1]!r}{_hint(value[1], _sources(path))}"
    if "missing required field `source`" in what:
        return f"{full}: say which `source`; valid: {', '.join(_sources(path))}"
    return f"{full}: {what[0].lower()}{what[1:]}"


def _hint(wrong: str, valid: list[str]) -> str:
    near = difflib.get_close_matches(wrong, valid, n=1, cutoff=0.5)
    return (f"; did you mean {near[0]!r}?" if near else ";") + f" Valid: {', '.join(valid) or 'none'}"


def _variants(path: str) -> dict[str, type[Any]]:
    kinds: tuple[type[Any], ...] = (DocstringData, FileData, HubData)
    if path.startswith("model"):
        kinds = (MinilmModel, FolderModel, HubModel, RandomModel)
    return {str(kind.__struct_config__.tag): kind for kind in kinds}


def _sources(path: str) -> list[str]:
    return list(_variants(path))


def _keys(path: str, params: dict[str, Any]) -> list[str]:
    if not path:
        return [field.name for field in msgspec.structs.fields(Params)]
    first, *rest = path.split(".")
    nested: dict[str, type[Any]] = {"limit": Limit, "splits": HubSplits}
    if rest:
        kind = nested[rest[0]]
        return [field.name for field in msgspec.structs.fields(kind)]
    kind = _variants(first)[params[first]["source"]]
    return ["source", *(field.name for field in msgspec.structs.fields(kind))]
