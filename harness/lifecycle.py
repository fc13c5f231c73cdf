"""Training, building and serving together: what does a request cost once everything is on the bill?

N* = E_train / e_inf is the number of requests at which inference has drawn as much as training
(Luccioni et al. 2024 call it cost parity). Both come from the same meters, so an error of scale in
a modelled meter cancels in N* and in every break-even; it does not cancel in the joules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from harness import catalogue, stats, store
from harness.errors import IncomparableRecords, InvalidMeasurement, NotMeasured, ResultsError
from harness.published_splits import PUBLISHED_SPLITS, PublishedSplit
from harness.records import Frozen, Ok, Phase, Quality, Record, RunInfo

REQUESTS = tuple(10**power for power in range(3, 10))
"""Numbers of requests at which a table shows the split."""


class Results(Protocol):
    """A run's folder, its description and its records."""

    @property
    def folder(self) -> Path:
        """The run's folder; `outputs_file` of a record is relative to it."""

    @property
    def info(self) -> RunInfo:
        """What was asked."""

    @property
    def records(self) -> tuple[Record, ...]:
        """What was measured."""


class Pipeline(Frozen, frozen=True, kw_only=True):
    """One training followed by one way of inferring, as measured.

    `train_low_j`/`train_high_j` are None where the training's interval is unknown; intervals are statistical.
    `workload` tells workloads apart where the run holds several; pipelines of unlike workloads are never compared.
    `train`, `build` and `task` are the joules of each with their bounds and how they are known, `bill` says by what
    meter each domain is known.
    `parity_tasks` is N*, with its interval where both parts have one; where joules are mixed the model's error is in
    it. `against_baseline` says after how many tasks this pipeline has paid back what it costs more, beforehand, than
    the baseline inference on the same model.
    `not_worse` says whether its quality is shown to be within the run's margin of the best pipeline's on its workload,
    on the same items; None where quality is not known.
    """

    train_technique: str
    infer_technique: str
    group: str
    workload: str = ""
    train_case_id: str
    infer_case_id: str
    train_j: float
    train_low_j: float | None
    train_high_j: float | None
    build_j: float
    train: stats.Total
    build: stats.Total
    task: stats.Total
    bill: dict[str, tuple[str, ...]]
    per_task: stats.Interval
    parity_tasks: float
    parity_low: float | None
    parity_high: float | None
    quality: Quality | None
    is_baseline: bool
    against_baseline: stats.BreakEven | None = None
    not_worse: bool | None = None

    @property
    def name(self) -> str:
        """A short name for people."""
        return f"{self.train_technique} + {self.infer_technique}"


class Cheapest(Frozen, frozen=True, kw_only=True):
    """The pipeline with the fewest joules at N requests on a workload, `among` those that are not worse in quality."""

    requests: int
    pipeline: str
    group: str
    workload: str = ""
    energy_j: float
    inference_share: float
    among: int


class Lifecycle(Frozen, frozen=True, kw_only=True):
    """All measured pipelines, those of a workload together, cheapest first; `gaps` says which pairs are missing, why.

    `cheapest` has each number of requests once for each workload whose pipelines can be ranked.
    """

    pipelines: tuple[Pipeline, ...]
    cheapest: tuple[Cheapest, ...]
    published: tuple[PublishedSplit, ...]
    gaps: tuple[str, ...]


