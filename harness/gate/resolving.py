"""Which cases an arm has, asked of its own Python before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.errors import WorkerFailed
from harness.gate.arms import Single, inside, start_session
from harness.gate.slots import Built
from harness.gate.targets import CallableTarget, CommandTarget, PytestTarget
from harness.messages import Failure
from harness.records import Frozen


class Resolve(Frozen, frozen=True, kw_only=True, tag_field="do", tag="resolve"):
    """Say which targets, pytest tests and commands, by case, cannot be loaded or started."""

    targets: dict[str, str]
    tests: dict[str, str]
    commands: dict[str, tuple[str, ...]]
    inside: tuple[str, ...]


class Elsewhere(Frozen, frozen=True, kw_only=True):
    """A command starts this file, which is not of the slot.

    `package` says that it is an installed Python package, `names` are the words that name something of the slot.
    """

    file: str
    package: bool
    names: tuple[str, ...]


class Resolved(Frozen, frozen=True, kw_only=True, tag=True):
    """Cases that an arm does not have, and that it has and cannot load, each with the reason; and strange programs."""

    absent: dict[str, str] = {}
    broken: dict[str, str] = {}
    outside: dict[str, Elsewhere] = {}


_decoder = msgspec.json.Decoder(Resolved | Failure)


def resolve(built: Built, cases: Sequence[Single], log: Path, timeout_s: float) -> Resolved:
    """Return which cases an arm lacks or cannot load, in a process that ends afterwards.

    A case of which that process dies, or hangs, is broken.
    """
    try:
        return _resolved(built, cases, log, timeout_s)
    except WorkerFailed as error:
        if len(cases) == 1:
            return Resolved(broken={cases[0].name: str(error)})
    # Each in a process of its own: that tells which one it was, and lets the others live.
    each = [resolve(built, [case], log, timeout_s) for case in cases]
    return Resolved(
        absent={name: why for one in each for name, why in one.absent.items()},
        broken={name: why for one in each for name, why in one.broken.items()},
        outside={name: found for one in each for name, found in one.outside.items()},
    )


def _resolved(built: Built, cases: Sequence[Single], log: Path, timeout_s: float) -> Resolved:
    wanted = Resolve(
        targets={case.name: case.target for case in cases if isinstance(case, CallableTarget)},
        tests={case.name: case.pytest for case in cases if isinstance(case, PytestTarget)},
        commands={case.name: case.command for case in cases if isinstance(case, CommandTarget)},
        inside=inside(built),
    )
    session = start_session("the search for the cases", built, log, replies=_decoder)
    try:
        session.send(wanted)
        found: Resolved = session.receive(timeout_s)
    except BaseException:
        session.kill()
        raise
    finally:
        session.close()
    return found
