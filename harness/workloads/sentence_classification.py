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
from harness.workloads import folders, labelled_texts, models, random_bert, splits
from harness.workloads.architectures import building
from harness.workloads.architectures.building import Fitting
from harness.workloads.architectures.presets import attention_preset
from harness.workloads.params import (
    HubModel,
    MinilmModel,
    Params,
    RandomModel,
    SizedModel,
    parse,
)
from harness.workloads.slicing import answers
from harness.workloads.sources import Sized

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
        self._vocabulary: Path | None = None
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
            self._check_length(self._folder)

    def prepare(self, cache: Path) -> None:
        """Read the data and find the model; make the tokeniser of a random model.

        Raises: DataError, ModelError, MissingExtra.
        """
        data = self._data = self._data or labelled_texts.read(self.params.data, cache)
        model = self.params.model
        if isinstance(model, RandomModel | SizedModel):
            self._vocabulary = random_bert.tokenizer_file(data.train.texts, _tokens(model), cache)
        else:
            self._folder = self._folder or folders.find(model)
            self._check_length(self._folder)

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

        Raises: ModelError: it cannot be loaded.
        """
        if self._tokenizer is None:
            if self._vocabulary is not None:
                self._tokenizer = random_bert.tokenizer(self._vocabulary, self.max_length)
            else:
                self._tokenizer = models.load_tokenizer(self._located())
        return self._tokenizer

    def new_model(self, *, pretrained: bool, seed: int) -> torch.nn.Module:
        """Return a fresh float32 classifier on the CPU, its head new, the rest by `pretrained`.

        Raises: ModelError: no pretrained weights, or they do not fit.
        """
        reason = self.has_pretrained() if pretrained else None
        if reason:
            raise ModelError(reason)
        model: torch.nn.Module = models.new(self._config(), seed, self._located() if pretrained else None)
        return model

    def refuse_unless_fits(self, *, training: bool, batch_size: int, device: str) -> None:
        """Refuse a published size that needs more memory than the device has free; other models are not judged.

        Raises: ModelError: says the estimate and what is free.
        """
        model = self.params.model
        if isinstance(model, SizedModel):
            Sized("bert", model.size, "classes", Fitting(vocabulary=_tokens(model))).refuse_unless_fits(
                training=training, batch=batch_size, length=self.max_length, device=device
            )

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
        spec = self.params.model
        architecture, count = models.parameters(self._config())
        if isinstance(spec, RandomModel):
            source = f"random {spec.layers}x{spec.hidden}"
            return ModelInfo(source=source, architecture=architecture, parameters=count)
        if isinstance(spec, SizedModel):
            return ModelInfo(source=f"random bert@{spec.size}", architecture=architecture, parameters=count)
        source = "packaged MiniLM (all-MiniLM-L6-v2)"
        if isinstance(spec, HubModel):
            source = f"hub {spec.id}@{spec.revision or self._located().name}"
        elif not isinstance(spec, MinilmModel):
            source = f"folder {Path(spec.path).name}"
        sha256 = folders.weights_sha256(self._located())
        return ModelInfo(source=source, architecture=architecture, parameters=count, weights_sha256=sha256)

    def _config(self) -> Any:
        classes = self._prepared().classes
        spec = self.params.model
        if isinstance(spec, RandomModel):
            return models.name_classes(random_bert.config(spec, len(self.tokenizer()), self.max_length), classes)
        if isinstance(spec, SizedModel):
            fitting = Fitting(vocabulary=_tokens(spec), special=random_bert.SPECIAL)
            return models.name_classes(building.config(attention_preset("bert", spec.size), fitting), classes)
        return models.load_config(self._located(), classes)

    def _prepared(self) -> splits.Dataset:
        if self._data is None:
            raise DataError("the workload is not prepared; call prepare(cache) first")
        return self._data

    def _located(self) -> Path:
        if self._folder is None:
            raise ModelError("the workload is not prepared; call prepare(cache) first")
        return self._folder

    def _check_length(self, folder: Path) -> None:
        positions = folders.read_config(folder).get("max_position_embeddings")
        if isinstance(positions, int) and self.max_length > positions:
            raise ModelError(
                f"workload.max_length: {self.max_length} tokens do not fit the model in {folder}, which has "
                f"{positions} positions"
            )


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