def lifecycle(run: Results, baselines: Mapping[Phase, str] | None = None) -> Lifecycle:
    """Join every infer case with the training of its model. Only pairs that were measured are joined.

    A training's joules are the mean over the seeds it was repeated with.
    """
    base = baselines.get(Phase.INFER) if baselines is not None else catalogue.baseline(Phase.INFER)
    records = {record.case_id: record for record in run.records}
    pipelines, gaps = [], []
    for record in run.records:
        if record.case.phase is not Phase.INFER or not isinstance(record.outcome, Ok):
            continue
        name = run.info.name_of(record.case)
        source = records.get(record.case.trained_by or "")
        if source is None:
            gaps.append(f"{name}: the training of its model is not in this run")
            continue
        if stats.steps_trained(source) == 0:
            gaps.append(f"{source.case.technique} trains no step, so there is no training to set against inference")
            continue
        trainings = [each for each in stats.repetitions(source, run.records) if isinstance(each.outcome, Ok)]
        try:
            pipelines.append(_pipeline(trainings, record, run.info, is_baseline=record.case.technique == base))
        except (NotMeasured, InvalidMeasurement) as error:
            gaps.append(f"{name}: {error}")
    paid = [_against_baseline(each, pipelines, records, run.info.confidence) for each in pipelines]
    joined: list[Pipeline] = []
    cheapest: list[Cheapest] = []
    for workload in dict.fromkeys(each.workload for each in paid):
        judged = _judge_quality([each for each in paid if each.workload == workload], records, run)
        unlike = _unlike(judged)
        joined += sorted(judged, key=lambda each: each.per_task.estimate)
        gaps += unlike
        cheapest += [] if unlike else [cheapest_at(judged, n) for n in REQUESTS]
    return Lifecycle(
        pipelines=tuple(joined),
        cheapest=tuple(cheapest),
        published=PUBLISHED_SPLITS,
        gaps=tuple(dict.fromkeys(gaps)),
    )


def total_at(pipeline: Pipeline, requests: float) -> stats.Total:
    """Return train + build + N × joules a task with their bounds and how they are known."""
    scale = requests * pipeline.per_task.estimate / pipeline.task.energy_j
    return stats.add((pipeline.train, pipeline.build, stats.scaled(pipeline.task, scale)))


def energy_at(pipeline: Pipeline, requests: float) -> float:
    """Return train + build + N × joules a task."""
    return pipeline.train_j + pipeline.build_j + requests * pipeline.per_task.estimate


def inference_share(pipeline: Pipeline, requests: float) -> float:
    """Return the share of serving in the total at N requests (0–1); building counts as one-off."""
    return requests * pipeline.per_task.estimate / energy_at(pipeline, requests)


def cheapest_at(pipelines: Sequence[Pipeline], requests: int) -> Cheapest:
    """Return the pipeline with the fewest joules at N among those not worse in quality (all, if none is known).

    Raises: NotMeasured: there is no pipeline.
    """
    if not pipelines:
        raise NotMeasured("no pipeline of training and inference was measured in this run")
    good = [each for each in pipelines if each.not_worse] or list(pipelines)
    best = min(good, key=lambda each: energy_at(each, requests))
    return Cheapest(
        requests=requests,
        pipeline=best.name,
        group=best.group,
        workload=best.workload,
        energy_j=energy_at(best, requests),
        inference_share=inference_share(best, requests),
        among=len(good),
    )


def _pipeline(trainings: Sequence[Record], infer: Record, info: RunInfo, *, is_baseline: bool) -> Pipeline:
    confidence = info.confidence
    if not trainings:
        raise NotMeasured("the training of its model did not end well")
    train, cost = trainings[0], stats.training_interval(trainings, confidence)
    per_task = stats.energy_interval(infer, confidence)
    task, build = stats.energy_per_task(infer), stats.build_total(infer)
    if cost.total.domains != task.domains:
        raise NotMeasured(
            f"training bills {', '.join(cost.total.domains)} and inference {', '.join(task.domains)}: no common bill"
        )
    bill = stats.bill(infer)
    if any(stats.bill(record) != bill for record in trainings):
        raise NotMeasured(
            f"the joules of training are known in another way ({_ways(stats.bill(train))}) than those of inference "
            f"({_ways(bill)}): no common bill"
        )
    early, late = _model_spread(cost.total, task)
    return Pipeline(
        train_technique=train.case.technique,
        infer_technique=infer.case.technique,
        group=info.group_of(infer.case),
        workload=info.labels.get(infer.case_id, ""),
        train_case_id=infer.case.trained_by or train.case_id,
        infer_case_id=infer.case_id,
        train_j=cost.total.energy_j,
        train_low_j=cost.low_j,
        train_high_j=cost.high_j,
        build_j=build.energy_j,
        train=cost.total,
        build=build,
        task=task,
        bill=bill,
        per_task=per_task,
        parity_tasks=cost.total.energy_j / per_task.estimate,
        parity_low=None if cost.low_j is None else early * cost.low_j / per_task.high,
        parity_high=None if cost.high_j is None else late * cost.high_j / per_task.low,
        quality=infer.quality,
        is_baseline=is_baseline,
    )


