"""What every technique module must be, whoever wrote it."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from harness import catalogue
from harness.records import Phase

ALL = [(phase, name) for phase in (Phase.TRAIN, Phase.INFER) for name in catalogue.find(phase)]
TAKE_ANY_TASK = {"from_scratch", "full_finetune", "torch_eager", "untrained"}
HEADINGS = ("What it does", "Why it may save energy", "What it costs", "Limits", "Source")
everyone = pytest.mark.parametrize(("phase", "name"), ALL, ids=[f"{phase.value}/{name}" for phase, name in ALL])


def test_the_catalogue_finds_the_techniques_and_one_baseline_a_phase():
    assert {name for phase, name in ALL if phase is Phase.TRAIN} >= {"from_scratch", "full_finetune", "frozen_features"}
    assert len(catalogue.find(Phase.INFER)) >= 4
    assert not any(name.startswith("_") for _, name in ALL)
    assert catalogue.baseline(Phase.TRAIN) == "from_scratch"
    assert catalogue.baseline(Phase.INFER) == "torch_eager"


@everyone
def test_it_breaks_no_rule_of_the_contract(phase, name):
    module = catalogue.load(phase, name)
    assert catalogue.violations(module, name, phase) == ()
    assert all(getattr(module.INFO, field) for field in ("family", "summary", "source"))


@everyone
def test_its_documentation_has_the_five_headings_in_order(phase, name):
    lines = (catalogue.load(phase, name).__doc__ or "").splitlines()
    assert tuple(line for line in lines if line in HEADINGS) == HEADINGS
    assert lines[0].endswith(".")


@everyone
def test_its_parameters_have_defaults_and_survive_json(phase, name):
    module = catalogue.load(phase, name)
    params = catalogue.parse_params(module, {})
    assert msgspec.json.decode(msgspec.json.encode(params), type=module.Params) == params
    with pytest.raises(AttributeError):
        params.batch_size = 3
    for field in module.Params.__struct_fields__:
        described = "".join(kind.__doc__ or "" for kind in module.Params.__mro__ if kind.__module__ != "builtins")
        assert f"{field}" in described, f"{name}.Params does not say what {field} is"


@everyone
def test_what_it_says_it_imports_can_be_imported(phase, name):
    import importlib

    for wanted in catalogue.load(phase, name).INFO.imports:
        importlib.import_module(wanted)


@everyone
def test_it_supports_the_workload_or_gives_a_reason(phase, name, tiny):
    reason = catalogue.load(phase, name).supports(tiny, "cpu")
    assert reason is None or len(reason) > 20


@everyone
def test_it_takes_any_task_or_refuses_with_a_reason(phase, name):
    class Translation:
        name, task = "translation", "translation"

        def has_pretrained(self):
            return None

    reason = catalogue.load(phase, name).supports(Translation(), "cpu")
    if name in TAKE_ANY_TASK:
        assert reason is None
    else:
        assert "needs a text classification workload" in reason


def test_importing_every_technique_loads_no_heavy_library():
    code = (
        "import sys; from harness import catalogue; from harness.records import Phase;"
        "[catalogue.load(phase, name) for phase in (Phase.TRAIN, Phase.INFER) for name in catalogue.find(phase)];"
        "print({'torch', 'transformers', 'onnxruntime', 'onnx', 'numpy', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
