"""A training that diverges ends in a message that says so, not in a model that answers one class to everything."""

import pytest

from harness import store
from harness.records import Failed

pytestmark = pytest.mark.slow


def test_its_case_fails_and_says_what_to_change(joulebench, tiny, tmp_path):
    suite, infer = tiny.read_text().split("infer:\n")
    tiny.write_text(
        suite.replace("{epochs: 1}", "{epochs: 1, learning_rate: 1.0e+30}") + infer[infer.index("measure:") :]
    )
    result = joulebench("run", str(tiny))
    assert result.returncode == 13, result.stderr
    (folder,) = store.runs(tmp_path / "results")
    (record,) = store.load_run(folder).records
    assert isinstance(record.outcome, Failed)
    assert "InvalidMeasurement: training diverged: the loss is nan after 2 steps; lower learning_rate" in (
        record.outcome.message
    )
    assert record.artefact is None
