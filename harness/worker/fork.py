"""What one fork of any case needs: its workload, technique, device and meters; every window is measured here."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from harness import catalogue, device, meters, workloads
from harness.config import locate
from harness.contract import Examples
from harness.counters.process import enter_own_group
from harness.messages import Ready, Start
from harness.meters import trace
from harness.meters.window import MeterWindow
from harness.records import Measured, Phase, Window, WindowKind
from harness.training import Recipe

T = TypeVar("T")


class Fork:
    """The surroundings of one fork, loaded when it is made; nothing is measured yet."""

    def __init__(self, start: Start) -> None:
        case = self.case = start.case
        self.start = start
        self.folder = Path(start.run_folder)
        device.prepare(case.device, threads=case.threads, seed=case.seed)
        self.workload: Any = workloads.load(locate(case.workload, Path(start.base_folder)), case.seed)
        self.workload.prepare(Path(start.cache_folder))
        self.technique: Any = catalogue.load(case.phase, case.technique)
        self.params = catalogue.parse_params(self.technique, case.params)
        for name in self.technique.INFO.imports:
            importlib.import_module(name)
        self.refuse_unless_fits()
        group, _ = enter_own_group()
        self._meters = meters.open_meters(start.meters, case.device, group)
        test = self.workload.examples("test")
        self.slices: tuple[Examples, ...] = workloads.slices(test, start.slice_size)
        self._recorder = _recorder(start, self._meters) if start.trace else None

    def refuse_unless_fits(self) -> None:
        """Refuse the case if what it runs needs more memory than is free now.

        Raises: ModelError: says the estimate and what is free.
        """
        learning = isinstance(self.params, Recipe) and self.params.whole
        answering = self.case.phase is Phase.INFER
        batch_size = getattr(self.params, "batch_size", 1) if learning or answering else 0
        self.workload.refuse_unless_fits(training=learning, batch_size=batch_size, device=self.case.device)

    def ready(self) -> Ready:
        """Say what was loaded."""
        infos = self._meters.infos()
        return Ready(
            pid=os.getpid(),
            metric=self.workload.learned if self.case.phase is Phase.TRAIN else self.workload.metric,
            data=self.workload.data_info(),
            model=self.workload.model_info(),
            meters=trace.noted(self._recorder, infos) if self._recorder else infos,
            missing=self._meters.missing(),
            slices=len(self.slices),
        )

    def measured(self, work: Callable[[], T]) -> tuple[Measured, T]:
        """Run `work` between two synchronised reads of all meters."""
        name = self.case.device
        device.reset_peak_memory(name)
        device.synchronise(name)
        mark = self._meters.begin()
        try:
            result = work()
            device.synchronise(name)
        finally:
            measured = self._meters.end(mark)
        return measured, result

    def window(self, kind: WindowKind, tasks: int, measured: Measured, **more: Any) -> Window:
        """Return what was measured as a window of this fork."""
        return Window(
            kind=kind,
            fork=self.start.fork,
            tasks=tasks,
            measured=measured,
            peak_memory_bytes=device.peak_memory_bytes(self.case.device),
            **more,
        )

    def close(self) -> None:
        """Write the trace and release the meters."""
        with contextlib.ExitStack() as last:
            last.callback(self._meters.close)
            if self._recorder is not None:
                last.callback(self._recorder.stop)


def _recorder(start: Start, window: MeterWindow) -> trace.Recorder:
    """Return a recorder that has begun the trace of this fork; a fork that was taken up again has several."""
    folder = Path(start.run_folder) / "traces"
    folder.mkdir(exist_ok=True)
    case = start.case
    recorder = trace.Recorder(
        window,
        trace.free_path(folder, f"{case.case_id}-fork{start.fork}"),
        context={"case_id": case.case_id, "case": case.name, "fork": start.fork},
    )
    recorder.start()
    return recorder
