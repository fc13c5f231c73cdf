"""The worker: one fresh process for one fork of one case, told step by step what to do.

It reads commands from standard input and answers on what was its standard output; file
descriptor 1 then points to the log, so that a library that prints cannot garble the protocol.
Every measured interval goes through `_measured`, which is the only place that touches a meter.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from harness import catalogue, device, meters, workloads
from harness.config import locate
from harness.contract import Examples, InferTechnique, Task, Trained, TrainTechnique
from harness.counters.process import enter_own_group
from harness.errors import InvalidMeasurement, JoulebenchError
from harness.messages import (
    Build,
    Command,
    Done,
    Evaluate,
    Evaluated,
    Failure,
    Finish,
    Finished,
    Idle,
    Items,
    Ready,
    Reply,
    Run,
    Start,
    Train,
    Warm,
    decode_command,
    encode,
)
from harness.messages import Trained as TrainedReply
from harness.meters import trace
from harness.meters.window import MeterWindow
from harness.records import Measured, Window, WindowKind

T = TypeVar("T")
_EVALUATION_BATCH = 32


class Worker:
    """The state of one fork between commands."""

    def __init__(self, start: Start) -> None:
        case = start.case
        self._start = start
        self._case = case
        device.prepare(case.device, threads=case.threads, seed=case.seed)
        self._workload: Any = workloads.load(locate(case.workload, Path(start.base_folder)), case.seed)
        self._workload.prepare(Path(start.cache_folder))
        self._technique: Any = catalogue.load(case.phase, case.technique)
        self._params = catalogue.parse_params(self._technique, case.params)
        for name in self._technique.INFO.imports:
            importlib.import_module(name)
        group, _ = enter_own_group()
        self._meters = meters.open_meters(start.meters, case.device, group)
        self._stack = contextlib.ExitStack()
        self._task: Task | None = None
        self._training: Iterator[Any] | None = None
        self._model: Any = None
        self._examples = 0
        test = self._workload.examples("test")
        self._slices: tuple[Examples, ...] = workloads.slices(test, start.slice_size)
        self._answered: set[int] = set()
        self._recorder = _recorder(start, self._meters) if start.trace else None

    def ready(self) -> Ready:
        """Say what was loaded."""
        infos = self._meters.infos()
        return Ready(
            pid=os.getpid(),
            metric=self._workload.metric,
            data=self._workload.data_info(),
            model=self._workload.model_info(),
            meters=trace.noted(self._recorder, infos) if self._recorder else infos,
            missing=self._meters.missing(),
            slices=len(self._slices),
        )

    def obey(self, command: Command) -> Reply:  # noqa: PLR0911 one return a command
        """Carry out one command and return its one reply."""
        match command:
            case Build():
                return self._build()
            case Warm():
                return self._run(command.batch, command.repeats, WindowKind.WARMUP, None, None)
            case Run():
                return self._run(command.batch, command.repeats, WindowKind.RUN, command.block, command.slot)
            case Idle():
                measured, _ = self._measured(lambda: time.sleep(command.duration_s))
                return Done(window=self._window(WindowKind.IDLE, 0, measured))
            case Train():
                return self._train()
            case Evaluate():
                return self._validate()
            case Finish():
                return self._finish()
            case _:
                raise InvalidMeasurement(f"a worker cannot obey {type(command).__name__} now")

    def close(self) -> None:
        """Release the task, then the meters; the trace is written whatever the task did."""
        with contextlib.ExitStack() as last:
            last.callback(self._meters.close)
            if self._recorder is not None:
                last.callback(self._recorder.stop)
            self._stack.close()

    def _measured(self, work: Callable[[], T]) -> tuple[Measured, T]:
        """Run `work` between two synchronised reads of all meters."""
        name = self._case.device
        device.reset_peak_memory(name)
        device.synchronise(name)
        mark = self._meters.begin()
        try:
            result = work()
            device.synchronise(name)
        finally:
            measured = self._meters.end(mark)
        return measured, result

    def _window(self, kind: WindowKind, tasks: int, measured: Measured, **more: Any) -> Window:
        return Window(
            kind=kind,
            fork=self._start.fork,
            tasks=tasks,
            measured=measured,
            peak_memory_bytes=device.peak_memory_bytes(self._case.device),
            **more,
        )

    def _build(self) -> Done:
        technique: InferTechnique = self._technique
        start = self._start
        if start.trained_folder is None or start.trained_id is None:
            raise InvalidMeasurement(f"{self._case.name} has no trained model to build from")
        trained = Trained(folder=Path(start.trained_folder), case_id=start.trained_id)

        def work() -> Task:
            return self._stack.enter_context(technique.build(trained, self._workload, self._params, self._case.device))

        measured, self._task = self._measured(work)
        return Done(window=self._window(WindowKind.BUILD, 0, measured))

    def _run(self, batch: int, repeats: int, kind: WindowKind, block: int | None, slot: int | None) -> Done:
        task, part = self._task, self._slices[batch]
        if task is None:
            raise InvalidMeasurement(f"{self._case.name} was told to run before it was built")
        single = self._case.scenario == "single"

        def work() -> Any:
            outputs: Any = None
            for _ in range(repeats):
                outputs = _one_by_one(task, part.texts) if single else task.run(part.texts)
            return outputs

        measured, outputs_NC = self._measured(work)
        window = self._window(
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
        return Done(window=window, items=items)

    def _items(self, part: Examples, outputs_NC: Any) -> Items:
        rows = tuple(tuple(float(value) for value in row) for row in outputs_NC)
        return Items(item_ids=part.item_ids, scores=self._workload.scores(outputs_NC, part), outputs=rows)

    def _train(self) -> TrainedReply:
        technique: TrainTechnique = self._technique
        if self._training is None:
            self._training = technique.train(self._workload, self._params, self._case.device)
        training = self._training
        measured, checkpoint = self._measured(lambda: next(training, None))
        if checkpoint is None:
            window = self._window(WindowKind.TRAIN, 0, measured, label="after the last checkpoint")
            return TrainedReply(finished=True, window=window)
        done = checkpoint.examples - self._examples
        self._examples, self._model = checkpoint.examples, checkpoint.model
        window = self._window(WindowKind.TRAIN, done, measured)
        return TrainedReply(finished=False, window=window, steps=checkpoint.steps, examples=checkpoint.examples)

    def _validate(self) -> Evaluated:
        window, outputs_NC, examples = self._evaluate("validation")
        return Evaluated(window=window, scores=self._workload.scores(outputs_NC, examples))

    def _evaluate(self, split: str) -> tuple[Window, Any, Examples]:
        if self._model is None:
            raise InvalidMeasurement(f"{self._case.name} has no checkpoint to evaluate; its technique must yield one")
        workload, name = self._workload, self._case.device
        examples = workload.examples(split)

        def work() -> Any:
            return workloads.answers(workload, self._model, examples.texts, _EVALUATION_BATCH, name)

        measured, outputs_NC = self._measured(work)
        return self._window(WindowKind.EVAL, len(examples.texts), measured, label=split), outputs_NC, examples

    def _finish(self) -> Finished:
        window, outputs_NC, examples = self._evaluate("test")
        relative = Path("models") / self._case.case_id
        place = Path(self._start.run_folder) / relative
        device.save_model(lambda folder: self._workload.save(self._model, folder), place)
        return Finished(items=self._items(examples, outputs_NC), artefact=str(relative), windows=(window,))


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


def _one_by_one(task: Task, texts: tuple[str, ...]) -> Any:
    import numpy as np

    return np.concatenate([task.run((text,)) for text in texts])


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
            _say(replies, worker.ready())
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
