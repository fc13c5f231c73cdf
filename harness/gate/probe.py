"""The worker program of one arm: loads what is gated, repeats it when told, and says which clocks it saw.

It is started as a file, by the interpreter of the arm, and imports the standard library only: no code of the
repository under test is loaded before the clocks are in hand, and none of joulebench's is loaded at all, so that
`import harness` means the slot's own even where joulebench itself is under test. Meters are read by the parent.

One JSON document a line. Commands: `start`, `resolve`, `repeat`; each has one reply.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import importlib.util
import inspect
import json
import math
import os
import random
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from time import perf_counter_ns, process_time_ns
from typing import Any, BinaryIO

READING_LIMIT = 400
"""Characters of a program's last words that an error message shows."""


class Refused(Exception):
    """What is gated cannot be measured as it is; `kind` tells the parent what to do about it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Worker:
    """What this process has loaded."""

    def __init__(self, start: dict[str, Any], call: Callable[[], Any] | None = None, loaded_from: str = "") -> None:
        self._check = start["check"] != "none"
        self.result: Any = None
        random.seed(start["seed"])
        if call is not None:
            self._call, self.loaded_from = call, loaded_from
        elif start["target"] is None:
            self._call = _program(start["command"])
            self.loaded_from = start["command"][0]
        else:
            function, self.loaded_from = _found(start["target"], start["inside"])
            arguments = start["args"]
            self._call = lambda: function(**arguments)

    def repeat(self, repeats: int) -> dict[str, Any]:
        """Call so often between two readings of the clocks; what was returned last is looked at afterwards."""
        call, result = self._call, None
        children = getrusage(RUSAGE_CHILDREN)
        cpu_ns = process_time_ns()
        wall_ns = perf_counter_ns()
        for _ in range(repeats):
            result = call()
        _wait_for_gpu()
        ended_ns = perf_counter_ns()
        cpu_ended_ns = process_time_ns()
        children_after = getrusage(RUSAGE_CHILDREN)
        self.result, scores = result, _scores(result)
        return {
            "type": "Repeated",
            "wall_ns": [wall_ns, ended_ns],
            "cpu_ns": [cpu_ns, cpu_ended_ns],
            "children_s": [
                [children.ru_utime, children.ru_stime],
                [children_after.ru_utime, children_after.ru_stime],
            ],
            "checksum": digest(result) if self._check and scores is None else None,
            "scores": scores,
        }


def resolve(wanted: dict[str, Any]) -> dict[str, Any]:
    """Return what does not exist, what exists and cannot be loaded, and commands that start no file of the slot."""
    inside = wanted["inside"]
    absent: dict[str, str] = {}
    broken: dict[str, str] = {}
    outside: dict[str, Any] = {}
    if wanted.get("tests"):
        absent, broken = _beside("probe_pytest").resolve(wanted["tests"])
    if wanted.get("commands"):
        commands = {name: _runnable(command) for name, command in wanted["commands"].items()}
        missing, outside = _beside("probe_command").resolve(commands, inside)
        absent |= missing
    for name, target in wanted["targets"].items():
        try:
            _found(target, inside)
        except Refused as refusal:
            (absent if refusal.kind == "Absent" else broken)[name] = str(refusal)
        except (Exception, SystemExit) as error:  # noqa: BLE001 whatever importing foreign code raises is said of it
            traceback.print_exc()
            broken[name] = f"{target} cannot be imported: {type(error).__name__}: {error}"
    return {"type": "Resolved", "absent": absent, "broken": broken, "outside": outside}


def _found(target: str, inside: Sequence[str]) -> tuple[Callable[..., Any], str]:
    """Return the function and the file of its module, which must be the arm's own."""
    name, _, path = target.partition(":")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        raise Refused("Absent", f"there is no module {error.name} (for {target})") from error
    file = Path(getattr(module, "__file__", None) or ".").resolve()
    if inside and not any(file.is_relative_to(folder) for folder in inside):
        message = (
            f"{name} was loaded from {file}, not from the slot {inside[0]}, so both arms would measure the same code; "
            'lay it out at the top of the repository or in src/, or install it in each slot with --build "COMMAND"'
        )
        raise Refused("Outside", message)
    function: Any = module
    for part in path.split("."):
        if not hasattr(function, part):
            raise Refused("Absent", f"{name} has no {path} (for {target})")
        function = getattr(function, part)
    if not callable(function) or inspect.iscoroutinefunction(function):
        what = "is a coroutine function: gate a function that runs it" if callable(function) else "cannot be called"
        raise Refused("Unusable", f"{target} {what}")
    return function, str(file)


def _runnable(command: Sequence[str]) -> list[str]:
    """Return the command with the arm's own Python, where it names Python."""
    return [sys.executable if command[0] in ("python", "python3") else command[0], *command[1:]]


def _program(command: Sequence[str]) -> Callable[[], bytes]:
    arguments = _runnable(command)

    def run() -> bytes:
        done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()[-READING_LIMIT:]
            raise Refused("CommandFailed", f"{' '.join(command)} ended with exit code {done.returncode}: {said}")
        return done.stdout

    return run


