"""What the inference techniques share: loading a trained folder, cutting batches, padding, order.

No technique itself. Shape suffixes: N items, C classes, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.contract import Trained
from harness.errors import ModelError
from techniques._quiet import quiet

if TYPE_CHECKING:
    from harness.contract import Outputs


def refuse_other_tasks(workload: Any) -> str | None:
    """Return why a workload that is not text classification is skipped, else None."""
    if workload.task == "text_classification":
        return None
    return f"it needs a text classification workload, and {workload.name} is {workload.task}"


def load_trained(trained: Trained) -> tuple[Any, Any]:
    """Return the classifier in eval mode on the CPU, and its tokeniser.

    Raises: ModelError: the folder is not what a train case leaves.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        with quiet():
            model, report = AutoModelForSequenceClassification.from_pretrained(
                trained.folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(trained.folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"cannot load the trained model of case {trained.case_id} in {trained.folder}: {error}"
        ) from error
    if report["missing_keys"]:
        raise ModelError(f"the trained model in {trained.folder} lacks {min(report['missing_keys'])}; train it again")
    return model.eval(), tokenizer


def tokens(tokenizer: Any, texts: Sequence[str], max_length: int, *, padding: str, kind: str) -> dict[str, Any]:
    """Return the model's inputs for texts, padded to `max_length` or to the `longest`; `kind` is `pt` or `np`."""
    encoded = tokenizer(list(texts), padding=padding, truncation=True, max_length=max_length, return_tensors=kind)
    return dict(encoded)


def arrival_batches(texts: Sequence[str], size: int) -> list[Sequence[str]]:
    """Return the texts in their order, cut into batches of `size`."""
    return [texts[start : start + size] for start in range(0, len(texts), size)]


def in_order(parts: Sequence[Outputs], rows: Sequence[int]) -> Outputs:
    """Return `logits_NC` whose row `rows[i]` is the i-th of all parts' rows."""
    import numpy as np

    found_NC = np.concatenate(parts)
    logits_NC = np.empty_like(found_NC)
    logits_NC[list(rows)] = found_NC
    return logits_NC
