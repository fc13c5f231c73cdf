"""Workloads out of small files."""

from __future__ import annotations

import pytest

from harness import workloads
from harness.records import WorkloadSpec

RANDOM = {"source": "random", "layers": 1, "hidden": 32, "heads": 2, "vocabulary": 200}


@pytest.fixture
def files(tmp_path):
    """Return a function that writes the three splits and gives back `data` parameters for them."""

    def write(train, validation="good film\t1\n", test="bad film\t0\n", suffix=".tsv", **params):
        data = {"source": "file", "header": False, "text": 0, "label": 1, **params}
        for split, content in (("train", train), ("validation", validation), ("test", test)):
            path = tmp_path / f"{split}{suffix}"
            path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
            data[split] = str(path)
        return data

    return write


@pytest.fixture
def load():
    """Return a function that loads the workload with the given parameters, a random model unless told."""

    def make(seed=1, **params):
        params.setdefault("model", RANDOM)
        return workloads.load(WorkloadSpec(name="sentence_classification", params=params), seed)

    return make
