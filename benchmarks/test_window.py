"""What beginning and ending a window costs with the meters of this host (aim: 50 µs at most).

Only correctness is asserted: a shared machine makes no promise about time.
"""

import time
from statistics import median, quantiles

import pytest

from harness.meters import open_meters

PAIRS = 2000


@pytest.fixture
def window():
    opened = open_meters()
    yield opened
    opened.close()


def test_begin_and_end_of_a_window(window, benchmark):
    measured = benchmark(lambda: window.end(window.begin()))
    assert measured.duration_s >= 0
    assert measured.cpu_s >= 0
    assert measured.energies or measured.missing


def test_the_cost_of_a_pair_is_told(window, capsys):
    costs_us, inner_us = [], []
    for _ in range(PAIRS):
        start_ns = time.perf_counter_ns()
        measured = window.end(window.begin())
        costs_us.append((time.perf_counter_ns() - start_ns) / 1e3)
        inner_us.append(measured.duration_s * 1e6)
    tail = quantiles(costs_us, n=20)[-1]
    meters = ", ".join(info.name for info in window.infos())
    with capsys.disabled():
        print(
            f"\nbegin+end with {meters}: median {median(costs_us):.1f} µs, p95 {tail:.1f} µs; "
            f"an empty window lasts {median(inner_us):.2f} µs"
        )
    assert median(inner_us) <= median(costs_us)
