"""A size is refused for what is run: its steps, its evaluation, its head; again before a task is built."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest

from harness import workloads
from harness.errors import ModelError
from harness.records import WorkloadSpec
from harness.worker.inferring import Inferring
from harness.workloads.architectures import building, counting, presets
from harness.workloads.causal_generation import NextToken
from harness.workloads.evaluating import evaluation_batch
from harness.workloads.sources import Sized

torch = pytest.importorskip("torch")

GPT2 = presets.attention_preset("gpt2", "tiny")
BERT = presets.attention_preset("bert", "tiny")
LOGITS = 4 * 256 * GPT2.vocabulary


@pytest.fixture
def free(monkeypatch):
    """Return a function that says how much memory there is."""

    def set_to(number):
        monkeypatch.setattr("harness.counters.memory.free_bytes", lambda: number)

    return set_to


def needed(preset, **what):
    return counting.memory_bytes(preset, **what).needed_bytes


def test_what_a_process_with_torch_holds_already_is_not_asked_for_again():
    found = counting.memory_bytes(GPT2, phase="infer", batch=1, length=16)
    assert found.needed_bytes == round(counting.HEADROOM * found.tensors_bytes)


def test_an_evaluation_is_judged_where_nothing_is_trained(free):
    free(needed(GPT2, phase="infer", batch=1, length=256) + LOGITS)
    source = Sized("gpt2", "tiny", "causal")
    source.refuse_unless_fits(training=False, batch=1, length=256, device="cpu")
    with pytest.raises(ModelError, match=r"gpt2@tiny: evaluation with 8 x 256 tokens .*; take shorter sequences or"):
        source.refuse_unless_fits(training=False, batch=0, length=256, device="cpu")


def test_an_evaluation_of_a_training_has_the_moments_beside_it():
    after, alone = (counting.memory_bytes(GPT2, phase=phase, batch=2, length=16) for phase in ("evaluate", "untrained"))
    assert after.tensors_bytes - alone.tensors_bytes == 2 * alone.weights_bytes


def test_a_training_of_short_steps_is_refused_for_its_evaluation(free):
    free(needed(GPT2, phase="evaluate", batch=8, length=256) - 1)
    assert needed(GPT2, phase="train", batch=1, length=256) < needed(GPT2, phase="evaluate", batch=8, length=256)
    with pytest.raises(ModelError, match="evaluation with 8 x 256"):
        Sized("gpt2", "tiny", "causal").refuse_unless_fits(training=True, batch=1, length=256, device="cpu")


def test_long_texts_are_evaluated_few_at_a_time():
    assert [evaluation_batch(length) for length in (8, 64, 128, 1024, 5000)] == [32, 32, 16, 2, 1]


def test_a_classifier_is_judged_with_its_own_head(free, tmp_path):
    spec = {"goal": "classes", "data": {"source": "docstrings", "limit": {"train": 40, "validation": 10, "test": 10}}}
    workload = workloads.load(WorkloadSpec(name="bert", params={**spec, "vocabulary": 2000, "max_length": 64}), 1)
    workload.prepare(tmp_path)
    fitted = {"phase": "train", "batch": 16, "length": 64}
    preset = msgspec.structs.replace(BERT, vocabulary=2000)
    own = needed(preset, head="classes", **fitted)
    assert own < 0.9 * needed(preset, **fitted)
    free(own)
    workload.refuse_unless_fits(training=True, batch_size=16, device="cpu")
    free(own - 1)
    with pytest.raises(ModelError, match="training with 16 x 64"):
        workload.refuse_unless_fits(training=True, batch_size=16, device="cpu")


def test_the_traced_step_is_the_step_of_the_workload():
    from harness.workloads.architectures import tracing

    model = building.build(GPT2, seed=0).train()
    goal = NextToken(range(128), 64, "cpu")
    real = tracing.training_peak(model, "adam", lambda: goal.loss(model, [0, 1]))
    estimate = counting.memory_bytes(GPT2, phase="train", batch=2, length=64).tensors_bytes
    assert 0.99 * real < estimate < 1.05 * real


def test_a_task_is_not_built_once_workers_beside_it_have_taken_the_memory():
    """All workers of a group start side by side, when each finds the memory free; they build one after the other."""
    events = []

    def refuse():
        events.append("asked")
        raise ModelError("the memory is gone")

    start = SimpleNamespace(trained_folder="here", trained_id="x")
    technique = SimpleNamespace(build=lambda *_: events.append("built"))
    fork = SimpleNamespace(technique=technique, start=start, refuse_unless_fits=refuse)
    with pytest.raises(ModelError, match="the memory is gone"):
        Inferring(fork).build()
    assert events == ["asked"]


def test_keeping_a_training_takes_no_memory_for_what_the_cpu_holds():
    from harness.training import Recipe, fit

    model = torch.nn.Sequential(torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    goal = SimpleNamespace(size=2, loss=lambda model, rows: model(torch.ones(len(rows), 4)).square().mean())
    *_, last = fit(model, lambda: goal, Recipe(epochs=1, batch_size=2), seed=1, device="cpu")
    state = last.state()
    assert state["model/0.weight"].data_ptr() == model[0].weight.data_ptr()
    assert torch.equal(state["model/1.weight"], model[1].weight)
    places = [tensor.data_ptr() for tensor in state.values()]
    assert len(places) == len(set(places)), "what shares memory cannot be written to a file of tensors"
