"""A gate of a suite says which trainings no case stands for."""

from pathlib import Path

from harness.gate import targets
from harness.gate.ungated import training_notes

ROOT = Path(__file__).parents[2]


def test_the_trainings_of_a_gated_suite_are_named(tmp_path):
    path = tmp_path / "gate.yaml"
    path.write_text("cases: [{suite: configs/quick.yaml}, {name: encode, target: 'package.work:encode'}]\n")
    (note,) = training_notes(targets.load(path), ROOT)
    assert note.startswith("configs/quick.yaml: its infer cases are gated, what its trainings cost (")
    assert "from_scratch" in note
    assert "full_finetune" in note


def test_a_suite_that_head_no_longer_has_is_for_others_to_tell(tmp_path):
    path = tmp_path / "gate.yaml"
    path.write_text("cases: [{suite: gone.yaml}]\n")
    assert training_notes(targets.load(path), tmp_path) == ()
