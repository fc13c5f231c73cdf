"""A fork of an infer case: builds the task once, runs it window by window."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

from harness.contract import Examples, InferTechnique, Task, Trained
from harness.errors import InvalidMeasurement
from harness.messages import Done, Items
from harness.records import Window, WindowKind
from harness.worker.fork import Fork


class Inferring:
    """The state of an infer case between commands."""

    def __init__(self, fork: Fork) -> None:
        self._fork = fork
        self._stack = contextlib.ExitStack()
        self._task: Task | None = None
        self._answered: set[int] = set()

    def build(self) -> Done:
        """Build the task inside a `build` window, if the workers that have built theirs since leave memory for it.

        Raises: ModelError: they do not.
        """
        self._fork.refuse_unless_fits()
        technique: InferTechnique = self._fork.technique
        start = self._fork.start
        if start.trained_folder is None or start.trained_id is None:
            raise InvalidMeasurement(f"{self._fork.case.name} has no trained model to build from")
        trained = Trained(folder=Path(start.trained_folder), case_id=start.trained_id)

        def work() -> Task:
            return self._stack.enter_context(
                technique.build(trained, self._fork.workload, self._fork.params, self._fork.case.device)
            )

        measured, self._task = self._fork.measured(work)
        return Done(window=self._fork.window(WindowKind.BUILD, 0, measured))

    def run(
        self, batch: int, repeats: int, kind: WindowKind, block: int | None = None, slot: int | None = None
    ) -> Done:
        """Run a slice some times inside a window; its answers come with the first of its run windows."""
        task, part = self._task, self._fork.slices[batch]
        if task is None:
            raise InvalidMeasurement(f"{self._fork.case.name} was told to run before it was built")
        single = self._fork.case.scenario == "single"

        def work() -> Any:
            outputs: Any = None
            for _ in range(repeats):
                outputs = _one_by_one(task, part.texts) if single else task.run(part.texts)
            return outputs

        measured, outputs_NC = self._fork.measured(work)
        window = self._fork.window(
            kind,
            repeats * len(part.texts),
            measured,
            block=block,
            slot=slot,
            batch=batch,
            outputs_sha256=hashlib.sha256(outputs_NC.tobytes()).hexdigest(),
        )
        items = None
        if kind is WindowKind.RUN and batch not in self._answered:
            self._answered.add(batch)
            items = self._items(part, outputs_NC)
        return Done(window=window, items=items, prefill=self._prefill(window, part, repeats))

    def _prefill(self, run: Window, part: Examples, repeats: int) -> Window | None:
        """Return the window in which a generating task reads the prompts of a run window alone."""
        read = getattr(self._task, "prefill", None)
        if read is None or run.kind is not WindowKind.RUN:
            return None
        texts = [(text,) for text in part.texts] if self._fork.case.scenario == "single" else [part.texts]

        def work() -> None:
            for _ in range(repeats):
                for each in texts:
                    read(each)

        measured, _ = self._fork.measured(work)
        return self._fork.window(
            WindowKind.PREFILL, run.tasks, measured, block=run.block, slot=run.slot, batch=run.batch
        )

    def _items(self, part: Examples, outputs_NC: Any) -> Items:
        rows = tuple(tuple(float(value) for value in row) for row in outputs_NC)
        return Items(
            item_ids=part.item_ids,
            scores=self._fork.workload.scores(outputs_NC, part),
            outputs=rows,
            tokens=bool(outputs_NC.dtype.kind == "i"),
        )

    def close(self) -> None:
        """Release the task."""
        self._stack.close()


def _one_by_one(task: Task, texts: tuple[str, ...]) -> Any:
    import numpy as np

    return np.concatenate([task.run((text,)) for text in texts])
