"""The seams of joulebench: what a workload, a technique, a meter and an engine must offer.

Only Protocols and the small frozen values that cross them. A technique is a *module* with
`INFO`, `Params`, `supports` and one function by phase; it never times, meters, synchronises,
logs or prints.

Shape suffixes: N items, T tokens, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from harness.records import (
    Case,
    DataInfo,
    Energy,
    Frozen,
    Measured,
    MeterInfo,
    Missing,
    ModelInfo,
    Phase,
)

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    Outputs = npt.NDArray[Any]
    """What a task returns for a batch: one row an item, in the order of the batch.

    Float32 `logits_NC` where a text is classified; int32 `ids_NT` where tokens are chosen, as wide in every call, with
    -1 after the last.
    """

Padding = Literal["longest", "max_length"]
"""A batch is padded to its longest text, or every text to the maximum length."""


class Examples(Frozen, frozen=True, kw_only=True):
    """Inputs with their targets, in a fixed order; `item_ids` name them across techniques.

    `labels` are classes, `targets` texts; the one that a task has not is empty.
    """

    item_ids: tuple[int, ...]
    texts: tuple[str, ...]
    labels: tuple[int, ...] = ()
    targets: tuple[str, ...] = ()


class Evaluation(Frozen, frozen=True, kw_only=True):
    """What a model is worth on some examples: one score an item, from 0 to 1, and what else was found.

    `measures` are by name and in the unit that the name ends in (`loss_nats`, `perplexity`, `bleu`).
    """

    scores: tuple[float, ...]
    measures: dict[str, float] = {}


class Objective(Protocol):
    """What training makes small: `size` training examples an epoch, addressed by their rows."""

    size: int

    def loss(self, model: Any, rows: Sequence[int]) -> torch.Tensor:
        """Return the mean loss of some examples, ready for `backward`; the model is on the objective's device."""


class Workload(Protocol):
    """A model + data + a quality measure + what one task is. Constructing one does nothing.

    `task` names the kind, so that a technique can refuse others. A quality measure is a mean over items of scores from
    0 to 1 of which more is better: `metric` names that of the task's outputs (`scores`), `learned` that by which
    training is judged (`evaluate`), mostly the same.
    """

    name: str
    task: str
    metric: str
    learned: str
    seed: int
    max_length: int

    def check(self) -> None:
        """Refuse what cannot work, cheaply: no torch, no model in memory.

        Raises: DataError, ModelError, MissingExtra.
        """

    def prepare(self, cache: Path) -> None:
        """Read the data (cached under `cache`) and the tokeniser; after this the methods below work."""

    def data_info(self) -> DataInfo:
        """Return what the data is, with its content hash and what quality takes no model."""

    def examples(self, split: str) -> Examples:
        """Return `train`, `validation` or `test`."""

    def scores(self, outputs: Outputs, examples: Examples) -> tuple[float, ...]:
        """Return one score an item, from 0 to 1 (accuracy: 1.0 right, 0.0 wrong)."""

    def evaluate(self, model: Any, examples: Examples, device: str) -> Evaluation:
        """Return what a model is worth; it is moved to the device and left in eval mode."""

    def has_pretrained(self) -> str | None:
        """Return None if pretrained weights are at hand, else the reason why not."""

    def model_info(self) -> ModelInfo:
        """Return what the model is."""

    def new_model(self, *, pretrained: bool, seed: int) -> torch.nn.Module:
        """Return a fresh model for the task, on the CPU.

        With `pretrained`, its own weights are loaded and checked; a head that they have not for the task is new.
        """

    def refuse_unless_fits(self, *, training: bool, batch_size: int, device: str) -> None:
        """Refuse a model that needs more memory than the device has free.

        A published size is judged with its batch, other models by what their weights need at least. `training` means
        that all weights learn; else `batch_size` texts are answered at once, or there is only an evaluation if it is 0.

        Raises: ModelError: says the estimate and what is free.
        """

    def objective(self, device: str) -> Objective:
        """Return the training split as something to train on; reading and encoding it is work, and done here."""

    def answer(self, model: Any, texts: Sequence[str], *, batch_size: int, padding: Padding, device: str) -> Outputs:
        """Return what a model in eval mode on the device says of N texts, batched as they come."""

    def save(self, model: Any, folder: Path) -> None:
        """Write a model to an empty folder, in safe formats, with all that `load` needs."""

    def load(self, folder: Path) -> torch.nn.Module:
        """Return a saved model in eval mode on the CPU.

        Raises: ModelError: the folder is not what `save` leaves.
        """


class TextClassification(Workload, Protocol):
    """A workload whose task is: classify one sentence (`task` is `text_classification`)."""

    def tokenizer(self) -> Any:
        """Return the `transformers` fast tokeniser of the model."""


