"""One child process that keeps one vCPU busy: `python -m harness.calibration.burner`.

It obeys lines on standard input: `integer`, `vector`, `memory` (work of that kind until the next line) and
`rest`. It ends when its input ends, so it cannot outlive the process that started it. One kind of work is no
truth about watts: the interpreter's loop, wide floating-point units and the memory bus draw differently.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable

KINDS = ("integer", "vector", "memory")
"""Kinds of work: the Python interpreter, single-precision matrix products, copies larger than a cache."""

_COPY_BYTES = 32 << 20
_MATRIX = 192


def main() -> None:
    """Obey until the input ends."""
    # Ctrl-C reaches the whole foreground group; the parent ends this process in its own order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    chunks = _chunks()
    os.write(1, b"ready\n")
    work: Callable[[], None] | None = None
    while True:
        if work is None or select.select([0], [], [], 0)[0]:
            lines = os.read(0, 4096).decode().split()
            if not lines:
                return
            work = chunks.get(lines[-1])
        if work is not None:
            work()


def _chunks() -> dict[str, Callable[[], None]]:
    """Return a few milliseconds of each kind of work."""
    import numpy as np

    matrix = np.full((_MATRIX, _MATRIX), 1.0 / _MATRIX, dtype=np.float32)
    product = np.empty_like(matrix)
    source = np.ones(_COPY_BYTES, dtype=np.uint8)
    target = np.empty_like(source)

    def integer() -> None:
        value = 1
        for step in range(20_000):
            value = (value * 1_103_515_245 + step) & 0x7FFFFFFF

    def vector() -> None:
        for _ in range(8):
            np.matmul(matrix, matrix, out=product)

    def memory() -> None:
        np.copyto(target, source)

    return {"integer": integer, "vector": vector, "memory": memory}


if __name__ == "__main__":
    main()
