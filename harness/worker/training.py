"""A fork of a train case: trains chunk by chunk, evaluates between, keeps its state, leaves a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness import device
from harness.contract import Checkpoint, Evaluation, Examples, Resumed, TrainTechnique
from harness.errors import InvalidMeasurement
from harness.messages import Evaluated, Finished, Kept, Resume, Trained
from harness.records import Window, WindowKind
from harness.worker.fork import Fork


class Training:
    """The state of a train case between commands."""

    def __init__(self, fork: Fork) -> None:
        self._fork = fork
        self._training: Iterator[Checkpoint] | None = None
        self._model: Any = None
        self._state: Callable[[], Any] | None = None
        self._examples = self._steps = 0

    def train(self) -> Trained:
        """Train up to the next checkpoint inside a `train` window."""
        first = self._training is None
        measured, checkpoint = self._fork.measured(self._chunk)
        if checkpoint is None:
            window = self._fork.window(WindowKind.TRAIN, 0, measured, label="after the last checkpoint")
            return Trained(finished=True, window=window)
        resume = self._fork.start.resume if first else None
        done = checkpoint.examples - (resume.examples if resume is not None else self._examples)
        self._examples, self._model, self._state = checkpoint.examples, checkpoint.model, checkpoint.state
        self._steps = checkpoint.steps
        window = self._fork.window(WindowKind.TRAIN, done, measured, label="taken up again" if resume else None)
        return Trained(
            finished=False, window=window, last=checkpoint.last, steps=checkpoint.steps, examples=checkpoint.examples
        )

    def keep(self) -> Kept:
        """Write what a fresh process needs to go on from the last checkpoint."""
        if self._state is None:
            return Kept(resume=None)
        relative = Path("training") / self._fork.case.case_id / f"{self._fork.start.fork}-{self._steps}.safetensors"
        device.save_tensors(self._state(), self._fork.folder / relative)
        return Kept(resume=Resume(file=str(relative), steps=self._steps, examples=self._examples))

    def validate(self) -> Evaluated:
        """Evaluate the last checkpoint on the validation split."""
        window, found, _ = self._evaluate("validation")
        return Evaluated(window=window, scores=found.scores, measures=found.measures)

    def _evaluate(self, split: str) -> tuple[Window, Evaluation, Examples]:
        if self._model is None:
            raise InvalidMeasurement(
                f"{self._fork.case.name} has no checkpoint to evaluate; its technique must yield one"
            )
        workload, name = self._fork.workload, self._fork.case.device
        examples = workload.examples(split)

        def work() -> Evaluation:
            evaluation: Evaluation = workload.evaluate(self._model, examples, name)
            return evaluation

        measured, found = self._fork.measured(work)
        for what, value in found.measures.items():
            if not math.isfinite(value):
                raise InvalidMeasurement(
                    f"{self._fork.case.name}: {what} on the {split} split is {value} after {self._steps} steps, so the "
                    "model is of no use; if it was trained, its training diverged: lower learning_rate"
                )
        return self._fork.window(WindowKind.EVAL, len(examples.texts), measured, label=split), found, examples

    def finish(self) -> Finished:
        """Evaluate on the test split and save the model."""
        window, found, examples = self._evaluate("test")
        relative = Path("models") / self._fork.case.case_id
        place = self._fork.folder / relative
        device.save_model(lambda folder: self._fork.workload.save(self._model, folder), place)
        return Finished(
            item_ids=examples.item_ids,
            scores=found.scores,
            measures=found.measures,
            artefact=str(relative),
            windows=(window,),
        )

    def _chunk(self) -> Checkpoint | None:
        """Train up to the next checkpoint; what was kept is loaded here, where its joules are counted."""
        if self._training is None:
            technique: TrainTechnique = self._fork.technique
            arguments = (self._fork.workload, self._fork.params, self._fork.case.device)
            resume = self._fork.start.resume
            if resume is None:
                self._training = technique.train(*arguments)
            else:
                state = device.load_tensors(self._fork.folder / resume.file)
                resumed = Resumed(steps=resume.steps, examples=resume.examples, state=state)
                self._training = technique.train(*arguments, resumed)
        return next(self._training, None)
