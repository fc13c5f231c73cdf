"""A worker that dies, hangs or raises costs its own case, not the others."""

import json
import re

import pytest

from harness import store
from harness.records import Failed, Ok, Skipped

pytestmark = pytest.mark.slow


@pytest.fixture
def run(joulebench, tiny, tmp_path):
    techniques = "[torch_eager, length_bucketing, dies, hangs, raises, noisy, refuses]"
    result = joulebench("run", str(tiny), f"infer.techniques={techniques}", "measure.timeout_s=40", timeout=600)
    (folder,) = store.runs(tmp_path / "results")
    records = {record.case.technique: record for record in store.load_run(folder).records}
    return result, folder, records


def test_each_fault_ends_in_its_own_message_and_the_others_still_run(run, joulebench):
    result, folder, records = run
    assert result.returncode == 13, result.stderr
    good = [name for name, record in records.items() if isinstance(record.outcome, Ok)]
    assert good == ["from_scratch", "torch_eager", "length_bucketing", "noisy"]

    failures = {name: r.outcome.message for name, r in records.items() if isinstance(r.outcome, Failed)}
    assert sorted(failures) == ["dies", "hangs", "raises"]
    assert re.search(r"infer/dies@cpu/offline .* was ended by SIGKILL", failures["dies"])
    assert "said nothing for 40 s and was ended; raise measure.timeout_s" in failures["hangs"]
    assert "ValueError: no such kernel" in failures["raises"]
    assert all("log" in message and message in result.stderr for message in failures.values())

    skipped = records["refuses"].outcome
    assert isinstance(skipped, Skipped)
    assert skipped.reason == "needs a device that is not here"
    assert "needs a device that is not here" in result.stdout

    report = json.loads(joulebench("report", str(folder), "--json").stdout)
    assert {"dies", "hangs", "raises"} <= set(re.findall(r"\w+", json.dumps(report)))