def _model_spread(train: stats.Total, task: stats.Total) -> tuple[float, float]:
    """Return by what factors N* may be out because modelled joules weigh more in one part than in the other."""
    if not (train.mixed or task.mixed):
        return 1.0, 1.0
    factors = [
        (train.at_model(side) / train.energy_j) / (task.at_model(side) / task.energy_j) for side in ("low", "high")
    ]
    return min(1.0, *factors), max(1.0, *factors)


def _against_baseline(
    pipeline: Pipeline, pipelines: Sequence[Pipeline], records: Mapping[str, Record], confidence: float
) -> Pipeline:
    """Return the pipeline with the break-even of what it costs more beforehand than the baseline pipeline."""
    from msgspec.structs import replace

    bases = [each for each in pipelines if each.is_baseline and each.group == pipeline.group]
    interleaved = [each for each in bases if each.train_case_id == pipeline.train_case_id]
    if pipeline.is_baseline or not bases:
        return pipeline
    base = (interleaved or bases)[0]
    if pipeline.bill != base.bill:
        return pipeline
    extra_j = pipeline.train_j + pipeline.build_j - base.train_j - base.build_j
    e, mine = base.per_task, pipeline.per_task
    saving = (e.estimate - mine.estimate, e.low - mine.high, e.high - mine.low)
    if interleaved:
        rivals = [each for each in pipelines if each.train_case_id == base.train_case_id and each.group == base.group]
        each = stats.familywise(confidence, len(rivals) - 1)
        d = stats.paired_log_ratios(records[pipeline.infer_case_id], records[base.infer_case_id])
        ratio = stats.exponential(stats.ratio_interval(d, each))
        saving = (e.estimate * (1 - ratio.estimate), e.estimate * (1 - ratio.high), e.estimate * (1 - ratio.low))
    return replace(pipeline, against_baseline=stats.break_even(extra_j, *saving))


def _unlike(pipelines: Sequence[Pipeline]) -> tuple[str, ...]:
    """Return why pipelines cannot be ranked by their joules; nothing if they can."""
    ways = list(dict.fromkeys(_ways(each.bill) for each in pipelines))
    if len(ways) < 2:
        return ()
    return (f"pipelines are not ranked, because their joules are known in unlike ways: {' | '.join(ways)}",)


def _ways(bill: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{domain}: {' and '.join(ways)}" for domain, ways in bill.items())


def _judge_quality(pipelines: Sequence[Pipeline], records: Mapping[str, Record], run: Results) -> list[Pipeline]:
    """Compare the answers of pipelines on one workload with those of the best of them, item by item."""
    from msgspec.structs import replace

    known = [each for each in pipelines if each.quality is not None and records[each.infer_case_id].item_scores]
    if not known:
        return list(pipelines)
    best = max(known, key=lambda each: each.quality.value if each.quality else 0.0)
    confidence = stats.familywise(run.info.confidence, len(known) - 1)

    def not_worse(each: Pipeline) -> bool:
        mine, theirs = records[each.infer_case_id], records[best.infer_case_id]
        difference = _output_difference(run.folder, mine, theirs)
        judged = stats.quality_difference(mine, theirs, confidence, output_difference=difference)
        return judged.low >= -run.info.quality_margin

    return [replace(each, not_worse=each is best or not_worse(each)) if each in known else each for each in pipelines]


def _output_difference(folder: Path, mine: Record, theirs: Record) -> float | None:
    try:
        return store.largest_output_difference(folder, mine, theirs)
    except (NotMeasured, IncomparableRecords, ResultsError):
        return None
