"""Train only the head, on features that the frozen encoder computes once.

What it does
    Runs the pretrained encoder once over the training texts, sorted by length so that little is padding,
    and keeps each text's final [CLS] state in memory. Pooler and classifier are then trained on these
    features. What it leaves is an ordinary sequence classifier.

Why it may save energy
    One forward pass over the texts replaces a forward and a backward pass in every epoch. All later epochs
    cost a matrix product of the hidden size, which is next to nothing.

What it costs
    The encoding pass, charged to the first chunk after the untrained checkpoint, and N x H floats of memory.
    Quality: the encoder does not adapt to the task.

Limits
    Needs pretrained weights of a BERT (an encoder whose head reads a pooled [CLS] state). Encoders trained
    for another way of pooling give weaker [CLS] features. No dropout varies the features between epochs.

Source
    Peters, Ruder and Smith 2019, arXiv 1903.05987 (feature extraction against fine-tuning).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from harness.contract import Checkpoint, Resumed, TechniqueInfo
from harness.errors import ModelError
from harness.records import Phase
from harness.training import Count, Inputs, Labelled, Positive, Recipe, by_length, encode, fit, pad
from techniques._batching import refuse_other_tasks

INFO = TechniqueInfo(
    name="frozen_features",
    phase=Phase.TRAIN,
    family="transfer",
    summary="Encoder run once, head trained on the cached features",
    source="arXiv 1903.05987",
    imports=("torch", "transformers"),
)


class Params(Recipe, frozen=True, kw_only=True):
    """See `Recipe`; many epochs, since each costs next to nothing.

    encode_batch_size: texts a forward pass of the encoder.
    """

    whole: ClassVar[bool] = False

    epochs: Count = 30
    batch_size: Count = 32
    learning_rate: Positive = 1e-3
    checkpoints_per_epoch: Positive = 0.2
    encode_batch_size: Count = 32


def supports(workload: Any, device: str) -> str | None:  # noqa: ARG001 (the contract's signature)
    """Return None for a pretrained BERT, else the reason why not."""
    reason: str | None = refuse_other_tasks(workload) or workload.has_pretrained()
    if reason:
        return reason
    kind = workload.model_type()
    if kind not in {None, "bert"}:
        return f"it needs a BERT, whose head reads a pooled [CLS] state; this model is {kind!r}"
    return None


def train(workload: Any, params: Params, device: str, resumed: Resumed | None = None) -> Iterator[Checkpoint]:
    """Yield a checkpoint before the encoding and after each chunk of work.

    Raises: ModelError: the model turns out not to be a BERT.
    """
    import torch

    model = workload.new_model(pretrained=True, seed=workload.seed)
    if model.config.model_type != "bert":
        raise ModelError(f"frozen_features needs a BERT; this model is {model.config.model_type!r}")
    examples = workload.examples("train")
    head = torch.nn.Sequential(model.bert.pooler, model.dropout, model.classifier)

    def objective() -> Labelled:
        features_N1H = _features(model.bert, workload, examples.texts, params.encode_batch_size, device)

        def at(rows: Sequence[int]) -> Inputs:
            return {"input": features_N1H[list(rows)]}

        return Labelled(at, examples.labels, device)

    yield from fit(head, objective, params, seed=workload.seed, device=device, whole=model, resumed=resumed)


def _features(bert: Any, workload: Any, texts: Sequence[str], batch_size: int, device: str) -> Any:
    """Return `features_N1H`: the last hidden state of [CLS] for each text, in order, on the device.

    The axis of one token stands for the sequence from which the pooler takes the first state.
    """
    import torch

    bert.eval()
    tokenizer = workload.tokenizer()
    ids = encode(tokenizer, texts, workload.max_length)
    features_N1H = torch.empty((len(ids), 1, bert.config.hidden_size), device=device)
    with torch.no_grad():
        for rows in by_length([len(row) for row in ids], batch_size):
            states_NTH = bert(**pad([ids[row] for row in rows], tokenizer, device)).last_hidden_state
            features_N1H[rows] = states_NTH[:, :1]
    return features_N1H
