"""What the scheduler and a worker say to each other: one JSON document a line.

The scheduler commands, the worker answers each command with exactly one reply. `Train` is the
exception: it is answered by `Trained` after each chunk, and the scheduler says `Go` or `Finish`.
"""

from __future__ import annotations

import msgspec

from harness.records import (
    Case,
    CurvePoint,
    DataInfo,
    Frozen,
    MeterInfo,
    Missing,
    ModelInfo,
    Quality,
    Window,
)


class Start(Frozen, frozen=True, kw_only=True, tag=True):
    """Load what the case needs; nothing is measured yet."""

    case: Case
    fork: int
    run_folder: str
    cache_folder: str
    trained_folder: str | None = None
    trained_id: str | None = None
    meters: tuple[str, ...] = ("auto",)
    slice_size: int = 32


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
    """Train up to the next checkpoint inside a `train` window, then evaluate in an `eval` window."""

    evaluate: bool = True


class Finish(Frozen, frozen=True, kw_only=True, tag=True):
    """Evaluate on the test split, save what was trained, report quality."""


class Stop(Frozen, frozen=True, kw_only=True, tag=True):
    """End the process."""


Command = Start | Build | Warm | Run | Idle | Train | Finish | Stop


class Ready(Frozen, frozen=True, kw_only=True, tag=True):
    """The worker has loaded its data and its meters."""

    pid: int
    data: DataInfo
    model: ModelInfo
    meters: tuple[MeterInfo, ...]
    missing: tuple[Missing, ...]
    slices: int


class Done(Frozen, frozen=True, kw_only=True, tag=True):
    """One window is measured."""

    window: Window


class Trained(Frozen, frozen=True, kw_only=True, tag=True):
    """One chunk of training is measured; `finished` says the technique has no more to give."""

    finished: bool
    windows: tuple[Window, ...] = ()
    point: CurvePoint | None = None


class Finished(Frozen, frozen=True, kw_only=True, tag=True):
    """The final state of a case in this fork."""

    quality: Quality | None = None
    item_ids: tuple[int, ...] = ()
    item_scores: tuple[float, ...] = ()
    outputs_file: str | None = None
    artefact: str | None = None
    windows: tuple[Window, ...] = ()


class Failure(Frozen, frozen=True, kw_only=True, tag=True):
    """The worker could not do what it was told."""

    error: str
    message: str


Reply = Ready | Done | Trained | Finished | Failure

_command_decoder = msgspec.json.Decoder(Command)
_reply_decoder = msgspec.json.Decoder(Reply)
_encoder = msgspec.json.Encoder()


def encode(message: Command | Reply) -> bytes:
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