class Generation(Workload, Protocol):
    """A workload whose task is: generate `new_tokens` tokens from a prompt (`task` is `causal_generation`)."""

    new_tokens: int

    def prefill(self, model: Any, texts: Sequence[str], *, batch_size: int, padding: Padding, device: str) -> Outputs:
        """Read the prompts and return the first token of each, `ids_N1`: what `answer` does before it decodes."""


class Trained(Frozen, frozen=True, kw_only=True):
    """A model that a train case left: a folder that its workload can `load`."""

    folder: Path
    case_id: str


class Checkpoint(Frozen, frozen=True, kw_only=True):
    """What `train` yields after each chunk of work; counts run from the start.

    `model` is a `torch.nn.Module` that can be evaluated and saved as it is. `state` gives the tensors, by name, from
    which a fresh process can go on here, valid until training goes on; None where it cannot be taken up again.
    `last` says that nothing is left to train, so that a budget spent just then is known to have cut nothing off.
    """

    model: Any
    steps: int
    examples: int
    last: bool = False
    state: Callable[[], Mapping[str, torch.Tensor]] | None = None


class Resumed(Frozen, frozen=True, kw_only=True):
    """Where a training that was cut off goes on: the counts of a checkpoint, and what its `state` gave."""

    steps: int
    examples: int
    state: Mapping[str, torch.Tensor]


class TechniqueInfo(Frozen, frozen=True, kw_only=True):
    """Who a technique is; `name` equals the file name. `baseline` marks its phase's baseline.

    `imports` are modules that the worker imports before anything is measured, so that a build
    window holds the technique's work and not Python's.
    """

    name: str
    phase: Phase
    family: str
    summary: str
    source: str
    baseline: bool = False
    imports: tuple[str, ...] = ()


class Task(Protocol):
    """One built way of doing the task."""

    def run(self, batch: Sequence[str]) -> Outputs:
        """Return the outputs of N texts, in their order."""


class GenerationTask(Task, Protocol):
    """A task that generates, and can read its prompts alone."""

    def prefill(self, batch: Sequence[str]) -> Outputs:
        """Return the first token of N texts, in their order."""


class Technique(Protocol):
    """What every technique module has."""

    INFO: TechniqueInfo
    Params: type[Frozen]

    @staticmethod
    def supports(workload: Any, device: str) -> str | None:
        """Return None if it can run here, else the reason why it is skipped."""


class TrainTechnique(Technique, Protocol):
    """A way of training."""

    @staticmethod
    def train(workload: Any, params: Any, device: str, resumed: Resumed | None = None) -> Iterator[Checkpoint]:
        """Yield a checkpoint before the first step and after each chunk of work.

        With `resumed`, the first checkpoint is that one, and the steps before it are not taken again. It is given only
        to a technique whose checkpoints have a `state`.
        """


class InferTechnique(Technique, Protocol):
    """A way of inferring."""

    @staticmethod
    def build(trained: Trained, workload: Any, params: Any, device: str) -> AbstractContextManager[Task]:
        """Yield a task; what happens before the yield is the `build` window."""


class Meter(Protocol):
    """A source of joules. `read` is cheap and raw; `energies` interprets two reads."""

    name: str

    def read(self) -> Any:
        """Return the raw state now."""

    def energies(
        self, begin: Any, end: Any, *, duration_s: float, cpu_s: float
    ) -> tuple[tuple[Energy, ...], tuple[Missing, ...]]:
        """Return joules by domain between two reads, and what is missing with its reason."""

    def info(self) -> MeterInfo:
        """Return what the meter covers and how it was checked."""

    def close(self) -> None:
        """Release descriptors and handles."""


class WindowMeter(Protocol):
    """All meters of a host behind one begin/end pair."""

    def begin(self) -> Any:
        """Read every meter; return the mark to end the window with."""

    def end(self, mark: Any) -> Measured:
        """Read every meter again and return what the window drew."""

    def infos(self) -> tuple[MeterInfo, ...]:
        """Return the meters in use."""

    def missing(self) -> tuple[Missing, ...]:
        """Return the meters that this host does not offer, with reasons."""

    def close(self) -> None:
        """Release descriptors and handles."""


class Session(Protocol):
    """One live worker, seen from the scheduler."""

    def send(self, message: Any) -> None:
        """Send one message.

        Raises: WorkerFailed: the worker is gone.
        """

    def receive(self, timeout_s: float) -> Any:
        """Block until the next message.

        Raises: WorkerFailed: the worker died, hung past `timeout_s`, or reported a failure.
        """

    def close(self) -> None:
        """Let the worker end; end it by force if it does not."""

    def kill(self) -> None:
        """End the worker and everything it started, now."""


class Engine(Protocol):
    """Where workers run. Cases never know which."""

    def start(self, case: Case, fork: int, environment: Mapping[str, str]) -> Session:
        """Start a fresh worker process for one fork of a case."""
