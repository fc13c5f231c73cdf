"""Classify one sentence: a transformer encoder with a softmax head; one task is one sentence.

Data come from the running Python's docstrings, the user's files or a hub data set; models from
the packaged MiniLM, a folder, the hub, or random weights. The quality measure is accuracy.

Shape suffixes: N items, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.contract import Evaluation, Examples
from harness.errors import DataError, ModelError
from harness.records import DataInfo, ModelInfo
from harness.training import Labelled, text_batches
from harness.workloads import folders, heads, labelled_texts, models, random_bert, splits
from harness.workloads.architectures import building
from harness.workloads.architectures.building import Fitting
from harness.workloads.architectures.presets import attention_preset
from harness.workloads.evaluating import answers
from harness.workloads.params import (
    FolderModel,
    HubModel,
    MinilmModel,
    Params,
    RandomModel,
    SizedModel,
    parse,
)
from harness.workloads.sourced import unprepared
from harness.workloads.sources import Sized, name_of, refuse_unless_weights_fit

if TYPE_CHECKING:
    import torch

    from harness.contract import Outputs, Padding


def load(params: dict[str, Any], seed: int) -> SentenceClassification:
    """Return the workload; nothing is read yet.

    Raises: ConfigError: a parameter is not valid.
    """
    return SentenceClassification(parse(params), seed)


def settle(params: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return the parameters with the model that can be had here, and what to say of a replacement.

    Raises: ConfigError: a parameter is not valid.
    """
    model = parse(params).model
    if not isinstance(model, MinilmModel) or model.otherwise is None:
        return params, None
    if folders.has_minilm():
        return {**params, "model": {"source": "minilm"}}, None
    note = (
        f"the packaged MiniLM is not installed ({folders.INSTALL_MINILM}); a BERT from random weights stands in, and "
        "techniques that start from pretrained weights are skipped"
    )
    return {**params, "model": msgspec.to_builtins(model.otherwise)}, note


