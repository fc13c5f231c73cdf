"""The head of a finished classifier: whether it is for the classes of the data, and its outputs in their order."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from harness.workloads import folders, models


def own(config: Any, folder: Path) -> list[int] | None:
    """Return at which output of the folder's head each class of `config` stands; None where it has no such head.

    It has one if its configuration names these classes and no others, and its weights hold the head's tensors, with
    those of the pooler that the head reads.

    Raises: ModelError: the folder cannot be read, or its architecture has no sequence classifier.
    """
    classes, found = list(config.label2id), folders.read_config(folder).get("label2id")
    if not isinstance(found, dict) or set(found) != set(classes):
        return None
    places = [str(found[name]) for name in classes]
    if set(places) != {str(place) for place in range(len(classes))}:
        return None
    model = models.empty(config)
    head = {
        name for name in model.state_dict() if not name.startswith(f"{model.base_model_prefix}.") or "pooler" in name
    }
    return [int(place) for place in places] if head <= folders.tensor_names(folder) else None


def load(config: Any, folder: Path, places: list[int]) -> Any:
    """Return a folder's classifier with its own head, whose outputs are put into the order of the classes of `config`.

    `places` are what `own` returns. The model is in float32 and eval mode on the CPU.

    Raises: ModelError: weights are missing or damaged.
    """
    import torch

    model = models.load(folder, config=config)
    if places == sorted(places):
        return model
    # What has another shape with one class more is what a class has a row of.
    more = copy.deepcopy(config)
    more.num_labels = len(places) + 1
    wider = dict(models.empty(more).named_parameters())
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            for axis, (size, other) in enumerate(zip(tensor.shape, wider[name].shape, strict=True)):
                if size != other:
                    tensor.copy_(tensor.index_select(axis, torch.tensor(places)))
    return model
