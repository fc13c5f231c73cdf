"""`harness.measure`: the energy of any stretch of Python code, without suites, workers or configuration.

    import harness

    with harness.measure("encode", tasks=len(batch)) as window:
        model.encode(batch)
    print(window)                      # encode: 1.24 J (0.97 to 1.38 J), modelled, 0.81 CPU-s in 0.83 s; 38.8 mJ a task
    window.energy_per_task_j

Importing this loads the standard library only, and beginning and ending a window reads raw counters; what
they mean in joules is worked out when it is first asked for. Nothing runs in the background except what
`window.py` of the meters names. Windows may nest, and may be open in several threads and tasks at once; the
CPU clock and the counters see the whole process, so windows that overlap without being nested each hold the
other's work and say so (`WINDOWS_OVERLAP`).
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from harness.measuring.session import session_of
from harness.measuring.window import Window, current

__all__ = ["Measurement", "Window", "measure", "measure_calls"]

F = TypeVar("F", bound=Callable[..., Any])


def measure(
    name: str,
    *,
    tasks: int = 1,
    meters: Sequence[str] = ("auto",),
    idle_s: float = 0.0,
    synchronise: Callable[[], object] | None = None,
    trace: str | os.PathLike[str] | None = None,
) -> Measurement:
    """Measure a `with` block, or as a decorator every call of a function (coroutine functions too).

    Args:
        name: what is measured, for people.
        tasks: how many tasks one window holds; `energy_per_task_j` divides by it.
        meters: as in a suite: `auto`, `rapl`, `attributed`, `nvml`, `modelled`, or a plug-in such as `wall:power.csv`.
        idle_s: seconds of rest before and after the window, measured too; gives `net_energy_j`.
        synchronise: called at both edges to wait for work that an accelerator still has to do. Torch's
            CUDA and MPS devices in use are waited for without it.
        trace: a Parquet file to write raw readings to at 10 Hz (extra `trace`); `joulebench replay` reads it.

    Raises: ValueError: `tasks` is less than one, or `idle_s` negative. UsageError: a meter cannot be used.
    """
    if tasks < 1:
        raise ValueError(f"{name}: a window holds one task or more, not {tasks}")
    if idle_s < 0:
        raise ValueError(f"{name}: idle_s is a number of seconds, not {idle_s}")
    return Measurement(name, tasks, tuple(meters), idle_s, synchronise, trace)


def measure_calls(
    name: str,
    function: Callable[[], object],
    *,
    tasks: int = 1,
    meters: Sequence[str] = ("auto",),
    at_least_s: float = 0.0,
    synchronise: Callable[[], object] | None = None,
) -> Window:
    """Call a short function until one window is long enough for the meters' refresh, and return that window.

    A window lasts at least what the meters need for 1 % (41 refreshes of the slowest), and `at_least_s`.

    Args:
        name: what is measured.
        function: called without arguments, once at the least.
        tasks: tasks in one call.
        meters: as for `measure`.
        at_least_s: seconds.
        synchronise: as for `measure`; called at the edges only.

    Raises: UsageError: a meter cannot be used. NotMeasured: the refresh of a meter is not known.
    """
    from harness.errors import NotMeasured

    session = session_of(tuple(meters))
    needed_s = max(at_least_s, session.interpreter(test=True).shortest_s)
    if needed_s == float("inf"):
        raise NotMeasured(
            f"{name}: a meter's refresh is not known, so no window is long enough; see `joulebench doctor`"
        )
    measurement = measure(name, tasks=tasks, meters=meters, synchronise=synchronise)
    calls = 0
    with measurement as window:
        stop_s = time.perf_counter() + needed_s
        while calls == 0 or time.perf_counter() < stop_s:
            function()
            calls += 1
    window.tasks = tasks * calls
    return window


class Measurement:
    """What `measure` returns: a context manager and a decorator. `windows` holds every window it closed."""

    def __init__(
        self,
        name: str,
        tasks: int,
        meters: tuple[str, ...],
        idle_s: float,
        synchronise: Callable[[], object] | None,
        trace: str | os.PathLike[str] | None,
    ) -> None:
        self.windows: list[Window] = []
        self._entered: list[Window] = []
        self._name = name
        self._tasks = tasks
        self._meters = meters
        self._idle_s = idle_s
        self._synchronise = synchronise
        self._trace = trace

    def __enter__(self) -> Window:
        session = session_of(self._meters)
        idle = session.idle(self._idle_s)
        recorder = session.recorder(self._name, self._trace)
        window = Window(self._name, self._tasks, session, idle, recorder)
        _wait_for_devices(self._synchronise)
        self._entered.append(window)
        window.open()
        return window

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        window = self._innermost()
        try:
            if kind is None:
                _wait_for_devices(self._synchronise)
        finally:
            window.close(failed=None if kind is None else kind.__name__, idle_s=self._idle_s)
            self._entered.remove(window)
            self.windows.append(window)

    def _innermost(self) -> Window:
        """Return the window to close: the innermost of this measurement that this context has open."""
        window = current.get()
        while window is not None and window not in self._entered:
            window = window.parent
        # A generator or a callback may leave the block in another context than the one that entered it.
        return self._entered[-1] if window is None else window

    def __call__(self, function: F) -> F:
        """Return the function, measured at every call; the decorated function has the `windows`."""
        import inspect

        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{function.__name__} is a generator: calling it does no work yet. Measure the loop that consumes it"
            )
        wrapped = self._wrap_async(function) if inspect.iscoroutinefunction(function) else self._wrap(function)
        wrapped.windows = self.windows
        result: Any = wrapped
        return result  # type: ignore[no-any-return]

    def _wrap(self, function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return measured

    def _wrap_async(self, function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        async def measured(*args: Any, **kwargs: Any) -> Any:
            with self:
                return await function(*args, **kwargs)

        return measured


def _wait_for_devices(synchronise: Callable[[], object] | None) -> None:
    """Wait for accelerators, so that their work falls into the window that asked for it."""
    if synchronise is not None:
        synchronise()
        return
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is not None and cuda.is_initialized():
        for index in range(cuda.device_count()):
            # Synchronising a device that is not in use would create a context on it.
            if cuda.memory_reserved(index) > 0:
                cuda.synchronize(index)
    mps = getattr(torch, "mps", None)
    if mps is not None and sys.platform == "darwin" and torch is not None and torch.backends.mps.is_available():
        mps.synchronize()
