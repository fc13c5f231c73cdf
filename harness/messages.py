"""What the scheduler and a worker say to each other: one JSON document a line.

The scheduler commands, the worker answers each command with exactly one reply and ends when its
input does.
"""

from __future__ import annotations

import msgspec

from harness.records import (
    Case,
    DataInfo,
    Frozen,
    MeterInfo,
    Missing,
    ModelInfo,
    Window,
)


class Resume(Frozen, frozen=True, kw_only=True):
    """Where a training goes on: the kept state's file, relative to the run's folder, and the counts at that point."""

    file: str
    steps: int
    examples: int


class Start(Frozen, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Load what the case needs; nothing is measured yet."""

    case: Case
    fork: int
    run_folder: str
    cache_folder: str
    trained_folder: str | None = None
    trained_id: str | None = None
    meters: tuple[str, ...] = ("auto",)
    slice_size: int = 32
    base_folder: str = "."
    trace: bool = False
    resume: Resume | None = None


class Build(Frozen, frozen=True, kw_only=True, tag=True):
    """Build the task inside a `build` window."""


class Warm(Frozen, frozen=True, kw_only=True, tag=True):
    """Run slice `batch` `repeats` times in a `warmup` window."""

    batch: int
    repeats: int


class Run(Frozen, frozen=True, kw_only=True, tag=True):
    """Run slice `batch` `repeats` times in a `run` window."""

    batch: int
    repeats: int
    block: int
    slot: int


class Idle(Frozen, frozen=True, kw_only=True, tag=True):
    """Do nothing for `duration_s` inside an `idle` window."""

    duration_s: float


class Train(Frozen, frozen=True, kw_only=True, tag=True):
    """Train up to the next checkpoint inside a `train` window."""


class Evaluate(Frozen, frozen=True, kw_only=True, tag=True):
    """Evaluate the last checkpoint on the validation split inside an `eval` window."""


class Keep(Frozen, frozen=True, kw_only=True, tag=True):
    """Write what training needs to go on from the last checkpoint."""


class Finish(Frozen, frozen=True, kw_only=True, tag=True):
    """Evaluate on the test split, save what was trained."""


Command = Start | Build | Warm | Run | Idle | Train | Evaluate | Keep | Finish


class Ready(Frozen, frozen=True, kw_only=True, tag=True):
    """The worker has loaded its data and its meters; `metric` is the workload's quality measure."""

    pid: int
    metric: str
    data: DataInfo
    model: ModelInfo
    meters: tuple[MeterInfo, ...]
    missing: tuple[Missing, ...]
    slices: int


class Items(Frozen, frozen=True, kw_only=True):
    """What a window answered for its test items: one score and one row of outputs an item.

    `tokens` says that outputs are ids of tokens, with -1 after the last.
    """

    item_ids: tuple[int, ...]
    scores: tuple[float, ...]
    outputs: tuple[tuple[float, ...], ...]
    tokens: bool = False


class Done(Frozen, frozen=True, kw_only=True, tag=True):
    """One window is measured; `items` comes with the first window of each slice in a fork.

    `prefill` is the window in which the same prompts were read alone, where a task generates.
    """

    window: Window
    prefill: Window | None = None
    items: Items | None = None


class Trained(Frozen, frozen=True, kw_only=True, tag=True):
    """One chunk of training is measured; `finished` says the technique has no more to give.

    `last` is the checkpoint's: the technique has still to end, but has nothing left to train.
    """

    finished: bool
    window: Window
    last: bool = False
    steps: int = 0
    examples: int = 0


class Evaluated(Frozen, frozen=True, kw_only=True, tag=True):
    """The last checkpoint is evaluated; one score a validation item, and what was found beside them."""

    window: Window
    scores: tuple[float, ...]
    measures: dict[str, float] = {}


class Kept(Frozen, frozen=True, kw_only=True, tag=True):
    """The state of training is on disk; `resume` is None where the technique cannot be taken up again."""

    resume: Resume | None


class Finished(Frozen, frozen=True, kw_only=True, tag=True):
    """A trained model is evaluated on the test split and saved; `artefact` is relative to the run's folder."""

    item_ids: tuple[int, ...]
    scores: tuple[float, ...]
    measures: dict[str, float] = {}
    artefact: str
    windows: tuple[Window, ...] = ()


class Failure(Frozen, frozen=True, kw_only=True, tag=True):
    """The worker could not do what it was told."""

    error: str
    message: str


Reply = Ready | Done | Trained | Evaluated | Kept | Finished | Failure

_command_decoder = msgspec.json.Decoder(Command)
_reply_decoder = msgspec.json.Decoder(Reply)
_encoder = msgspec.json.Encoder()


def encode(message: Frozen) -> bytes:
    """Return the message as one line of JSON, newline included."""
    return _encoder.encode(message) + b"\n"


def decode_command(line: bytes) -> Command:
    """Return the command in a line.

    Raises: msgspec.ValidationError: the line is not a command of this version.
    """
    command: Command = _command_decoder.decode(line)
    return command


def decode_reply(line: bytes) -> Reply:
    """Return the reply in a line.

    Raises: msgspec.ValidationError: the line is not a reply of this version.
    """
    reply: Reply = _reply_decoder.decode(line)
    return reply
