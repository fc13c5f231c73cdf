"""The worker's loop. File descriptor 1 points to the log, so that a library that prints cannot garble the protocol."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
import traceback
from typing import BinaryIO

from harness.errors import InvalidMeasurement, JoulebenchError
from harness.messages import (
    Build,
    Command,
    Done,
    Evaluate,
    Failure,
    Finish,
    Idle,
    Keep,
    Reply,
    Run,
    Start,
    Train,
    Warm,
    decode_command,
    encode,
)
from harness.records import WindowKind
from harness.worker.fork import Fork
from harness.worker.inferring import Inferring
from harness.worker.training import Training


class Worker:
    """One fork of one case, obeying commands."""

    def __init__(self, start: Start) -> None:
        self.fork = Fork(start)
        self._inferring = Inferring(self.fork)
        self._training = Training(self.fork)

    def obey(self, command: Command) -> Reply:  # noqa: PLR0911 one return a command
        """Carry out one command and return its one reply."""
        match command:
            case Build():
                return self._inferring.build()
            case Warm():
                return self._inferring.run(command.batch, command.repeats, WindowKind.WARMUP)
            case Run():
                run = WindowKind.RUN
                return self._inferring.run(command.batch, command.repeats, run, command.block, command.slot)
            case Idle():
                measured, _ = self.fork.measured(lambda: time.sleep(command.duration_s))
                return Done(window=self.fork.window(WindowKind.IDLE, 0, measured))
            case Train():
                return self._training.train()
            case Evaluate():
                return self._training.validate()
            case Keep():
                return self._training.keep()
            case Finish():
                return self._training.finish()
            case _:
                raise InvalidMeasurement(f"a worker cannot obey {type(command).__name__} now")

    def close(self) -> None:
        """Release the task, then the meters; the trace is written whatever the task did."""
        with contextlib.ExitStack() as last:
            last.callback(self.fork.close)
            self._inferring.close()


def main() -> None:
    """Obey commands from standard input until it ends."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "wb") as replies, contextlib.ExitStack() as stack:
        os.dup2(2, 1)
        try:
            _serve(replies, stack)
        except Exception as error:  # noqa: BLE001 the worker's boundary: a failure becomes a message
            traceback.print_exc()
            _say(replies, Failure(error=type(error).__name__, message=_message(error)))
            sys.exit(1)


def _serve(replies: BinaryIO, stack: contextlib.ExitStack) -> None:
    worker: Worker | None = None
    for line in sys.stdin.buffer:
        command = decode_command(line)
        if isinstance(command, Start):
            worker = Worker(command)
            stack.callback(worker.close)
            _say(replies, worker.fork.ready())
        elif worker is None:
            raise InvalidMeasurement("the first command to a worker must be Start")
        else:
            _say(replies, worker.obey(command))


def _message(error: Exception) -> str:
    text = str(error) or repr(error)
    return text if isinstance(error, JoulebenchError) else text.splitlines()[0][:500]


def _say(replies: BinaryIO, reply: Reply) -> None:
    replies.write(encode(reply))
    replies.flush()


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, so that a killed run leaves nothing behind."""
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG, prctl(2)
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


if __name__ == "__main__":
    main()
