"""Every way of inferring answers like the baseline, in the order in which it was asked."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from harness import catalogue
from harness.records import Phase

NAMES = list(catalogue.find(Phase.INFER))
EXACT = 1e-4
"""Largest difference of a logit where a technique computes the same in float32."""

QUANTISED = 0.15
"""Largest relative error (L2) of the logits of a technique that quantises, on this tiny random model."""


@pytest.fixture(scope="session")
def answers(tiny, trained):
    """Return logits by technique: of the test texts forwards and backwards, of one text, and what was printed."""
    texts = tiny.examples("test").texts
    found = {}
    for name in NAMES:
        technique = catalogue.load(Phase.INFER, name)
        params = catalogue.parse_params(technique, {})
        if technique.supports(tiny, "cpu") is None:
            with technique.build(trained, tiny, params, "cpu") as task:
                found[name] = (task.run(texts), task.run(texts[::-1]), task.run(texts[:1]))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_outputs_have_the_baselines_shape_and_order(name, answers, tiny):
    forwards_NC, backwards_NC, one_NC = answers[name]
    examples = tiny.examples("test")
    assert forwards_NC.shape == (len(examples.texts), len(tiny.data_info().classes))
    assert forwards_NC.dtype == np.float32
    assert one_NC.shape == (1, forwards_NC.shape[1])
    size = np.linalg.norm(forwards_NC)
    assert np.linalg.norm(forwards_NC - backwards_NC[::-1]) / size < QUANTISED
    assert len(tiny.scores(forwards_NC, examples)) == len(examples.texts)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_agree_with_the_baselines(name, answers):
    baseline_NC = answers[catalogue.baseline(Phase.INFER)][0]
    found_NC = answers[name][0]
    if catalogue.load(Phase.INFER, name).INFO.family == "quantisation":
        error = np.linalg.norm(found_NC - baseline_NC) / np.linalg.norm(baseline_NC)
        assert 0 < error < QUANTISED
        assert np.mean(found_NC.argmax(1) == baseline_NC.argmax(1)) >= 0.9
    else:
        assert np.abs(found_NC - baseline_NC).max() <= EXACT


@pytest.mark.parametrize("name", ["torch_eager", "length_bucketing"])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_batch_size_changes_no_answer(name, batch_size, tiny, trained, answers):
    technique = catalogue.load(Phase.INFER, name)
    params = catalogue.parse_params(technique, {"batch_size": batch_size})
    with technique.build(trained, tiny, params, "cpu") as task:
        found_NC = task.run(tiny.examples("test").texts)
    assert np.abs(found_NC - answers["torch_eager"][0]).max() <= EXACT


def test_onnx_files_are_gone_and_nothing_was_printed(tiny, trained, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    technique = catalogue.load(Phase.INFER, "onnxruntime_int8_dynamic")
    params = catalogue.parse_params(technique, {"padding": "longest", "batch_size": 8})
    capfd.readouterr()
    with technique.build(trained, tiny, params, "cpu") as task:
        assert len(list(tmp_path.iterdir())) == 1
        logits_NC = task.run(tiny.examples("test").texts)
    assert logits_NC.shape[0] == 40
    assert list(Path(tmp_path).iterdir()) == []
    assert capfd.readouterr() == ("", "")
