"""Where a workload's model comes from: a published size with random weights, or a folder or hub id with its own.

Both offer the same few functions, so that a workload does not know which it has. torch is imported inside them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from harness.errors import ConfigError, ModelError
from harness.records import ModelInfo
from harness.workloads import folders, models
from harness.workloads.architectures import building
from harness.workloads.architectures.building import Fitting, Head
from harness.workloads.architectures.presets import AttentionPreset, Preset, attention_preset
from harness.workloads.evaluating import evaluation_batch
from harness.workloads.params import FolderModel, HubModel

if TYPE_CHECKING:
    import torch

AUTO = {
    "causal": "AutoModelForCausalLM",
    "translation": "AutoModelForSeq2SeqLM",
    "masked": "AutoModelForMaskedLM",
    "classes": "AutoModelForSequenceClassification",
}
"""The class of `transformers` that loads a model with each head."""


class ModelSource(Protocol):
    """Gives models for one task."""

    def check(self, max_length: int) -> None:
        """Refuse cheaply what cannot work: a missing folder, too few positions.

        Raises: ModelError.
        """

    def has_pretrained(self) -> str | None:
        """Return None if pretrained weights are at hand, else the reason why not."""

    def new(self, *, pretrained: bool, seed: int) -> torch.nn.Module:
        """Return a fresh model in float32 on the CPU."""

    def info(self) -> ModelInfo:
        """Return what the model is."""

    def refuse_unless_fits(self, *, training: bool, batch: int, length: int, device: str) -> None:
        """Refuse a model that needs more memory than is free.

        Raises: ModelError.
        """


class Sized:
    """A preset of a family, random by seed. `fit` before a model is asked for: vocabulary and special ids."""

    def __init__(self, family: str, size: str, head: Head, fitting: Fitting | None = None) -> None:
        try:
            self.preset: AttentionPreset = attention_preset(family, size)
        except ModelError as error:
            raise ConfigError(f"workload.size: {error}") from error
        self.head = head
        self._fitting = fitting

    def check(self, max_length: int) -> None:
        """Refuse sequences longer than the model's positions.

        Raises: ModelError.
        """
        if max_length > self.preset.positions:
            raise ModelError(
                f"workload.max_length: {max_length} tokens do not fit {self.preset.family}@{self.preset.size}, "
                f"which has {self.preset.positions} positions"
            )

    def fit(self, fitting: Fitting) -> None:
        """Take what the data ask of the model."""
        self._fitting = fitting

    def has_pretrained(self) -> str | None:
        """Return why there are no pretrained weights: a size is drawn at random."""
        return f"{self.preset.family}@{self.preset.size} is drawn from random weights, so nothing is pretrained"

    def new(self, *, pretrained: bool, seed: int) -> torch.nn.Module:
        """Return a fresh model in float32 on the CPU.

        Raises: ModelError: pretrained weights are asked for.
        """
        if pretrained:
            raise ModelError(str(self.has_pretrained()))
        model: torch.nn.Module = building.build(self.preset, seed=seed, head=self.head, fitting=self._fitting)
        return model

    def refuse_unless_fits(self, *, training: bool, batch: int, length: int, device: str) -> None:
        """Refuse a batch of sequences of `length` tokens that needs more memory than is free.

        Raises: ModelError: says the estimate and what is free.
        """
        vocabulary = self._fitting.vocabulary if self._fitting is not None else None
        refuse_unless_fits(
            self.preset, vocabulary, training=training, batch=batch, length=length, device=device, head=self.head
        )

    def info(self) -> ModelInfo:
        """Return the size, and the parameters that the model has with this vocabulary and head."""
        model = building.build(self.preset, seed=0, head=self.head, fitting=self._fitting, device="meta")
        return ModelInfo(
            source=f"random {self.preset.family}@{self.preset.size}",
            architecture=type(model).__name__,
            parameters=sum(tensor.numel() for tensor in model.parameters() if tensor.requires_grad),
        )


def refuse_unless_fits(
    preset: Preset,
    vocabulary: int | None,
    *,
    training: bool,
    batch: int,
    length: int,
    device: str,
    head: Head | None = None,
) -> None:
    """Refuse a preset with that vocabulary (None: the published) that needs more memory than is free.

    A training needs it for its steps of `batch` sequences and for its evaluation; what is not trained for `batch`
    sequences at once, or, if that is 0, for an evaluation alone.

    Raises: ModelError: says the estimate and what is free.
    """
    from harness.workloads.architectures import counting

    fitted = preset if vocabulary is None else msgspec.structs.replace(preset, vocabulary=vocabulary)
    refuse = partial(counting.refuse_unless_fits, fitted, length=length, device=device, head=head)
    if training:
        refuse(phase="train", batch=batch)
        refuse(phase="evaluate", batch=evaluation_batch(length))
    elif batch == 0:
        refuse(phase="untrained", batch=evaluation_batch(length))
    else:
        refuse(phase="infer", batch=batch)


_WEIGHT_BYTES, _LEARNING_BYTES = 4, 16
"""Bytes a parameter in float32: the weight, and with it, while AdamW trains it, its gradient and two moments."""


def refuse_unless_weights_fit(name: str, parameters: int, *, training: bool, device: str) -> None:
    """Refuse a model of so many parameters whose weights alone need more memory than is free.

    With `training` its gradients and the moments of AdamW are added; activations never are.

    Raises: ModelError: says what is needed at least and what is free.
    """
    from harness.workloads.architectures import counting

    each = _LEARNING_BYTES if training else _WEIGHT_BYTES
    needed, free = each * parameters, counting.free_on(device)
    if free is not None and needed > free:
        raise ModelError(
            f"{name}: {'training' if training else 'inference'} needs at least {needed / 1e9:.1f} GB ({each} bytes for "
            f"each of {parameters:,} parameters), and {free / 1e9:.1f} GB are free on {device}; take a smaller model"
        )


def name_of(spec: FolderModel | HubModel, folder: Path) -> str:
    """Return what records call a model that lies in `folder`."""
    if isinstance(spec, FolderModel):
        return f"folder {Path(spec.path).name}"
    return f"hub {spec.id}@{spec.revision or folder.name}"


class Kept:
    """A model in a folder or on the hub, in the `transformers` layout; safetensors only, never its own code."""

    def __init__(self, spec: FolderModel | HubModel, head: Head) -> None:
        self.spec = spec
        self.head = head
        self._folder: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder, found or downloaded at first use.

        Raises: ModelError: it cannot be had.
        """
        if self._folder is None:
            self._folder = folders.find(self.spec)
        return self._folder

    def check(self, max_length: int) -> None:
        """Refuse a missing folder and sequences longer than its positions; a hub model is not downloaded for it.

        Raises: ModelError.
        """
        if not isinstance(self.spec, HubModel):
            folders.check_length(self.folder, max_length)

    def tokenizer(self, max_length: int) -> Any:
        """Return the fast tokeniser of the model, which is found or downloaded, and refused as in `check`.

        Raises: ModelError.
        """
        folders.check_length(self.folder, max_length)
        return models.load_tokenizer(self.folder)

    def has_pretrained(self) -> str | None:
        """Return None: a folder has weights."""
        return None

    def new(self, *, pretrained: bool, seed: int) -> torch.nn.Module:
        """Return the model with its own weights, or the same architecture from random ones.

        Raises: ModelError: it cannot be loaded, or the folder's architecture has no such head.
        """
        model: torch.nn.Module
        if pretrained:
            model = models.load(self.folder, AUTO[self.head])
        else:
            model = models.random(self.folder, AUTO[self.head], seed)
        return model

    def refuse_unless_fits(self, *, training: bool, batch: int, length: int, device: str) -> None:
        """Refuse a model whose weights alone need more memory than is free; the batch is not judged.

        Raises: ModelError: says what is needed at least and what is free.
        """
        del batch, length  # what they need in a foreign architecture is not known before it runs
        _, count = models.parameters_of(self.folder, AUTO[self.head])
        refuse_unless_weights_fit(name_of(self.spec, self.folder), count, training=training, device=device)

    def info(self) -> ModelInfo:
        """Return what the model is, with the hash of its weights."""
        architecture, count = models.parameters_of(self.folder, AUTO[self.head])
        return ModelInfo(
            source=name_of(self.spec, self.folder),
            architecture=architecture,
            parameters=count,
            weights_sha256=folders.weights_sha256(self.folder),
        )


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a model's configuration and safetensors weights, and its tokeniser."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load(folder: Path, head: Head) -> torch.nn.Module:
    """Return a model that `save` wrote, in eval mode on the CPU.

    Raises: ModelError: the folder is not what `save` leaves.
    """
    model: torch.nn.Module = models.load(folder, AUTO[head])
    return model
