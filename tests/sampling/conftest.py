"""Recipes small enough for a test, and measured windows whose joules the test sets."""

from __future__ import annotations

import pytest

from harness.accounting import Overhead, Target
from harness.records import Energy, HostLoad, Measured, Provenance
from harness.sampling import Aim, AskedPhase, Setting

RECIPES = """\
version: 1
sources: {ours: {title: "made for a test", where: "beside the test"}}
recipes:
  - name: bert@test
    title: a BERT for tests
    workload: bert
    size: tiny
    parameters: {value: 4400000, level: secondary, source: ours}
    data: {value: none, level: primary, source: ours}
    steps: {value: 1000, level: primary, source: ours}
    batch: {value: 4, level: primary, source: ours}
    batch_unit: sequences
    optimizer: {value: Adam with decoupled weight decay, level: primary, source: ours}
    precision: {level: unpublished, note: "nobody says"}
    phases:
      - name: "16"
        share: {value: 0.9, level: primary, source: ours}
        sequence_length: {value: 16, level: primary, source: ours}
      - name: "32"
        share: {value: 0.1, level: primary, source: ours}
        sequence_length: {value: 32, level: primary, source: ours}
    runs:
      - hardware: {value: an abacus, level: primary, source: ours}
        devices: {value: 3, level: primary, source: ours}
        duration_h: {value: 5, level: primary, source: ours}
        energy_kwh: {value: 7, level: secondary, source: ours}
  - name: gpt2@test
    title: a GPT-2 for tests
    workload: gpt2
    size: tiny
    parameters: {value: 1000000, level: secondary, source: ours}
    data: {value: none, level: primary, source: ours}
    steps: {level: unpublished, note: "nobody counted"}
    batch: {value: 4, level: primary, source: ours}
    batch_unit: sequences
    optimizer: {level: unpublished, note: "nobody says"}
    precision: {value: bfloat16, level: primary, source: ours}
    phases: &all
      - name: all
        share: {value: 1.0, level: primary, source: ours}
        sequence_length: {value: 16, level: primary, source: ours}
    runs: []
  - name: elmo@test
    title: an ELMo for tests
    workload: elmo
    size: tiny
    parameters: {value: 1000000, level: secondary, source: ours}
    data: {value: none, level: primary, source: ours}
    steps: {value: 500, level: primary, source: ours}
    batch: {value: 4, level: primary, source: ours}
    batch_unit: sequences
    optimizer: {value: Adagrad, level: primary, source: ours}
    precision: {value: float32, level: primary, source: ours}
    phases: *all
    runs: []
  - name: translate@test
    title: a Transformer for tests
    workload: translate
    size: tiny
    parameters: {value: 1000000, level: secondary, source: ours}
    data: {value: none, level: primary, source: ours}
    steps: {value: 500, level: primary, source: ours}
    batch: {value: 100, level: primary, source: ours}
    batch_unit: target tokens
    optimizer: {value: Adam, level: primary, source: ours}
    precision: {value: float32, level: primary, source: ours}
    phases:
      - name: all
        share: {value: 1.0, level: primary, source: ours}
        sequence_length: {level: unpublished, note: "sentences are as long as they are"}
    runs: []
"""


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Sample at one thread, as the command does: pools of several on two cores that other tests use take turns."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def recipes(tmp_path_factory):
    """Return the path of a file of small recipes."""
    path = tmp_path_factory.mktemp("recipes") / "recipes.yaml"
    path.write_text(RECIPES, encoding="utf-8")
    return path


@pytest.fixture
def measured():
    """Return a function that makes a window of so many joules and seconds."""

    def make(energy_j, duration_s=0.1, *, bounds=(None, None), missing=(), doubts=(), provenance=Provenance.COUNTER):
        energy = Energy(
            domain="cpu-package",
            energy_j=energy_j,
            low_j=bounds[0] and bounds[0] * energy_j,
            high_j=bounds[1] and bounds[1] * energy_j,
            provenance=provenance,
            boundary="a test",
            meter="test",
        )
        return Measured(
            duration_s=duration_s,
            cpu_s=duration_s,
            energies=() if missing else (energy,),
            missing=missing,
            load=HostLoad(busy_other_share=0.0, steal_share=0.0, load_1m=0.0),
            doubts=doubts,
        )

    return make


@pytest.fixture
def phase():
    """Return a function that makes a phase to be sampled."""

    def make(name="all", *, steps=1000.0, sequences=8.0, tokens=16):
        return AskedPhase(
            name=name,
            steps=Setting(value=steps, level="primary"),
            length=Setting(value=tokens, level="primary"),
            sequences=sequences,
        )

    return make


@pytest.fixture
def aim():
    """Return an aim that adds nothing to what was sampled."""
    return Aim(
        overhead=Overhead(value=0.0, low=0.0, high=0.0, source="none"),
        target=Target(sampled="here", target="here"),
    )
