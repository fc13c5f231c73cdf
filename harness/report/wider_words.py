"""What the report says about training, the lifecycle, the joules themselves, and its doubts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness import stats
from harness.lifecycle import Pipeline, inference_share, total_at
from harness.records import Doubt, Failed, Ok, Quality, Skipped, Trivial, WindowKind
from harness.report import formats as f
from harness.report.gather import Gathered, Training
from harness.report.model import Kind, Sentence
from harness.stats import Interval

FAKE_BANNER = (
    "FAKE JOULES: a fake meter, which is only for tests, produced energies in this run. "
    "No number here says anything about real energy."
)

_DOUBTS = {
    Doubt.WINDOW_TOO_SHORT: "shorter than its meter needs; raise measure.min_window_s",
    Doubt.HOST_BUSY: "other processes used more than 5 % of the host; run again when it is idle",
    Doubt.THERMAL_DRIFT: "the machine grew hotter or colder meanwhile",
    Doubt.MODELLED: "joules modelled from CPU time",
    Doubt.UNKNOWN_MICROARCHITECTURE: "the CPU is unknown to the model, so absolute joules are wide open",
    Doubt.OUTPUTS_DIFFER: "the same input gave unlike outputs",
    Doubt.BUDGET_SPENT: "the budget was spent before the measurement was done; raise --budget",
    Doubt.ONE_FORK: "one process only, so the luck of its memory layout is in the result; raise measure.forks",
    Doubt.NO_IDLE_BASELINE: "no idle window, so idle power is not known",
    Doubt.METER_MISSING: "a meter gave no reading",
    Doubt.WINDOWS_OVERLAP: "another window was open meanwhile, and both hold the same joules; do not add them up",
    Doubt.RESUMED: "training was cut off and went on from its last kept state; what the lost steps drew is not in it",
    Doubt.THROTTLED: "a device held its clocks down (power or heat); cool it, or set a clock that it can keep",
}


def learned_sentences(run: Gathered) -> list[Sentence]:
    """Lead with the trainings that are shown to have learned, where no target quality was set that would say more.

    A training is counted if it trained a step and the quality of an answer without a model is known.
    """
    trainings = [each for each in run.trainings if each.cost is not None]
    judged = [(each, *pair) for each in trainings if (pair := _judged(each)) is not None]
    good = [(each, quality, trivial) for each, quality, trivial in judged if quality.low > trivial.value]
    if not good or any(each.records[0].target_quality is not None for each in trainings):
        return []
    shown = f"{len(good)} of {len(judged)} trainings {'is' if len(good) == 1 else 'are'} shown to have learned"
    rest = "" if len(good) == len(judged) else ", which is not shown of the others"
    text = f"{shown}: test quality above that of an answer without a model{rest}."
    if len(judged) == 1:
        text = f"{good[0][0].technique} is shown to have learned: its {_against(*good[0], 'is above')}."
    return [Sentence(kind=Kind.RECOMMEND, text=text)]


def training_sentences(run: Gathered) -> list[Sentence]:
    """Say which training of each workload reaches its target for the fewest joules, and which did not reach it."""
    several = len(run.training_groups) > 1
    return [
        sentence
        for group, trainings in run.training_groups.items()
        for sentence in _of_group(trainings, f"On {group}: " if several and group else "")
    ]


def _of_group(trainings: Sequence[Training], where: str) -> list[Sentence]:
    known = [each for each in trainings if each.cost is not None]
    target = next(
        (each.records[0].target_quality for each in known if each.records[0].target_quality is not None), None
    )
    if not known:
        return []
    idle = [_training(where + text) for each in known if (text := _learned_nothing(each))]
    if target is None:
        parts = [f"{each.technique} {_ended(each)}" for each in known]
        text = f"{where}no target quality was set, so trainings are not ranked: {'; '.join(parts)}."
        if len(parts) == 1:
            return [_training(f"{where}{parts[0]}; no target quality was set."), *idle]
        return [_training(f.capital(text)), *idle]
    reached = sorted((each for each in known if each.to_target is not None), key=_to_target_j)
    missed = [each for each in known if each.to_target is None]
    goal = f"the target of {f.percent(target)} validation {known[0].metric}"
    sentences = []
    spent = [f.joules(_to_target_j(each), each.known) for each in reached]
    others = [f"{each.technique} {joules}" for each, joules in zip(reached, spent, strict=True)]
    if unlike(reached):
        text = f"{where}trainings that reach {goal} are not ranked, because their joules are known in unlike ways"
        sentences.append(_training(f.capital(f"{text}: {'; '.join(others)}.")))
    elif reached:
        text = f"{where}{reached[0].technique} reaches {goal} for the fewest joules: {spent[0]}"
        others = others[1:]
        sentences.append(_training(f"{text} ({'; '.join(others)})." if others else f"{text}."))
    else:
        sentences.append(_training(f.capital(f"{where}no training reached {goal}.")))
    return [
        *sentences,
        *(_training(f"{where}{each.technique}: {goal} was not reached within {_spent(each)}.") for each in missed),
        *idle,
    ]


def unlike(trainings: Sequence[Training]) -> bool:
    """Say whether these trainings bill other domains or know them in other ways, so that they have no order."""
    bills = [stats.bill(record) for training in trainings for record in training.records]
    return any(bill != bills[0] for bill in bills)


def _to_target_j(training: Training) -> float:
    return training.to_target.energy_j if training.to_target is not None else 0.0


def _training(text: str) -> Sentence:
    return Sentence(kind=Kind.TRAINING, text=text)


def _spent(training: Training) -> str:
    if training.cost is None:
        return "its training"
    spent = f.joules(training.cost.total.energy_j, training.known)
    seeds = len(training.records)
    return spent if seeds == 1 else f"{spent} (mean) in {seeds - training.reached} of {seeds} seeds"


def _ended(training: Training) -> str:
    quality = training.records[0].quality
    ends = f.quality_by_seed(training.records)
    at = f"ended at {ends} test {training.metric}" if quality else "ended without a test quality"
    trivial = f.trivial_of(training.records[0], "test", quality)
    beside = f" ({trivial.answer}: {f.percent(trivial.value)})" if trivial is not None else ""
    return f"{at}{beside} for {_spent(training)}"


def _judged(training: Training) -> tuple[Quality, Trivial] | None:
    """Return the test quality and that of an answer without a model, of the seed that is least above it.

    None where no model can be judged by them.
    """
    trained = [record for record in training.records if stats.steps_trained(record) != 0]
    beside = [(record.quality, f.trivial_of(record, "test", record.quality)) for record in trained]
    known = [(quality, trivial) for quality, trivial in beside if quality is not None and trivial is not None]
    return min(known, key=lambda pair: pair[0].low - pair[1].value, default=None)


def _learned_nothing(training: Training) -> str:
    """Return what to say of a model that is not shown better than an answer without one; mostly nothing."""
    pair = _judged(training)
    if pair is None or pair[0].low > pair[1].value:
        return ""
    return (
        f"{training.technique} is not shown to have learned anything: its {_against(training, *pair, 'is not above')}."
    )


def _against(training: Training, quality: Quality, trivial: Trivial, is_or_not: str) -> str:
    seeds = len(training.records)
    where = "" if seeds == 1 else f" in the poorest of {seeds} seeds"
    return (
        f"test {training.metric}{where}, {f.percent(quality.value)} ({f.quality_of(quality)}), {is_or_not} the "
        f"{f.percent(trivial.value)} of {trivial.answer}"
    )


def lifecycle_sentences(run: Gathered, preferred: Sequence[str]) -> list[Sentence]:
    """Say at what number of requests inference overtakes training, and which pipeline is cheapest, by workload.

    `preferred` case ids speak first.
    """
    workloads = dict.fromkeys(pipeline.workload for pipeline in run.lifecycle.pipelines)
    return [
        sentence
        for workload in workloads
        for sentence in _of_workload(run, workload, preferred, f"On {workload}: " if workload else "")
    ]


def _of_workload(run: Gathered, workload: str, preferred: Sequence[str], where: str) -> list[Sentence]:
    pipelines = [each for each in run.lifecycle.pipelines if each.workload == workload]
    cheapest = [each for each in run.lifecycle.cheapest if each.workload == workload]
    chosen = [each for each in pipelines if each.infer_case_id in preferred] or pipelines[:1]
    sentences = [_parity(each, run, where) for each in chosen]
    if not cheapest:
        return sentences
    million = min(cheapest, key=lambda each: abs(each.requests - 10**6))
    (pipeline,) = [each for each in pipelines if (each.name, each.group) == (million.pipeline, million.group)][:1]
    known = "" if run.uniform else total_at(pipeline, million.requests).label
    metric = f.metric_of(each.quality for each in pipelines)
    requests = f"{where}at {f.power_of_ten(million.requests)} requests"
    which = (
        f"the cheapest pipeline measured whose {metric} is shown to be within the margin of the best is "
        f"{million.pipeline}: "
        if len(pipelines) > 1
        else f"{million.pipeline} takes "
    )
    text = (
        f"{requests} {which}{f.joules(million.energy_j, known)} in all, {f.percent(million.inference_share)} of it "
        "inference."
    )
    return [*sentences, Sentence(kind=Kind.LIFECYCLE, text=f.capital(text))]


def _parity(pipeline: Pipeline, run: Gathered, where: str) -> Sentence:
    trained = f.joules(pipeline.train_j, "" if run.uniform else pipeline.train.label)
    span = ""
    if pipeline.parity_low is not None and pipeline.parity_high is not None:
        span = f" ({f.count(pipeline.parity_low)} to {f.count(pipeline.parity_high)})"
    share = inference_share(pipeline, 10 * pipeline.parity_tasks)
    text = (
        f"{where}inference with {pipeline.infer_technique} overtakes its training by {pipeline.train_technique} "
        f"({trained}) after {f.count(pipeline.parity_tasks)} requests{span}; "
        f"at ten times as many it is {f.percent(share, 0)} of the energy, building counted."
    )
    return Sentence(kind=Kind.LIFECYCLE, text=f.capital(text))


def doubt_lines(run: Gathered) -> tuple[str, ...]:
    """Return one line a doubt: how many windows or cases carry it, and what to do."""
    kinds = (WindowKind.RUN, WindowKind.PREFILL, WindowKind.TRAIN, WindowKind.BUILD)
    windows = [window for record in run.records for window in record.windows if window.kind in kinds]
    in_windows = Counter(doubt for window in windows for doubt in set(window.measured.doubts))
    in_cases = Counter(doubt for record in run.records for doubt in set(record.doubts))
    lines = []
    for doubt, meaning in _DOUBTS.items():
        if doubt is Doubt.MODELLED:
            continue
        if in_windows[doubt]:
            share = in_windows[doubt] / len(windows)
            lines.append(f"{doubt.value}: {in_windows[doubt]} of {len(windows)} windows ({share:.0%}): {meaning}")
        elif in_cases[doubt]:
            lines.append(f"{doubt.value}: {in_cases[doubt]} of {len(run.records)} cases: {meaning}")
    return (*lines, *_outcome_lines(run), *_gap_lines(run))


def _outcome_lines(run: Gathered) -> list[str]:
    failed = sum(isinstance(record.outcome, Failed) for record in run.records)
    skipped = sum(isinstance(record.outcome, Skipped) for record in run.records)
    waiting = len(run.info.case_ids) - len(run.records)
    lines = [
        f"{n} of {len(run.info.case_ids)} cases {what}" for n, what in ((failed, "failed"), (skipped, "skipped")) if n
    ]
    if waiting > 0:
        lines.append(f"{waiting} of {len(run.info.case_ids)} cases have no record yet: the run is not finished")
    if run.records and not any(isinstance(record.outcome, Ok) for record in run.records):
        lines.append("no case ended well, so there is nothing to compare")
    return lines


def _gap_lines(run: Gathered) -> list[str]:
    called = run.info.name_of
    gaps = [f"{called(entry.record.case)}: {entry.gap}" for group in run.groups for entry in group.entries if entry.gap]
    gaps += [
        f"{f'{training.group}/' if training.group else ''}train/{training.technique}: {training.gap}"
        for training in run.trainings
        if training.gap
    ]
    several = len(run.groups) > 1
    for group in run.groups:
        where = f"{group.result.name}: " if several else ""
        compared = [entry.comparison for entry in group.entries if entry.comparison is not None]
        gaps += [f"{where}{c.technique}: {gap}" for c in compared if c.ratio is not None for gap in c.gaps]
    return [*gaps, *run.lifecycle.gaps]


def uncertain(interval: Interval) -> str:
    """Return the half-width of an interval of joules as a percentage of its estimate."""
    return f"±{(interval.high - interval.low) / 2 / interval.estimate:.1%}"
