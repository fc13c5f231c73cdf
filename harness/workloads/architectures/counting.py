"""How many parameters a preset has, beside the published number, and how much memory it needs, before any is taken."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import msgspec

from harness.counters import memory
from harness.errors import ModelError
from harness.records import Frozen
from harness.workloads.architectures.building import HEADS, Head
from harness.workloads.architectures.presets import AttentionPreset, ElmoPreset, Preset

Phase = Literal["train", "evaluate", "untrained", "infer"]
Optimizer = Literal["adam", "sgd"]

HEADROOM = 1.15
"""What the estimate is multiplied by: allocators round up and fragment, kernels have work space.

Chosen, not published. The tensors' part is traced and needs little of it: a test compares it with the CPU.
"""

_LSTM_STEPS = 16


class Count(Frozen, frozen=True, kw_only=True):
    """A preset's learned parameters (tied ones once, fixed tables left out) beside the published number.

    `ratio` is ours over the published; both None where nobody published this size. `frozen` is the size of fixed
    tables (sinusoids).
    """

    name: str
    parameters: int
    frozen: int
    published: int | None
    ratio: float | None
    source: str | None
    note: str | None


class Estimate(Frozen, frozen=True, kw_only=True):
    """Memory that a phase needs beside what a process with torch holds already, in bytes.

    `tensors_bytes` is the traced peak, `weights_bytes` the part that are parameters and buffers; `needed_bytes` adds
    headroom (`HEADROOM`). `free_bytes` is what can be had; None where nobody says.
    """

    weights_bytes: int
    tensors_bytes: int
    needed_bytes: int
    free_bytes: int | None = None


def parameters(preset: Preset) -> Count:
    """Return the preset's parameters, counted on the meta device with the heads it was published with.

    For ELMo that is the model without its softmax; `note` says what else a count includes.
    """
    model = _meta(preset)
    counted = model.model if isinstance(preset, ElmoPreset) else model
    learned = sum(tensor.numel() for tensor in counted.parameters() if tensor.requires_grad)
    published = preset.published
    return Count(
        name=f"{preset.family}@{preset.size}",
        parameters=learned,
        frozen=sum(tensor.numel() for tensor in counted.parameters() if not tensor.requires_grad),
        published=published.parameters if published else None,
        ratio=learned / published.parameters if published else None,
        source=published.source if published else None,
        note=published.note if published else None,
    )


@lru_cache
def memory_bytes(
    preset: Preset,
    *,
    phase: Phase,
    batch: int,
    length: int,
    optimizer: Optimizer = "adam",
    head: Head | None = None,
) -> Estimate:
    """Return the memory of a training step, of its evaluation or of a forward pass, in fp32.

    Args:
        preset: The size.
        phase: "train" is a step. "evaluate" takes the loss of whole sequences beside the optimizer's state, "untrained"
            where nothing was trained. "infer" is a forward pass whose outputs are held: of ELMo the layers; its softmax
            lies in memory unused, as it is built.
        batch: Sequences a step or a pass.
        length: Tokens a sequence (words for ELMo); source and target alike.
        optimizer: "adam" (AdamW too) or "sgd" without momentum.
        head: One of the family's; the one it was published with if not given.

    Raises: ModelError: the batch is empty, or the sequence longer than the preset's positions.
    """
    name = f"{preset.family}@{preset.size}"
    if batch < 1 or length < 1:
        raise ModelError(f"{name}: a batch of {batch} sequences of {length} tokens is empty; both must be at least 1")
    if length > preset.positions:
        raise ModelError(
            f"{name}: sequences of {length} tokens are longer than its {preset.positions} positions; shorten them"
        )
    from harness.workloads.architectures import tracing

    model = _meta(preset, head)
    if isinstance(preset, ElmoPreset) and length > _LSTM_STEPS:
        # An LSTM holds as much for many short sentences as for few long ones, and its trace is paid by the step.
        batch, length = -(-batch * length // _LSTM_STEPS), _LSTM_STEPS
    run = _runner(preset, model.train(phase == "train"), phase, batch, length, head)
    peak = tracing.training_peak(model, optimizer, run) if phase == "train" else tracing.inference_peak(model, run)
    if phase == "evaluate" and optimizer == "adam":
        peak += tracing.moments(model)
    return Estimate(weights_bytes=tracing.weights(model), tensors_bytes=peak, needed_bytes=round(HEADROOM * peak))


def refuse_unless_fits(
    preset: Preset,
    *,
    phase: Phase,
    batch: int,
    length: int,
    head: Head | None = None,
    device: str = "cpu",
    free_bytes: int | None = None,
) -> Estimate:
    """Return the estimate, with Adam, if the memory is there; nothing is allocated.

    `free_bytes` is asked of the host (CUDA: of the device) if not given. Where nobody says, nothing can be refused and
    the estimate carries `free_bytes` None.

    Raises: ModelError: it needs more than is free; says both.
    """
    found = memory_bytes(preset, phase=phase, batch=batch, length=length, head=head)
    # Asked after the trace has imported torch, so that what the process holds by now is not free.
    free = free_on(device) if free_bytes is None else free_bytes
    if free is not None and found.needed_bytes > free:
        verb = {"train": "training", "infer": "inference"}.get(phase, "evaluation")
        smaller = "" if verb == "evaluation" else "a smaller batch, "
        raise ModelError(
            f"{preset.family}@{preset.size}: {verb} with {batch} x {length} tokens needs about "
            f"{found.needed_bytes / 1e9:.1f} GB ({found.tensors_bytes / 1e9:.1f} GB of tensors at the peak, "
            f"{found.weights_bytes / 1e9:.1f} GB of them weights), and {free / 1e9:.1f} GB are free on {device}; "
            f"take {smaller}shorter sequences or a smaller size"
        )
    return msgspec.structs.replace(found, free_bytes=free)


def free_on(device: str) -> int | None:
    """Return the bytes that can be had on a device; None where nobody says."""
    if device == "cpu":
        return memory.free_bytes()
    import torch

    return int(torch.cuda.mem_get_info(torch.device(device))[0])


def _meta(preset: Preset, head: Head | None = None) -> Any:
    """Return the preset's model without memory; with the head it was published with, if none is given."""
    if isinstance(preset, AttentionPreset):
        from harness.workloads.architectures import building

        model = building.build(preset, seed=0, head=head, device="meta")
        # Known padding would make transformers look into the ids, and meta tensors hold nothing.
        if preset.family == "gpt2":
            model.config.pad_token_id = None
        return model
    from harness.workloads.architectures import elmo

    return elmo.build(preset, seed=0, device="meta")


