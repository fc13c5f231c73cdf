"""One measured window of `harness.measure`, and which others it overlaps."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING

from harness.counters.edges import Mark, Span
from harness.measuring.session import Session, lock, open_windows

if TYPE_CHECKING:
    from harness.meters.trace import Recorder
    from harness.records import DeviceState, Doubt, Measured, Missing, Provenance
    from harness.stats.sums import Total

current: ContextVar[Window | None] = ContextVar("joulebench_window", default=None)
"""The innermost window that is open in this context."""


class Window:
    """One measured window; energies are known once it is closed.

    `failed` names the exception that ended it, if one did: the joules are then those up to it.
    """

    def __init__(self, name: str, tasks: int, session: Session, idle: Span | None, recorder: Recorder | None) -> None:
        self.name = name
        self.tasks = tasks
        self.failed: str | None = None
        self._session = session
        self._idle = [] if idle is None else [idle]
        self._recorder = recorder
        self.overlaps = False
        self.parent: Window | None = None
        self._begin: Mark | None = None
        self._span: Span | None = None
        self._states: tuple[DeviceState, ...] = ()
        self._measured: Measured | None = None
        self._token: Token[Window | None] | None = None

    def open(self) -> None:
        """Begin; the counters are read last."""
        session = self._session
        self.parent = current.get()
        self._token = current.set(self)
        _note_begin(self)
        if self._recorder is not None:
            self._recorder.start()
        self._states = session.states("begin")
        self._begin = session.edges.begin()

    def close(self, *, failed: str | None, idle_s: float) -> None:
        """End; the counters are read first."""
        session = self._session
        end = session.edges.end()
        if self._begin is not None:
            self._span = Span(self._begin, end)
        self.failed = failed
        self._states += session.states("end")
        with lock:
            open_windows.discard(self)
        if current.get() is self and self._token is not None:
            current.reset(self._token)
        rest = session.idle(idle_s)
        if rest is not None:
            self._idle.append(rest)
        if self._recorder is not None:
            self._recorder.stop()

    @property
    def span(self) -> Span:
        """The two raw edges.

        Raises: NotMeasured: the window is still open.
        """
        if self._span is None:
            from harness.errors import NotMeasured

            raise NotMeasured(f"{self.name}: the window is still open; read its energy after the `with` block")
        return self._span

    @property
    def duration_s(self) -> float:
        """Seconds of wall time."""
        return self.span.duration_s

    @property
    def cpu_s(self) -> float:
        """CPU-seconds of this process and its reaped children."""
        return self.span.cpu_s

    @property
    def measured(self) -> Measured:
        """Everything the meters say of the window, as the record that suites keep."""
        if self._measured is None:
            self._measured = self._session.interpret(self.span, self._states, overlaps=self.overlaps)
        return self._measured

    @property
    def total(self) -> Total:
        """The billed joules, with bounds and the weakest provenance among them.

        Raises: NotMeasured: a billed domain has no reading; the message says why.
        """
        return _total(self.name, self.measured)

    @property
    def energy_j(self) -> float:
        """Billed joules, idle of metered hosts included. Raises: NotMeasured."""
        return self.total.energy_j

    @property
    def energy_per_task_j(self) -> float:
        """Billed joules over `tasks`. Raises: NotMeasured."""
        return self.total.energy_j / self.tasks

    @property
    def low_j(self) -> float:
        """Lower bound of what the meters know of their own error. Raises: NotMeasured."""
        return self.total.low_j

    @property
    def high_j(self) -> float:
        """Upper bound of the same. Raises: NotMeasured."""
        return self.total.high_j

    @property
    def net_energy_j(self) -> float:
        """Billed joules less what the host drew at rest, in the idle windows before and after, for as long.

        Raises: NotMeasured: the window was not taken with `idle_s`.
        """
        if not self._idle:
            from harness.errors import NotMeasured

            raise NotMeasured(f"{self.name}: no idle windows bracket it; measure with idle_s=1.0 or so")
        rest_j = sum(_total(f"{self.name}, at rest", self._session.interpret(span)).energy_j for span in self._idle)
        rest_s = sum(span.duration_s for span in self._idle)
        return self.energy_j - rest_j / rest_s * self.duration_s

    @property
    def provenance(self) -> Provenance:
        """How the joules are known: the weakest on the path. Raises: NotMeasured."""
        return self.total.provenance

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """Reasons to trust the window less."""
        return self.measured.doubts

    @property
    def missing(self) -> tuple[Missing, ...]:
        """Domains that gave no reading, with reasons; what this host does not offer at all comes last."""
        return self.measured.missing + self._session.interpreter().missing()

    def to_json(self) -> str:
        """Return the window and its meters, each with its self-test, as one JSON document."""
        import msgspec

        meters = self._session.interpreter().infos()
        document = {"name": self.name, "tasks": self.tasks, "failed": self.failed}
        return msgspec.json.encode(document | {"measured": self.measured, "meters": meters}).decode()

    def __str__(self) -> str:
        from harness.errors import NotMeasured

        head = f"{self.name}: "
        try:
            total = self.total
        except NotMeasured as error:
            return f"{head}not measured: {error}"
        bounds = f" ({total.low_j:.3g} to {total.high_j:.3g} J)" if total.low_j != total.high_j else ""
        text = f"{head}{total.energy_j:.3g} J{bounds}, {total.label}, {self.cpu_s:.3g} CPU-s in {self.duration_s:.3g} s"
        if self.tasks > 1:
            text += f"; {self.energy_per_task_j * 1e3:.3g} mJ a task"
        doubts = [doubt.value for doubt in self.doubts if doubt.value != "MODELLED"]
        return text + (f"; doubts: {', '.join(doubts)}" if doubts else "")


def _note_begin(window: Window) -> None:
    """Note that a window begins, and which others it overlaps without being nested in them."""
    with lock:
        ancestors = set()
        parent = window.parent
        while parent is not None:
            ancestors.add(parent)
            parent = parent.parent
        for other in open_windows - ancestors:
            other.overlaps = window.overlaps = True
        open_windows.add(window)


def _total(name: str, measured: Measured) -> Total:
    from harness.records import Window as WindowRecord
    from harness.records import WindowKind
    from harness.stats.totals import total

    return total(WindowRecord(kind=WindowKind.RUN, fork=0, tasks=1, measured=measured), name)
