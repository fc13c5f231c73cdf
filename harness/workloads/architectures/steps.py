"""A training step of a published recipe in two halves: micro-batches forward and backward, and the update.

A published batch rarely fits a machine, so a step is k micro-batches whose gradients add up, then one update. `Steps`
holds the model with the head and the loss it was published with, its optimizer, and both halves as plain functions;
what differs from the published work is said by `departures`. Imports torch only once `Steps` is made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from harness.errors import InvalidMeasurement, ModelError, UsageError
from harness.records import Frozen
from harness.workloads.architectures.objectives import BATCHES, DEPARTURES, LOSSES, Batch
from harness.workloads.architectures.presets import AttentionPreset, ElmoPreset, Preset, preset

OPTIMIZERS: dict[str, str] = {
    "Adam": "adam",
    "AdamW": "adamw",
    "Adam with decoupled weight decay": "adamw",
    "Adagrad": "adagrad",
}
"""What recipes call an optimizer, and which of torch's it is."""

PRECISIONS = ("float32", "bfloat16")
"""`bfloat16` is mixed precision: weights in float32, matrix products in bfloat16 (torch.autocast)."""

LEARNING_RATE = 0.0
"""A rate changes what is learned, not the work. At zero any stretch leaves the model as it was; a small one does not,
because windows of updates repeat the same step thousands of times."""

_FAMILIES = {"translate": "transformer"}


class StepSpec(Frozen, frozen=True, kw_only=True):
    """What a step does: `workload`, `size`, `optimizer` and `precision` in the words of a recipe.

    `learning_rate` is constant. `seed` is that of weights and tokens.
    """

    workload: str
    size: str
    optimizer: str
    precision: str
    learning_rate: float = LEARNING_RATE
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse an optimizer or a precision that has no code here.

        Raises: UsageError: names those that have.
        """
        for what, given, known in (
            ("optimizer", self.optimizer, tuple(OPTIMIZERS)),
            ("precision", self.precision, PRECISIONS),
        ):
            if given not in known:
                raise UsageError(f"steps with the {what} {given!r} cannot be run; known are {', '.join(known)}")

    def preset(self) -> Preset:
        """Return the size of the model.

        Raises: ModelError: there is no such family or size; names the nearest.
        """
        return preset(_FAMILIES.get(self.workload, self.workload), self.size)


def model_length(preset: Preset, length: int) -> int:
    """Return the tokens that the model reads of a sequence of `length` published ones.

    ELMo predicts `length` words each way, so it reads one more: the last has no next word, the first none before it.
    """
    return length + 1 if isinstance(preset, ElmoPreset) else length


class Steps:
    """A model and its optimizer on a device, ready for steps; `model` is in training mode.

    Args:
        spec: What a step does.
        device: "cpu" or a CUDA device.

    Raises: ModelError: there is no such family or size.
    """

    def __init__(self, spec: StepSpec, device: str = "cpu") -> None:
        import torch

        self.preset = spec.preset()
        self.model = _model(self.preset, spec, device)
        self._name = f"{self.preset.family}@{self.preset.size}"
        self._device = device
        self._seed = spec.seed
        self._optimizer = _optimizer(self.model, spec, device)
        self._run = LOSSES[self.preset.family]
        self._last: Any = None
        kind = torch.device(device).type
        self._precision: Callable[[], Any] = contextlib.nullcontext
        if spec.precision == "bfloat16":
            self._precision = lambda: torch.autocast(kind, dtype=torch.bfloat16)

    def parameters(self) -> int:
        """Return how many parameters learn, the heads' among them."""
        return sum(each.numel() for each in _learned(self.model))

    def batch(self, sequences: int, length: int) -> Batch:
        """Return a micro-batch of random tokens on the device; the same numbers give the same tokens."""
        import torch

        generator = torch.Generator().manual_seed(self._seed)
        made = BATCHES[self.preset.family](self.preset, sequences, model_length(self.preset, length), generator)
        return {name: tensor.to(self._device) for name, tensor in made.items()}

    def forward_backward(self, batch: Batch, share: float = 1.0) -> None:
        """Add the gradients of `share` times the mean loss of a micro-batch; 1/k makes k of them one batch.

        Raises: ModelError: the device ran out of memory.
        """
        import torch

        try:
            with self._precision():
                loss = self._run(self.model, batch)
            (loss * share).backward()
        except torch.OutOfMemoryError as error:
            self._optimizer.zero_grad()
            raise ModelError(
                f"{self._name}: {self._device} ran out of memory in a micro-batch; take a smaller one"
            ) from error
        self._last = loss.detach()

    def update(self, times: int = 1) -> None:
        """Let the optimizer step so often, each time by the gradients that there are; `forget` lets these go.

        Raises: ModelError: the device ran out of memory; the first step makes the optimizer's own state.
        """
        import torch

        try:
            for _ in range(times):
                self._optimizer.step()
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"{self._name}: {self._device} ran out of memory in the update of its optimizer; sample a smaller size"
            ) from error

    def forget(self) -> None:
        """Let the gradients go: the next micro-batch gives its own, and those after it add to them."""
        self._optimizer.zero_grad(set_to_none=True)

    def loss(self) -> float:
        """Return the last micro-batch's mean loss in nats; waits for the device.

        Raises: InvalidMeasurement: it is not a finite number, so the work was not that of training; or nothing ran.
        """
        value = float("nan") if self._last is None else float(self._last)
        if not abs(value) < float("inf"):
            raise InvalidMeasurement(
                f"{self._name}: the loss is {value} after the sampled steps, so they were not steps of a training; "
                "sample it in float32"
            )
        return value