class SentenceClassification:
    """The workload, as `harness.contract.TextClassification` describes it.

    Its parts are read at most once, on first use after `prepare`.
    """

    name = "sentence_classification"
    task = "text_classification"
    metric = learned = "accuracy"

    def __init__(self, params: Params, seed: int) -> None:
        self.params = params
        self.seed = seed
        self.max_length = params.max_length
        self._data: splits.Dataset | None = None
        self._folder: Path | None = None
        self._tokenizer: Any = None

    def check(self) -> None:
        """Refuse what cannot work, cheaply: reads the user's files and the model's hash, no torch.

        Raises: DataError, ModelError, MissingExtra.
        """
        self._data, model = labelled_texts.check(self.params.data), self.params.model
        if isinstance(model, SizedModel):
            Sized("bert", model.size, "classes").check(self.max_length)
        elif not isinstance(model, RandomModel | HubModel):
            self._folder = folders.find(model)
            folders.check_length(self._folder, self.max_length)

    def prepare(self, cache: Path) -> None:
        """Read the data, find the model, make or load its tokeniser.

        Raises: DataError, ModelError, MissingExtra.
        """
        data = self._data = self._data or labelled_texts.read(self.params.data, cache)
        model = self.params.model
        if isinstance(model, RandomModel | SizedModel):
            file = random_bert.tokenizer_file(data.train.texts, _tokens(model), cache)
            self._tokenizer = random_bert.tokenizer(file, self.max_length)
        else:
            folder = self._folder = self._folder or folders.find(model)
            folders.check_length(folder, self.max_length)
            self._tokenizer = models.load_tokenizer(folder)
            models.refuse_padding_before_class(self._tokenizer, folder)

    def data_info(self) -> DataInfo:
        """Return what the data is, with the sha256 over its texts, labels and splits."""
        return labelled_texts.info(self.params.data, self._prepared())

    def examples(self, split: str) -> Examples:
        """Return `train`, `validation` or `test`.

        Raises: DataError: no such split.
        """
        return self._prepared().split(split)

    def scores(self, outputs: Outputs, examples: Examples) -> tuple[float, ...]:
        """Return 1.0 for each of N items whose largest of `logits_NC` is its label's, else 0.0.

        Raises: DataError: the outputs are not one row an item.
        """
        return right(outputs, examples, self._prepared().classes)

    def evaluate(self, model: Any, examples: Examples, device: str) -> Evaluation:
        """Return whether each item is classified right."""
        return Evaluation(scores=self.scores(answers(self, model, examples.texts, device), examples))

    def has_pretrained(self) -> str | None:
        """Return None if pretrained weights are at hand, else the reason why not."""
        if isinstance(self.params.model, RandomModel | SizedModel):
            return "the suite asks for random weights, so nothing is pretrained"
        return None

    def model_type(self) -> str | None:
        """Return the architecture's short name (`bert`), or None for a hub model that is not here yet."""
        if isinstance(self.params.model, RandomModel | SizedModel):
            return "bert"
        if self._folder is None and isinstance(self.params.model, HubModel):
            return None
        folder = self._folder = self._folder or folders.find(self.params.model)
        return str(folders.read_config(folder).get("model_type"))

    def tokenizer(self) -> Any:
        """Return the fast tokeniser of the model.

        Raises: DataError: not prepared yet.
        """
        if self._tokenizer is None:
            raise unprepared()
        return self._tokenizer

    def new_model(self, *, pretrained: bool, seed: int) -> torch.nn.Module:
        """Return a fresh float32 classifier on the CPU; with `pretrained`, with its own weights.

        Its head is its own as well where the folder has one for the data's classes; else it is new.

        Raises: ModelError: no pretrained weights, or they do not fit.
        """
        model: torch.nn.Module
        if not pretrained:
            model = models.new(self._config(), seed)
            return model
        reason = self.has_pretrained()
        if reason:
            raise ModelError(reason)
        config, folder = self._config(), self._located()
        places = heads.own(config, folder)
        model = models.new(config, seed, folder) if places is None else heads.load(config, folder, places)
        return model

    def refuse_unless_fits(self, *, training: bool, batch_size: int, device: str) -> None:
        """Refuse a model that needs more memory than the device has free; only a published size is judged by the batch.

        Raises: ModelError: says the estimate and what is free.
        """
        model = self.params.model
        if isinstance(model, SizedModel):
            Sized("bert", model.size, "classes", Fitting(vocabulary=_tokens(model))).refuse_unless_fits(
                training=training, batch=batch_size, length=self.max_length, device=device
            )
        else:
            _, count = models.parameters(self._config())
            refuse_unless_weights_fit(self._source(), count, training=training, device=device)

    def objective(self, device: str) -> Labelled:
        """Return the training split, tokenised, with its classes."""
        train = self.examples("train")
        return Labelled(text_batches(self.tokenizer(), train.texts, self.max_length, device), train.labels, device)

    def answer(self, model: Any, texts: Sequence[str], *, batch_size: int, padding: Padding, device: str) -> Outputs:
        """Return `logits_NC` of N texts, in float32."""
        return models.classify(model, self.tokenizer(), texts, batch_size, self.max_length, padding, device)

    def save(self, model: Any, folder: Path) -> None:
        """Write configuration, safetensors weights and tokeniser."""
        model.save_pretrained(folder)
        self.tokenizer().save_pretrained(folder)

    def load(self, folder: Path) -> torch.nn.Module:
        """Return a saved classifier in eval mode on the CPU.

        Raises: ModelError: the folder is not what `save` leaves.
        """
        loaded: torch.nn.Module = models.load(folder)
        return loaded

    def model_info(self) -> ModelInfo:
        """Return what the model is; `weights_sha256` is of the pretrained weights, None for random ones."""
        config, source = self._config(), self._source()
        architecture, count = models.parameters(config)
        if self.has_pretrained() is not None:
            return ModelInfo(source=source, architecture=architecture, parameters=count)
        folder = self._located()
        if isinstance(self.params.model, FolderModel | HubModel) and heads.own(config, folder) is None:
            source += ", new head"
        sha256 = folders.weights_sha256(folder)
        return ModelInfo(source=source, architecture=architecture, parameters=count, weights_sha256=sha256)

    def _source(self) -> str:
        """Return what records call the model."""
        spec = self.params.model
        if isinstance(spec, RandomModel):
            return f"random {spec.layers}x{spec.hidden}"
        if isinstance(spec, SizedModel):
            return f"random bert@{spec.size}"
        if isinstance(spec, MinilmModel):
            return "packaged MiniLM (all-MiniLM-L6-v2)"
        return name_of(spec, self._located())

    def _config(self) -> Any:
        classes = self._prepared().classes
        spec = self.params.model
        if isinstance(spec, RandomModel):
            return models.name_classes(random_bert.config(spec, len(self.tokenizer()), self.max_length), classes)
        if isinstance(spec, SizedModel):
            fitting = Fitting(vocabulary=_tokens(spec), special=random_bert.SPECIAL)
            return models.name_classes(building.config(attention_preset("bert", spec.size), fitting), classes)
        config = models.load_config(self._located(), classes)
        # A decoder reads the class from the last token that is not padding.
        text = config.get_text_config()
        if getattr(text, "pad_token_id", None) is None:
            text.pad_token_id = self.tokenizer().pad_token_id
        return config

    def _prepared(self) -> splits.Dataset:
        if self._data is None:
            raise unprepared()
        return self._data

    def _located(self) -> Path:
        if self._folder is None:
            raise unprepared()
        return self._folder


def _tokens(model: RandomModel | SizedModel) -> int:
    """Return how many tokens a random model has at most."""
    if isinstance(model, SizedModel) and model.vocabulary is None:
        return attention_preset("bert", model.size).vocabulary
    return int(model.vocabulary or 0)


def right(logits_NC: Outputs, examples: Examples, classes: Sequence[str]) -> tuple[float, ...]:
    """Return 1.0 for each of N items whose largest logit is its label's, else 0.0.

    Raises: DataError: the outputs are not one row an item and one column a class.
    """
    if logits_NC.shape != (len(examples.labels), len(classes)):
        raise DataError(
            f"outputs have the shape {logits_NC.shape}, but there are {len(examples.labels)} items and {len(classes)} "
            "classes"
        )
    best_N = logits_NC.argmax(axis=1)
    return tuple(float(best == label) for best, label in zip(best_N, examples.labels, strict=True))
