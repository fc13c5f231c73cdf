"""How many parameters a preset has, beside the published number, and how much memory it needs, before any is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from harness import host
from harness.errors import ModelError
from harness.records import Frozen
from harness.workloads.architectures.presets import AttentionPreset, ElmoPreset, Preset

Phase = Literal["train", "infer"]
Optimizer = Literal["adam", "sgd"]

HEADROOM = 1.15
"""What the estimate is multiplied by: allocators round up and fragment, kernels have work space.

Chosen, not published. The tensors' part is traced and needs little of it: a test compares it with the CPU.
"""

PROCESS_BYTES = 400_000_000
"""Resident memory of a fresh process after importing torch and transformers (0.38 GB measured on x86-64 Linux)."""

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
    """Memory that a phase needs, in bytes.

    `tensors_bytes` is the traced peak, `weights_bytes` the part that are parameters and buffers; `needed_bytes` adds
    headroom (`HEADROOM`) and, on the CPU, the process. `free_bytes` is what can be had; None where nobody says.
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


def memory_bytes(
    preset: Preset, *, phase: Phase, batch: int, length: int, optimizer: Optimizer = "adam", device: str = "cpu"
) -> Estimate:
    """Return the memory of a training step or a forward pass in fp32.

    The derivation is a trace: two whole steps (forward, loss, backward, optimiser) run on the meta device, where
    tensors have shapes and no memory, and all living storages are added up at every operation. So weights, gradients,
    optimiser states (two per parameter for Adam), activations kept for the backward pass, logits and temporaries
    count when they coexist. Fused attention of a device may keep less than the unfused one traced here.

    Args:
        preset: The size.
        phase: "train", or "infer": one forward pass, with logits of all positions and, where the model has one, the
            cache of a sequence of `length`. ELMo gives its layers; its softmax lies in memory unused, as it is built.
        batch: Sequences a step.
        length: Tokens a sequence (words for ELMo); source and target alike.
        optimizer: "adam" (AdamW too) or "sgd" without momentum.
        device: "cpu" or a CUDA device, whose processes are not in its own memory.

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

    model = _meta(preset)
    if isinstance(preset, ElmoPreset) and length > _LSTM_STEPS:
        # An LSTM holds as much for many short sentences as for few long ones, and its trace is paid by the step.
        batch, length = -(-batch * length // _LSTM_STEPS), _LSTM_STEPS
    run = _runner(preset, model, batch, length)
    if phase == "train":
        peak = tracing.training_peak(model.train(), optimizer, run)
    else:
        model.eval()
        peak = tracing.inference_peak(model, run)
    return Estimate(
        weights_bytes=tracing.weights(model),
        tensors_bytes=peak,
        needed_bytes=round(HEADROOM * peak) + (PROCESS_BYTES if device == "cpu" else 0),
    )


def refuse_unless_fits(
    preset: Preset,
    *,
    phase: Phase,
    batch: int,
    length: int,
    optimizer: Optimizer = "adam",
    device: str = "cpu",
    free_bytes: int | None = None,
) -> Estimate:
    """Return the estimate if the memory is there; nothing is allocated.

    `free_bytes` is asked of the host (CUDA: of the device) if not given. Where nobody says, nothing can be refused and
    the estimate carries `free_bytes` None.

    Raises: ModelError: it needs more than is free; says both.
    """
    free = _free(device) if free_bytes is None else free_bytes
    found = memory_bytes(preset, phase=phase, batch=batch, length=length, optimizer=optimizer, device=device)
    if free is not None and found.needed_bytes > free:
        verb = "training" if phase == "train" else "inference"
        raise ModelError(
            f"{preset.family}@{preset.size}: {verb} with {batch} x {length} tokens needs about "
            f"{found.needed_bytes / 1e9:.1f} GB ({found.tensors_bytes / 1e9:.1f} GB of tensors at the peak, "
            f"{found.weights_bytes / 1e9:.1f} GB of them weights), and {free / 1e9:.1f} GB are free on {device}; "
            "take a smaller batch, shorter sequences or a smaller size"
        )
    return Estimate(
        weights_bytes=found.weights_bytes,
        tensors_bytes=found.tensors_bytes,
        needed_bytes=found.needed_bytes,
        free_bytes=free,
    )


def _free(device: str) -> int | None:
    if device == "cpu":
        return host.free_memory_bytes()
    import torch

    return int(torch.cuda.mem_get_info(torch.device(device))[0])


def _meta(preset: Preset) -> Any:
    """Return the preset's model without memory, with the head it was published with."""
    if isinstance(preset, AttentionPreset):
        from harness.workloads.architectures import building

        model = building.build(preset, seed=0, device="meta")
        # Known padding would make transformers look into the ids, and meta tensors hold nothing.
        if preset.family == "gpt2":
            model.config.pad_token_id = None
        return model
    from harness.workloads.architectures import elmo

    return elmo.build(preset, seed=0, device="meta")


def _runner(preset: Preset, model: Any, batch: int, length: int) -> Callable[[], Any]:
    """Return a function that runs the model on meta inputs: its loss while training, its outputs otherwise."""
    import torch

    def whole(*shape: int) -> Any:
        return torch.zeros(*shape, dtype=torch.int64, device="meta")

    ids_BT = whole(batch, length)
    if isinstance(preset, ElmoPreset):
        return _elmo_runner(model, whole(batch, length, preset.max_characters), ids_BT)
    if preset.family == "transformer":
        # A mask of four axes is taken as it is; one of two would be looked into, and meta tensors hold nothing.
        mask_B1TT = torch.ones(batch, 1, length, length, dtype=torch.bool, device="meta")
        inputs = {"input_ids": ids_BT, "attention_mask": mask_B1TT, "decoder_attention_mask": mask_B1TT}
        targets = {"labels": ids_BT}
        steady = {"decoder_input_ids": ids_BT}
    else:
        inputs, targets, steady = {"input_ids": ids_BT}, {"labels": ids_BT}, {}
    if preset.family == "bert":
        targets["next_sentence_label"] = whole(batch)
    return lambda: model(**inputs, **targets).loss if model.training else model(**inputs, **steady)


def _elmo_runner(model: Any, chars_BTC: Any, words_BT: Any) -> Callable[[], Any]:
    """Return ELMo's runner: all words are real, because meta tensors cannot be chosen from by a mask."""

    def run() -> Any:
        states = model.model(chars_BTC)
        if not model.training:
            return states.layers()
        ahead_NP = model.dropout(states.forward[-1][:, :-1]).flatten(0, 1)
        behind_NP = model.dropout(states.backward[-1][:, 1:]).flatten(0, 1)
        losses = (
            model.softmax(ahead_NP, words_BT[:, 1:].flatten()),
            model.softmax(behind_NP, words_BT[:, :-1].flatten()),
        )
        return 0.5 * (losses[0] + losses[1])

    return run