def departures(spec: StepSpec) -> tuple[str, ...]:
    """Return how a step here differs from the published work, a sentence each."""
    found = spec.preset()
    words = "words and their characters" if isinstance(found, ElmoPreset) else "tokens"
    return (
        f"{words} are drawn at random, one micro-batch for all steps: in a dense model what they say changes no work",
        (
            "PyTorch runs each operation as it comes, uncompiled, on one device; the learning rate is "
            f"{spec.learning_rate:g} throughout, dropout {found.dropout:g}; nothing reads data, clips gradients, "
            "evaluates or writes checkpoints"
        ),
        *DEPARTURES[found.family],
    )


def accelerator(device: str) -> str | None:
    """Return the name of a CUDA device, None for the CPU."""
    if device == "cpu":
        return None
    import torch

    return str(torch.cuda.get_device_name(torch.device(device)))


def _model(found: Preset, spec: StepSpec, device: str) -> Any:
    """Return the model with the head it was published with, in training mode."""
    if isinstance(found, AttentionPreset):
        from harness.workloads.architectures import building

        model = building.build(found, seed=spec.seed, device=device)
        if found.family == "gpt2":
            # Known padding would make transformers look for it in every batch, which waits for the device.
            model.config.pad_token_id = None
    else:
        from harness.workloads.architectures import elmo

        model = elmo.build(found, seed=spec.seed, device=device)
        if OPTIMIZERS[spec.optimizer] == "adagrad":
            model.softmax.use_sparse_gradients()
    return model.train()


def _learned(model: Any) -> list[Any]:
    return [each for each in model.parameters() if each.requires_grad]


def _optimizer(model: Any, spec: StepSpec, device: str) -> Any:
    import torch

    learned, rate, kind = _learned(model), spec.learning_rate, OPTIMIZERS[spec.optimizer]
    if kind == "adagrad":
        # Fused Adagrad takes no sparse gradients. bilm-tf starts its sums at 1 (recalled).
        return torch.optim.Adagrad(learned, lr=rate, initial_accumulator_value=1.0)
    fused = torch.device(device).type in {"cpu", "cuda"}
    if kind == "adam":
        return torch.optim.Adam(learned, lr=rate, fused=fused)
    return torch.optim.AdamW(learned, lr=rate, weight_decay=0.01, fused=fused)