def _wait_for_gpu() -> None:
    """Wait for work that a GPU in use still has to do, so that it falls into the slot that asked for it."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized():
        cuda.synchronize()


def _scores(result: Any) -> list[float] | None:
    scores = getattr(result, "scores", None)
    if scores is None or callable(scores):
        return None
    numbers = [float(score) for score in scores]
    if not numbers:
        raise Refused("NoScores", "the result's `scores` is empty, so nothing was answered; score one item or more")
    for item, number in enumerate(numbers):
        if not math.isfinite(number):
            raise Refused("NotFinite", f"the score of item {item} is {number}; check what the case returns")
    return numbers


def digest(value: Any) -> str:
    """Return the SHA-256 of a result in a canonical form: equal values of builtins, arrays and data classes agree.

    Raises: Refused: the value has no canonical form.
    """
    state = hashlib.sha256()
    for piece in _pieces(value):
        state.update(len(piece).to_bytes(8, "big"))
        state.update(piece)
    return state.hexdigest()


def _pieces(value: Any) -> Iterator[bytes]:
    kind = type(value)
    yield f"{kind.__module__}.{kind.__qualname__}".encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        yield bytes(value)
    elif isinstance(value, str):
        yield value.encode("utf-8", "surrogatepass")
    elif isinstance(value, (list, tuple)):
        yield str(len(value)).encode()
        for item in value:
            yield from _pieces(item)
    elif isinstance(value, dict):
        yield from sorted(f"{digest(key)}:{digest(item)}".encode() for key, item in value.items())
    elif isinstance(value, (set, frozenset)):
        yield from sorted(digest(item).encode() for item in value)
    else:
        yield from _leaf(value)


def _leaf(value: Any) -> Iterator[bytes]:
    if hasattr(value, "detach") and hasattr(value, "numpy"):
        value = value.detach().cpu().numpy()
    if hasattr(value, "tobytes") and hasattr(value, "dtype") and hasattr(value, "shape"):
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        yield digest(value.tolist()).encode() if value.dtype.hasobject else value.tobytes()
    elif hasattr(value, "__dataclass_fields__"):
        yield from (digest((name, getattr(value, name))).encode() for name in value.__dataclass_fields__)
    else:
        text = repr(value)
        if " at 0x" in text or not any("__repr__" in vars(base) for base in type(value).__mro__[:-1]):
            message = (
                f"the result is a {type(value).__qualname__}, which has no canonical form to compare between the arms; "
                "return text, bytes, numbers, containers or arrays of them, or write `check: none`"
            )
            raise Refused("Unhashable", message)
        yield text.encode("utf-8", "surrogatepass")


def _obey(command: dict[str, Any], worker: Worker | None) -> tuple[dict[str, Any], Worker | None]:
    if command["do"] == "resolve":
        return resolve(command), worker
    if command["do"] == "start":
        worker = Worker(command)
        return {"type": "Started", "pid": os.getpid(), "loaded_from": worker.loaded_from}, worker
    if worker is None:
        raise Refused("Protocol", "the first command to a probe must be start")
    return worker.repeat(command["repeats"]), worker


def _serve(replies: BinaryIO) -> None:
    worker: Worker | None = None
    for line in sys.stdin.buffer:
        command = json.loads(line)
        if command["do"] == "start" and command.get("test") is not None:
            _serve_test(command, replies)
            return
        reply, worker = _obey(command, worker)
        _send(replies, reply)


def _serve_test(start: dict[str, Any], replies: BinaryIO) -> None:
    """Run the pytest test that `start` names, and obey commands from within its call of `energy`."""

    def serve(call: Callable[[], Any], loaded_from: str) -> Any:
        worker = Worker(start, call, loaded_from)
        _send(replies, {"type": "Started", "pid": os.getpid(), "loaded_from": loaded_from})
        for line in sys.stdin.buffer:
            _send(replies, _obey(json.loads(line), worker)[0])
        return worker.result

    _beside("probe_pytest").run(start["test"], start["inside"], serve, Refused)


def _beside(name: str) -> Any:
    """Return a module that lies beside this file, and is on no path here."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    if spec is None or spec.loader is None:
        raise Refused("Broken", f"the installation of joulebench lacks gate/{name}.py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        message = f"the arm's interpreter {sys.executable} has no {error.name}; install it there"
        raise Refused("Unusable", message) from error
    return module


def _send(replies: BinaryIO, reply: dict[str, Any]) -> None:
    replies.write(json.dumps(reply).encode() + b"\n")
    replies.flush()


def main() -> None:
    """Obey commands from standard input until it ends."""
    # Python puts the folder of the file that it runs first, where `model` and others of the gate would be found.
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(Path.cwd()), *(folder for folder in sys.path if Path(folder).resolve() != here)]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, prctl(2): a killed gate leaves nothing behind
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "wb") as replies:
        os.dup2(2, 1)
        try:
            _serve(replies)
        except (Exception, SystemExit) as error:  # noqa: BLE001 the worker's boundary: a failure becomes a message
            traceback.print_exc()
            kind = error.kind if isinstance(error, Refused) else type(error).__name__
            message = str(error).strip()[:2000] or repr(error)
            replies.write(json.dumps({"type": "Failure", "error": kind, "message": message}).encode() + b"\n")
            sys.exit(1)


if __name__ == "__main__":
    main()
