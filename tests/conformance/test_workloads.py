"""What every workload must be, whatever its task: trainable, answerable, scored item by item, saved and loaded."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness import catalogue, device, workloads
from harness.contract import Resumed
from harness.records import Phase, WorkloadSpec

SMALL = {"train": 48, "validation": 10, "test": 12}
DOCUMENTATION = {"source": "documentation", "limit": SMALL}
DOCSTRINGS = {"source": "docstrings", "limit": SMALL}
SPECS = {
    "sentence_classification": (
        "sentence_classification",
        {
            "data": DOCSTRINGS,
            "model": {"source": "random", "layers": 1, "hidden": 32, "heads": 2, "vocabulary": 300},
            "max_length": 24,
        },
    ),
    "translate": ("translate", {"data": DOCUMENTATION, "vocabulary": 400, "max_length": 32, "new_tokens": 12}),
    "elmo": ("elmo", {"data": DOCSTRINGS, "vocabulary": 200, "max_length": 12}),
    "elmo on a corpus": (
        "elmo",
        {"data": DOCSTRINGS, "corpus": DOCUMENTATION, "vocabulary": 200, "max_length": 12},
    ),
    "bert": ("bert", {"data": DOCSTRINGS, "vocabulary": 300, "max_length": 24}),
    "bert, masked words": (
        "bert",
        {"goal": "masked_words", "data": DOCUMENTATION, "vocabulary": 2000, "max_length": 48},
    ),
    "gpt2": (
        "gpt2",
        {"data": DOCUMENTATION, "vocabulary": 400, "max_length": 48, "prompt_words": 6, "new_tokens": 5},
    ),
}
every = pytest.mark.parametrize("key", list(SPECS))


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("texts")


@pytest.fixture(scope="session")
def prepared(cache):
    """Return a function that gives each workload once, prepared."""
    made = {}

    def get(key):
        if key not in made:
            device.prepare("cpu", threads=1, seed=3)
            made[key] = load(key)
            made[key].prepare(cache)
        return made[key]

    return get


def load(key, seed=3):
    name, params = SPECS[key]
    workload = workloads.load(WorkloadSpec(name=name, params=params), seed)
    workload.check()
    return workload


def test_every_workload_is_tried_here():
    assert {name for name, _ in SPECS.values()} | {"any"} == set(workloads.names())


@every
def test_its_data_are_the_same_for_every_seed_and_each_split_has_its_limit(key, prepared, cache):
    workload, other = prepared(key), load(key, seed=4)
    other.prepare(cache)
    assert workload.data_info() == other.data_info()
    for split in ("validation", "test"):
        examples = workload.examples(split)
        assert examples == other.examples(split)
        assert len(examples.texts) == len(set(examples.item_ids)) == SMALL[split]
        assert not examples.targets or len(examples.targets) == SMALL[split]
    assert workload.examples("train").texts
    with pytest.raises(Exception, match="there is no split 'dev'"):
        workload.examples("dev")


@every
def test_its_data_say_what_quality_takes_no_model(key, prepared):
    workload = prepared(key)
    said = {(each.split, each.metric): each for each in workload.data_info().trivial}
    assert set(said) == {
        (split, name) for split in ("validation", "test") for name in (workload.metric, workload.learned)
    }
    examples = workload.examples("test")
    found = said["test", workload.metric]
    if workload.task == "sequence_to_sequence":
        assert found.answer == "the source copied unchanged"
        return
    if workload.data_info().classes:
        constants = [np.tile(row, (len(examples.texts), 1)) for row in np.eye(len(workload.data_info().classes))]
    else:
        constants = [np.full((len(examples.texts), 8), token) for token in range(len(workload.tokenizer()))]
        constants = [outputs[:, : getattr(workload, "new_tokens", 8)] for outputs in constants]
    best = max(np.mean(workload.scores(outputs, examples)) for outputs in constants)
    assert 0 < found.value == pytest.approx(best)
    assert found.answer == "the best constant answer"


@every
def test_its_data_info_and_model_info_survive_json(key, prepared):
    workload = prepared(key)
    for info in (workload.data_info(), workload.model_info()):
        assert msgspec.json.decode(msgspec.json.encode(info), type=type(info)) == info
    model = workload.new_model(pretrained=False, seed=1)
    assert workload.model_info().parameters == sum(
        tensor.numel() for tensor in model.parameters() if tensor.requires_grad
    )


@every
def test_one_seed_gives_one_model_and_another_another(key, prepared):
    import torch

    workload = prepared(key)
    one, same, other = (list(workload.new_model(pretrained=False, seed=seed).parameters()) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@every
def test_its_objective_falls_when_a_few_examples_are_repeated(key, prepared):
    import torch

    workload = prepared(key)
    model = workload.new_model(pretrained=False, seed=1)
    goal = workload.objective("cpu")
    assert goal.size > 0
    rows = list(range(min(4, goal.size)))
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    model.train()
    losses = []
    for _ in range(25):
        loss = goal.loss(model, rows)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    assert all(math.isfinite(loss) for loss in losses)
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])


@every
def test_its_answers_are_rows_of_one_width_whatever_the_batch_and_the_padding(key, prepared):
    workload = prepared(key)
    model = workload.new_model(pretrained=False, seed=1).eval()
    texts = workload.examples("test").texts
    ways = [(len(texts), "longest"), (5, "longest"), (4, "max_length"), (1, "longest")]
    found = [workload.answer(model, texts, batch_size=size, padding=pad, device="cpu") for size, pad in ways]
    for outputs in found:
        assert outputs.shape == found[0].shape
        assert outputs.shape[0] == len(texts)
        if outputs.dtype == np.float32:
            assert np.abs(outputs - found[0]).max() < 1e-4
        else:
            assert outputs.dtype == np.int32
            # The likeliest of random weights can be a tie that rounding decides.
            assert np.mean(outputs == found[0]) > 0.9


@every
def test_its_scores_lie_between_0_and_1_one_an_item(key, prepared):
    workload = prepared(key)
    model = workload.new_model(pretrained=False, seed=1).eval()
    examples = workload.examples("test")
    outputs = workload.answer(model, examples.texts, batch_size=8, padding="longest", device="cpu")
    found = workload.evaluate(model, examples, "cpu")
    for scores in (workload.scores(outputs, examples), found.scores):
        assert len(scores) == len(examples.texts)
        assert all(0 <= score <= 1 for score in scores)
    assert all(math.isfinite(value) and value >= 0 for value in found.measures.values())
    assert workload.metric


@every
def test_a_saved_model_answers_as_it_did(key, prepared, tmp_path):
    workload = prepared(key)
    model = workload.new_model(pretrained=False, seed=1).eval()
    texts = workload.examples("test").texts[:4]
    device.save_model(lambda folder: workload.save(model, folder), tmp_path / "kept")
    again = workload.load(tmp_path / "kept")
    assert not again.training
    before, after = (
        workload.answer(each, texts, batch_size=4, padding="longest", device="cpu") for each in (model, again)
    )
    assert np.array_equal(before, after)


@every
def test_what_is_no_saved_model_is_refused(key, prepared, tmp_path):
    with pytest.raises(Exception, match=str(tmp_path)):
        prepared(key).load(tmp_path)


@every
def test_nothing_is_pretrained_and_pretrained_weights_are_refused(key, prepared):
    workload = prepared(key)
    assert "nothing is pretrained" in workload.has_pretrained()
    with pytest.raises(Exception, match="nothing is pretrained"):
        workload.new_model(pretrained=True, seed=1)


@every
def test_before_prepare_it_says_what_to_do(key):
    with pytest.raises(Exception, match=r"call prepare\(cache\) first"):
        load(key).examples("test")


@pytest.mark.parametrize("name", ["translate", "elmo", "bert", "gpt2"])
def test_a_size_that_does_not_fit_the_memory_is_refused_with_the_estimate(name, cache, monkeypatch):
    monkeypatch.setattr("harness.counters.memory.free_bytes", lambda: 1_000_000)
    workload = workloads.load(WorkloadSpec(name=name, params=SPECS[name][1]), 1)
    workload.prepare(cache)
    with pytest.raises(Exception, match=r"needs about .* GB .* are free on cpu; take a smaller batch"):
        workload.refuse_unless_fits(training=True, batch_size=8, device="cpu")


@pytest.mark.parametrize("name", ["translate", "elmo", "bert", "gpt2"])
def test_an_unknown_size_names_the_nearest_before_anything_is_read(name):
    with pytest.raises(Exception, match=r"workload\.size: .* has no size 'tinny' \(did you mean 'tiny'\?\)"):
        workloads.load(WorkloadSpec(name=name, params={"size": "tinny"}), 1)


@pytest.mark.parametrize("name", ["translate", "elmo", "bert", "gpt2"])
def test_a_sequence_longer_than_the_models_positions_is_refused(name):
    workload = workloads.load(WorkloadSpec(name=name, params={"max_length": 100_000}), 1)
    with pytest.raises(Exception, match=r"workload\.max_length: 100000 .* do not fit .*@tiny"):
        workload.check()


@pytest.mark.parametrize("key", list(SPECS))
def test_loading_it_imports_no_torch(key):
    import subprocess
    import sys

    name, params = SPECS[key]
    code = (
        "import sys; from harness import workloads; from harness.records import WorkloadSpec;"
        f"workloads.load(WorkloadSpec(name={name!r}, params={params!r}), 1).check();"
        "print({'torch', 'transformers', 'numpy', 'sacrebleu'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_caches_are_in_the_cache_folder_only(cache, prepared):
    prepared("translate")
    assert {Path(file).suffix for file in cache.iterdir()} == {".json"}


@every
def test_a_training_that_was_cut_off_goes_on_to_the_very_same_model(key, prepared, tmp_path):
    import torch

    workload = prepared(key)
    technique = catalogue.load(Phase.TRAIN, "from_scratch")
    params = catalogue.parse_params(technique, {"epochs": 2, "batch_size": 8, "checkpoints_per_epoch": 2})
    kept = None
    steps = []
    for checkpoint in technique.train(workload, params, "cpu"):
        steps.append(checkpoint.steps)
        if len(steps) == 3:
            kept = Resumed(steps=checkpoint.steps, examples=checkpoint.examples, state={})
            device.save_tensors(checkpoint.state(), tmp_path / "state.safetensors")
    whole = checkpoint.model

    again = msgspec.structs.replace(kept, state=device.load_tensors(tmp_path / "state.safetensors"))
    torch.manual_seed(99)  # whatever another process had drawn before
    rest = list(technique.train(workload, params, "cpu", again))
    assert [each.steps for each in rest] == steps[2:]
    assert rest[0].examples == kept.examples
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), rest[-1].model.parameters(), strict=True))
