"""The run as a pandas table, for a notebook: one row a window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import stats
from harness.compare import Results
from harness.errors import InvalidMeasurement, NotMeasured
from harness.records import Record, Window

if TYPE_CHECKING:
    import pandas as pd


def to_frame(run: Results) -> pd.DataFrame:
    """Return one row a window with its case, its billed joules (the meters' low and high), seconds, tasks and doubts.

    `provenance` is the weakest of the joules, `known` has the shares of all where they are mixed.

    A window whose joules are not known has missing values there (`pandas.NA`), never 0, and says why in `gap`.
    """
    import pandas as pd

    rows = [
        _row(record, window, run.info.labels.get(record.case_id)) for record in run.records for window in record.windows
    ]
    return pd.DataFrame(rows).convert_dtypes()


def _row(record: Record, window: Window, label: str | None) -> dict[str, Any]:
    case, measured = record.case, window.measured
    energy: dict[str, Any] = {
        "energy_j": None,
        "low_j": None,
        "high_j": None,
        "provenance": None,
        "known": None,
        "gap": None,
    }
    try:
        total = stats.total(window, case.name)
        energy |= {"energy_j": total.energy_j, "low_j": total.low_j, "high_j": total.high_j}
        energy |= {"provenance": total.provenance.value, "known": total.label}
    except (NotMeasured, InvalidMeasurement) as error:
        energy["gap"] = str(error)
    return {
        "run_id": record.run_id,
        "case_id": record.case_id,
        "workload": label or case.workload.name,
        "phase": case.phase.value,
        "technique": case.technique,
        "device": case.device,
        "scenario": case.scenario,
        "seed": case.seed,
        "threads": case.threads,
        "kind": window.kind.value,
        "fork": window.fork,
        "block": window.block,
        "slot": window.slot,
        "batch": window.batch,
        "tasks": window.tasks,
        "duration_s": measured.duration_s,
        "cpu_s": measured.cpu_s,
        **energy,
        "peak_memory_bytes": window.peak_memory_bytes,
        "busy_other_share": measured.load.busy_other_share,
        "doubts": ",".join(measured.doubts),
    }