def _runner(preset: Preset, model: Any, phase: Phase, batch: int, length: int, head: Head | None) -> Callable[[], Any]:
    """Return a function that runs the model on meta inputs: to its loss, or to its outputs where none is taken."""
    import torch

    def whole(*shape: int) -> Any:
        return torch.zeros(*shape, dtype=torch.int64, device="meta")

    ids_BT = whole(batch, length)
    if isinstance(preset, ElmoPreset):
        return _elmo_runner(model, phase, whole(batch, length, preset.max_characters), ids_BT)
    if preset.family == "bert":
        return _bert_runner(model, phase, ids_BT, head or HEADS["bert"][0])
    # A mask of four axes is taken as it is; one of two would be looked into, and meta tensors hold nothing.
    mask_B1TT = torch.ones(batch, 1, length, length, dtype=torch.bool, device="meta")
    inputs = {"input_ids": ids_BT, "attention_mask": mask_B1TT}
    if preset.family == "gpt2":
        return _gpt2_runner(model, phase, inputs)
    inputs["decoder_attention_mask"] = mask_B1TT
    if phase == "infer":
        return lambda: model(**inputs, decoder_input_ids=ids_BT)
    return lambda: model(**inputs, labels=ids_BT).loss


def _bert_runner(model: Any, phase: Phase, ids_BT: Any, head: Head) -> Callable[[], Any]:
    """Return BERT's runner; an evaluation looks at outputs, because the loss of few masked places adds nothing."""
    if phase != "train":
        return lambda: model(input_ids=ids_BT)
    each_B = ids_BT[:, 0]
    targets = {"labels": each_B if head == "classes" else ids_BT}
    if head == "pretraining":
        targets["next_sentence_label"] = each_B
    return lambda: model(input_ids=ids_BT, **targets).loss


def _gpt2_runner(model: Any, phase: Phase, inputs: dict[str, Any]) -> Callable[[], Any]:
    """Return GPT-2's runner: the loss of every token but the first, in inference the last token's outputs."""
    import torch

    if phase == "infer":
        # What `generate` asks for.
        return lambda: model(**inputs, logits_to_keep=1)

    def loss() -> Any:
        logits_BTV = model(**inputs, use_cache=False).logits[:, :-1]
        return torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1), inputs["input_ids"][:, 1:].flatten())

    return loss


def _elmo_runner(model: Any, phase: Phase, chars_BTC: Any, words_BT: Any) -> Callable[[], Any]:
    """Return ELMo's runner: all words are real, because meta tensors cannot be chosen from by a mask."""

    def run() -> Any:
        states = model.model(chars_BTC)
        if phase == "infer":
            return states.layers()
        ahead_NP = model.dropout(states.forward[-1][:, :-1]).flatten(0, 1)
        behind_NP = model.dropout(states.backward[-1][:, 1:]).flatten(0, 1)
        losses = (
            model.softmax(ahead_NP, words_BT[:, 1:].flatten()),
            model.softmax(behind_NP, words_BT[:, :-1].flatten()),
        )
        return 0.5 * (losses[0] + losses[1])

    return run
