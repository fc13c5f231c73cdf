"""Sequence classification models and tokenisers out of a checked folder; never their own code.

Shape suffixes: N items, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.contract import Outputs, Padding

from harness.errors import ModelError
from harness.workloads.quiet import quiet_loading

_SAFE = {"local_files_only": True, "trust_remote_code": False}


def load_config(folder: Path, classes: Sequence[str]) -> Any:
    """Return the configuration of a folder with the head set to `classes`.

    Raises: ModelError: `transformers` does not know the model.
    """
    from transformers import AutoConfig

    try:
        with quiet_loading():
            loaded = AutoConfig.from_pretrained(folder, num_labels=len(classes), **_SAFE)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"cannot read the model configuration in {folder}: {_first_line(error)}") from error
    return name_classes(loaded, classes)


def name_classes(config: Any, classes: Sequence[str]) -> Any:
    """Return the configuration with its labels set to `classes`."""
    config.num_labels = len(classes)
    config.id2label = dict(enumerate(classes))
    config.label2id = {label: number for number, label in enumerate(classes)}
    return config


def load_tokenizer(folder: Path) -> Any:
    """Return the fast tokeniser of a folder; where it has no padding token, it pads with its end.

    Raises: ModelError: there is none, or it has neither token.
    """
    from transformers import AutoTokenizer

    try:
        with quiet_loading():
            tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, **_SAFE)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"cannot load the tokeniser in {folder}: {_first_line(error)}") from error
    if not tokenizer.is_fast:
        raise ModelError(f"the tokeniser in {folder} has no fast version (tokenizer.json); joulebench needs one")
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise ModelError(
                f"the tokeniser in {folder} has neither a padding token nor an end token, and batches need padding; "
                "set its pad_token and save it again"
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def refuse_padding_before_class(tokenizer: Any, folder: Path) -> None:
    """Refuse a tokeniser that pads on the left of a text whose first token is what a class is read from.

    Raises: ModelError.
    """
    first = tokenizer("a")["input_ids"][:1]
    if tokenizer.padding_side == "left" and first == [tokenizer.cls_token_id]:
        raise ModelError(
            f"the tokeniser in {folder} pads on the left, and its texts begin with {tokenizer.cls_token}, from which a "
            "class is read; set its padding_side to right and save it again"
        )


def new(config: Any, seed: int, folder: Path | None = None) -> Any:
    """Return a model on the CPU, random by `seed`; with `folder`, its encoder weights come from there.

    The head is new in either case. Torch's global random state is left as it was.

    Raises: ModelError: the architecture has no sequence classifier, or weights are missing.
    """
    import torch

    with torch.random.fork_rng(devices=[]), quiet_loading():
        torch.manual_seed(seed)
        model = _classifier(config)
        if folder is not None:
            _fill(model.base_model, config, folder)
    return model.float()


def load(folder: Path, auto: str = "AutoModelForSequenceClassification", config: Any = None) -> Any:
    """Return the model of a folder in float32 and eval mode on the CPU; `auto` is the class that loads it.

    `config` stands in for the folder's own where it is given.

    Raises: ModelError: the folder cannot be read, has no such head, or lacks weights.
    """
    import transformers
    from safetensors import SafetensorError

    try:
        with quiet_loading():
            model, report = getattr(transformers, auto).from_pretrained(
                folder, config=config, use_safetensors=True, output_loading_info=True, dtype="float32", **_SAFE
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"cannot load the model in {folder}: {_first_line(error)}") from error
    if report["missing_keys"]:
        raise ModelError(
            f"the model in {folder} lacks {min(report['missing_keys'])}, which {type(model).__name__} needs; train it "
            "again, or give a model that was trained for this task"
        )
    return model.eval()


def random(folder: Path, auto: str, seed: int) -> Any:
    """Return the architecture of a folder from random weights, in float32 on the CPU.

    Torch's global random state is left as it was.

    Raises: ModelError: `transformers` does not know the model, or it has no such head.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _from_config(folder, auto).float()


def parameters_of(folder: Path, auto: str) -> tuple[str, int]:
    """Return the class name and the number of parameters of a folder's model, no memory taken.

    Raises: ModelError: as `random`.
    """
    import torch

    with torch.device("meta"):
        model = _from_config(folder, auto)
    return type(model).__name__, sum(tensor.numel() for tensor in model.parameters())


def _from_config(folder: Path, auto: str) -> Any:
    import transformers

    try:
        with quiet_loading():
            config = transformers.AutoConfig.from_pretrained(folder, **_SAFE)
            return getattr(transformers, auto).from_config(config, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} holds no model that {auto} can make: {_first_line(error)}") from error


def classify(
    model: Any, tokenizer: Any, texts: Sequence[str], batch_size: int, max_length: int, padding: Padding, device: str
) -> Outputs:
    """Return `logits_NC` of N texts in their order, as float32, of a model in eval mode on the device."""
    import numpy as np
    import torch

    parts = []
    with torch.inference_mode():
        for start in range(0, len(texts), batch_size):
            inputs = tokenizer(
                list(texts[start : start + batch_size]),
                padding=padding,
                truncation=True,
                max_length=max_length,
                return_tensors="pt",
            )
            parts.append(model(**inputs.to(device)).logits.float().cpu().numpy())
    logits_NC: Outputs = np.concatenate(parts)
    return logits_NC


def parameters(config: Any) -> tuple[str, int]:
    """Return the class name and the number of parameters of the classifier, no memory taken.

    Raises: ModelError: as `empty`.
    """
    model = empty(config)
    return type(model).__name__, sum(tensor.numel() for tensor in model.parameters())


def empty(config: Any) -> Any:
    """Return the classifier without memory, on the meta device.

    Raises: ModelError: the architecture has no sequence classifier.
    """
    import torch

    with torch.device("meta"), quiet_loading():
        return _classifier(config)


def _classifier(config: Any) -> Any:
    from transformers import AutoModelForSequenceClassification

    try:
        return AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    except ValueError as error:
        raise ModelError(
            f"transformers has no sequence classifier for {config.model_type!r}: {_first_line(error)}"
        ) from error


def _fill(encoder: Any, config: Any, folder: Path) -> None:
    """Copy a folder's weights into an encoder of the same configuration.

    A pooler may be missing (many checkpoints have none): it then stays random, as a head does.
    """
    from safetensors import SafetensorError
    from transformers import AutoModel

    try:
        loaded, report = AutoModel.from_pretrained(
            folder, config=config, use_safetensors=True, output_loading_info=True, dtype="float32", **_SAFE
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"cannot load the weights in {folder}: {_first_line(error)}") from error
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if missing:
        raise ModelError(
            f"the weights in {folder} lack {len(missing)} tensors of the model that its config.json describes "
            f"(first: {missing[0]}); the two do not belong together"
        )
    random_pooler = {key for key in report["missing_keys"] if "pooler" in key}
    weights = {key: tensor for key, tensor in loaded.state_dict().items() if key not in random_pooler}
    left = encoder.load_state_dict(weights, strict=False).missing_keys
    if any("pooler" not in key for key in left):
        raise ModelError(f"the encoder in {folder} does not fit its classifier: {min(left)} is missing")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
