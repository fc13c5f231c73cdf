"""The burner processes of a calibration: started once, told what to do, their CPU time read from outside."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time

from harness.errors import WorkerFailed

_START_S = 60.0
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


class Burners:
    """As many burner processes as vCPUs; a context manager that leaves none behind.

    Raises: WorkerFailed: on entering or while burning, a burner could not start or ended by itself.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the burners."""
        return tuple(process.pid for process in self._processes)

    def __enter__(self) -> Burners:
        try:
            for _ in range(self._count):
                self._processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "harness.calibration.burner"],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        env={**os.environ, **_ONE_THREAD},
                    )
                )
            deadline_s = time.monotonic() + _START_S
            for process in self._processes:
                self._await_ready(process, deadline_s)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def burn(self, kind: str, count: int) -> None:
        """Let `count` burners do work of a kind and the others rest."""
        for index, process in enumerate(self._processes):
            line = kind if index < count else "rest"
            if process.stdin is None:
                raise WorkerFailed("a burner has no input")
            try:
                process.stdin.write(f"{line}\n".encode())
                process.stdin.flush()
            except BrokenPipeError:
                raise self._dead(process) from None

    def cpu_s(self) -> float:
        """Return the CPU-seconds of all burners so far, exact to the nanosecond and without asking them.

        The clock id is that of clock_getcpuclockid(3): Linux keeps the negated process id above three bits.
        """
        total_ns = 0
        for process in self._processes:
            try:
                total_ns += time.clock_gettime_ns((~process.pid << 3) | 2)
            except OSError:
                raise self._dead(process) from None
        return total_ns / 1e9

    def close(self) -> None:
        """End every burner and wait until it is gone."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
        self._processes = []

    def _await_ready(self, process: subprocess.Popen[bytes], deadline_s: float) -> None:
        if process.stdout is None:
            raise WorkerFailed("a burner has no output")
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline_s - time.monotonic()))
        if not ready:
            raise WorkerFailed(
                f"{self._count} burner processes did not start within {_START_S:.0f} s; free some memory"
            )
        if process.stdout.readline() != b"ready\n":
            raise self._dead(process)

    def _dead(self, process: subprocess.Popen[bytes]) -> WorkerFailed:
        process.kill()
        process.wait()
        said = process.stderr.read().decode(errors="replace").strip().splitlines() if process.stderr else []
        hint = said[-1] if said else "it said nothing; out of memory? `dmesg` tells"
        return WorkerFailed(f"a burner process ended by itself with exit code {process.returncode}: {hint}")
