"""Workers on this machine: one fresh Python process a fork, spoken to over its standard streams.

The parent blocks on the pipe and never polls, so it stays cold while a worker is measured.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import UsageError, WorkerFailed
from harness.messages import Failure, decode_reply, encode
from harness.records import Case, Frozen

_GRACE_S = 5.0
"""How long a worker may take to end by itself once its input is closed."""


class LocalSession:
    """One live worker process; `decode` reads its replies, `advice` is what to do about one that is only slow."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        name: str,
        log: Path,
        *,
        decode: Callable[[bytes], Any] = decode_reply,
        advice: str = "raise measure.timeout_s if the case is only slow",
    ) -> None:
        self._process = process
        self._name = name
        self._log = log
        self._decode = decode
        self._advice = advice
        self._pending = b""

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def send(self, message: Frozen) -> None:
        """Send one command.

        Raises: WorkerFailed: the worker is gone.
        """
        if self._process.stdin is None:
            raise WorkerFailed(f"{self._name}: its input is closed")
        try:
            self._process.stdin.write(encode(message))
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise WorkerFailed(self._obituary()) from error

    def receive(self, timeout_s: float) -> Any:
        """Block until the worker's next reply.

        Raises: WorkerFailed: the worker died, said nothing for `timeout_s`, or reported a failure.
        """
        line = self._line(time.monotonic() + timeout_s, timeout_s)
        try:
            reply = self._decode(line)
        except msgspec.DecodeError as error:
            raise WorkerFailed(f"{self._name} sent a line that is no reply ({error}); log: {self._log}") from error
        if isinstance(reply, Failure):
            raise WorkerFailed(f"{self._name} failed: {reply.error}: {reply.message}; its log is {self._log}")
        return reply

    def close(self) -> None:
        """Close the worker's input, wait a moment, and kill what is left of it and of what it started."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()
        else:
            # What it left running in the background would draw joules beside whatever is measured next.
            self._end_group()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def kill(self) -> None:
        """Kill the worker and every process it started."""
        self._end_group()
        self._process.wait()

    def _end_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _line(self, deadline_s: float, timeout_s: float) -> bytes:
        stdout = self._process.stdout
        if stdout is None:
            raise WorkerFailed(f"{self._name}: its output is closed")
        descriptor = stdout.fileno()
        while b"\n" not in self._pending:
            left_s = deadline_s - time.monotonic()
            ready, _, _ = select.select([descriptor], [], [], max(0.0, left_s))
            if not ready:
                self.kill()
                raise WorkerFailed(
                    f"{self._name} said nothing for {timeout_s:.0f} s and was ended; {self._advice}; "
                    f"its log is {self._log}"
                )
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                raise WorkerFailed(self._obituary())
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _obituary(self) -> str:
        try:
            code = self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return f"{self._name} closed its output without ending and was killed; its log is {self._log}"
        if code < 0:
            name = signal.Signals(-code).name
            hint = " (out of memory? `dmesg` tells)" if name == "SIGKILL" else ""
            return f"{self._name} was ended by {name}{hint}; its log is {self._log}"
        return f"{self._name} ended with exit code {code} before its work was done; its log is {self._log}"


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Hold this host for one run: two measured cases never share it.

    Raises: UsageError: another run holds it.
    """
    path = Path(tempfile.gettempdir()) / f"joulebench-{os.getuid()}.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UsageError(
                f"process {file.read().strip() or 'unknown'} is measuring on this host, and two measured runs would "
                "bill each other; wait for it or stop it"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def spawn(
    command: Sequence[str], environment: Mapping[str, str], log: Path, folder: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a worker program in a process group of its own; what it writes to standard error goes to `log`.

    A group of its own keeps Ctrl-C at the terminal from reaching it: the parent decides.
    """
    with log.open("ab") as stderr:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **environment},
            cwd=folder,
            start_new_session=True,
        )


class LocalEngine:
    """Starts workers as child processes of this one."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs

    def start(self, case: Case, fork: int, environment: Mapping[str, str]) -> LocalSession:
        """Start a fresh worker for one fork of a case."""
        log = self._logs / f"{case.phase.value}-{case.technique}-{case.case_id}-{fork}.log"
        source = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
        process = spawn([sys.executable, "-P", "-m", "harness.worker"], {**environment, "PYTHONPATH": path}, log)
        return LocalSession(process, f"worker {process.pid} of {case.name} (fork {fork})", log)
