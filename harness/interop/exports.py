"""Figures in the formats of trackers: Bencher, github-action-benchmark, pytest-benchmark, CSV and Parquet.

A gate is sent to trackers by its head, which is the commit they file it under; pytest-benchmark's format and the
tables hold both arms. Cases without figures are not in the files; `Figures.left_out` names them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness import __version__
from harness.errors import MissingExtra
from harness.interop.figures import HEAD, Figure, Figures

if TYPE_CHECKING:
    import pandas as pd


def bmf(figures: Figures) -> dict[str, dict[str, dict[str, float]]]:
    """Return Bencher Metric Format: benchmark → measure → value with its bounds.

    The format has no units, so measures carry theirs, and how the joules are known, in the name:
    `energy-modelled-joules`, `time-seconds`. Bounds are what the meters know of their own error.
    """
    document: dict[str, dict[str, dict[str, float]]] = {}
    for figure in _tracked(figures):
        measures = {"time-seconds": {"value": figure.duration_s}, "cpu-seconds": {"value": figure.cpu_s}}
        if figure.energy_j is not None and figure.provenance is not None:
            energy = {"value": figure.energy_j}
            if figure.low_j is not None and figure.high_j is not None:
                energy |= {"lower_value": figure.low_j, "upper_value": figure.high_j}
            measures[f"energy-{figure.provenance.value}-joules"] = energy
        document[figure.fullname] = measures
    return document


def github_action_benchmark(figures: Figures) -> list[dict[str, str | float]]:
    """Return the entries of `tool: customSmallerIsBetter`: name, unit, value, and range and extra as text."""
    entries: list[dict[str, str | float]] = []
    for figure in _tracked(figures):
        extra = f"host {figures.host_fingerprint[:8]}, joulebench {__version__}, code {figures.code_version}"
        doubts = ", ".join(doubt.value for doubt in figure.doubts)
        n, what = len(figure.seconds), "fork" if figure.per == "training" else "block"
        extra += f"\n{n} {what}{'' if n == 1 else 's'}" + (f"\ndoubts: {doubts}" if doubts else "")
        if figure.energy_j is not None and figure.provenance is not None:
            entry: dict[str, str | float] = {
                "name": f"{figure.fullname} energy, {figure.provenance.value}",
                "unit": f"J/{figure.per}",
                "value": figure.energy_j,
                "extra": f"joules: {figure.known}\n{extra}",
            }
            if figure.low_j is not None and figure.high_j is not None:
                entry["range"] = f"{figure.low_j:.4g} to {figure.high_j:.4g}"
            entries.append(entry)
        entries.append(
            {
                "name": f"{figure.fullname} time",
                "unit": f"s/{figure.per}",
                "value": figure.duration_s,
                "range": f"{min(figure.seconds):.4g} to {max(figure.seconds):.4g}",
                "extra": extra,
            }
        )
    return entries


def pytest_benchmark(figures: Figures) -> dict[str, Any]:
    """Return a document of pytest-benchmark, as `--benchmark-json` writes it; one round is a block or a fork.

    `stats` are seconds, because that is the unit its tables print; joules are in `extra_info["joulebench"]`.
    """
    host = figures.host
    return {
        "machine_info": {
            "node": host.get("hostname"),
            "machine": host.get("arch"),
            "system": host.get("os"),
            "release": host.get("kernel"),
            "python_version": host.get("python"),
            "cpu": {"brand_raw": host.get("cpu_brand"), "count": host.get("cores_online")},
            "joulebench_fingerprint": figures.host_fingerprint,
        },
        "commit_info": {"id": figures.code_version},
        "benchmarks": [_benchmark(figure) for figure in figures.figures],
        "datetime": figures.started_utc,
        "version": metadata.version("pytest-benchmark"),
        "joulebench": {"version": __version__, "source": figures.source, "left_out": figures.left_out},
    }


def rows(figures: Figures) -> list[dict[str, Any]]:
    """Return one row a block (or fork) of each figure."""
    return [
        {
            "source": figures.source,
            "case": figure.fullname,
            "group": figure.group,
            "arm": figure.arm,
            "per": figure.per,
            "round": index,
            "duration_s": duration_s,
            "energy_j": figure.joules[index] if figure.joules else None,
            "provenance": figure.provenance.value if figure.provenance else None,
            "known": figure.known,
            "gap": figure.gap,
            "doubts": ",".join(figure.doubts),
            "host_fingerprint": figures.host_fingerprint,
            "code_version": figures.code_version,
        }
        for figure in figures.figures
        for index, duration_s in enumerate(figure.seconds)
    ]


def to_frame(content: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as a pandas table; what is not known is missing (`pandas.NA`), never 0."""
    import pandas as pd

    return pd.DataFrame(list(content)).convert_dtypes()


def write_table(frame: pd.DataFrame, form: str, path: Path) -> None:
    """Write a table as CSV or Parquet.

    Raises: MissingExtra: Parquet needs pyarrow. OSError: the file cannot be written.
    """
    if form == "csv":
        frame.to_csv(path, index=False)
        return
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtra("Parquet needs pyarrow: install joulebench[trace], or export with `--to csv`")
    frame.to_parquet(path, engine="pyarrow", index=False)


def _tracked(figures: Figures) -> list[Figure]:
    return [figure for figure in figures.figures if figure.arm in (None, HEAD)]


def _benchmark(figure: Figure) -> dict[str, Any]:
    from pytest_benchmark.stats import Stats

    stats: Any = Stats()  # type: ignore[no-untyped-call]
    for duration_s in figure.seconds:
        stats.update(duration_s)
    return {
        "group": figure.group,
        "name": figure.name,
        "fullname": figure.fullname,
        "params": {"arm": figure.arm} if figure.arm else None,
        "param": figure.arm,
        "extra_info": {"joulebench": msgspec.to_builtins(figure)},
        "options": {"timer": "joulebench"},
        "stats": {**stats.as_dict(), "data": list(figure.seconds), "iterations": 1},
    }
